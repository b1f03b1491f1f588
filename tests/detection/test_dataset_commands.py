"""`manage.py build_dataset`, and `train_network` on what it made."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from detection.models import DataSet, TrainingRun
from tests.detection.training.test_data_sets import draw_triplets

pytestmark = pytest.mark.django_db


def write_npz(path: Path, n: int = 24) -> Path:
    np.savez(
        path,
        triplets=draw_triplets(n),
        is_real=np.arange(n) % 2 == 0,
        group=np.array([f"g{i // 2}" for i in range(n)]),
    )
    return path


def run(name: str, *args: object, **options: object) -> str:
    said = io.StringIO()
    call_command(name, *args, stdout=said, stderr=io.StringIO(), **options)
    return said.getvalue()


def test_files_become_a_version_once_and_leave_as_a_zip_that_dvc_can_take(tmp_path: Path) -> None:
    npz, target = write_npz(tmp_path / "t.npz"), tmp_path / "set.zip"
    said = run("build_dataset", "from files", npz=[npz], export=target, dvc=True)
    assert "from files 1: 12 real and 12 bogus, 0 left out" in said
    dataset = DataSet.objects.get()
    with zipfile.ZipFile(target) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["sha256"] == dataset.digest
    assert dataset.parameters["files"] == ["t.npz"]
    pointer = (tmp_path / "set.zip.dvc").read_text()
    assert f"md5: {hashlib.md5(target.read_bytes()).hexdigest()}" in pointer
    assert f"size: {target.stat().st_size}" in pointer

    assert "nothing is new" in run("build_dataset", "from files", npz=[npz])
    assert "from files 2" in run("build_dataset", "from files", npz=[npz], min_std=0.01)
    assert DataSet.objects.count() == 2


@pytest.mark.real_data
def test_alerts_come_in_with_a_table_of_labels(test_data: Path) -> None:
    folder = test_data / "ztf_alerts_dev"
    said = run(
        "build_dataset",
        "alerts",
        alerts=[folder / "raw_avro"],
        labels=folder / "metadata.csv",
    )
    dataset = DataSet.objects.get()
    assert "alerts 1: 15 real" in said
    # 24 packets, of which 7 are of unknown nature: never a negative
    assert dataset.counts["unlabelled"] == {"neither real nor bogus": 7}


def test_what_cannot_be_built_or_trained_is_said(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="nothing was labelled"):
        run("build_dataset")
    with pytest.raises(CommandError, match="belong together"):
        run("build_dataset", alerts=[tmp_path])
    with pytest.raises(CommandError, match="--dvc needs"):
        run("build_dataset", dvc=True)
    with pytest.raises(CommandError, match="neither a folder nor a data set"):
        run("train_network", "real_bogus", dataset="none@3")
    run("build_dataset", "few", npz=[write_npz(tmp_path / "t.npz")])
    with pytest.raises(CommandError, match="12 labels say real; 20 are needed"):
        run("train_network", "real_bogus", dataset="few")
    assert not TrainingRun.objects.exists()
