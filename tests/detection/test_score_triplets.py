"""`manage.py score_triplets`: a stable interface to the real-bogus network."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from detection.networks.real_bogus_weights import load_ensemble


def draw_triplets(n: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.normal(100.0, 5.0, (n, 63, 63, 3)).astype(np.float32)


def score(path: Path, output: Path, **options: object) -> str:
    """Run the command; what it said on stderr."""
    said = io.StringIO()
    call_command("score_triplets", path, output=output, stderr=said, **options)
    return said.getvalue()


def test_every_triplet_gets_a_row_in_order(tmp_path: Path) -> None:
    triplets = draw_triplets(700)
    np.savez(tmp_path / "t.npz", triplets=triplets)
    said = score(tmp_path / "t.npz", tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["index", "score", "score_error"]
    assert [int(row["index"]) for row in rows] == list(range(700))
    expected = load_ensemble().score(triplets)
    # six decimals are written
    np.testing.assert_allclose([float(r["score"]) for r in rows], expected.score, atol=2e-6)
    np.testing.assert_allclose(
        [float(r["score_error"]) for r in rows], expected.score_error, atol=2e-6
    )
    assert "wrote 700 rows" in said


def test_a_triplet_that_shows_nothing_has_an_empty_score_and_is_counted(tmp_path: Path) -> None:
    triplets = draw_triplets(3)
    triplets[1] = np.nan
    np.savez(tmp_path / "t.npz", triplets=triplets)
    said = score(tmp_path / "t.npz", tmp_path / "scores.csv")
    assert (tmp_path / "scores.csv").read_text().splitlines()[2] == "1,,"
    assert "1 of 3 triplets have no score" in said


def test_no_triplets_make_a_file_with_a_header(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", triplets=draw_triplets(0))
    score(tmp_path / "t.npz", tmp_path / "scores.csv")
    assert (tmp_path / "scores.csv").read_text() == "index,score,score_error\n"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros(3)}, "no array 'triplets'"),
        ({"triplets": np.zeros((2, 61, 61, 3))}, "shape"),
        ({"triplets": np.array([None], dtype=object)}, "objects"),
    ],
)
def test_a_wrong_file_is_one_clear_sentence_and_leaves_no_output(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(CommandError, match=message):
        score(tmp_path / "t.npz", tmp_path / "scores.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["t.npz"]


def test_missing_files_folders_and_devices_are_said(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no such file"):
        score(tmp_path / "t.npz", tmp_path / "scores.csv")
    np.savez(tmp_path / "t.npz", triplets=draw_triplets(1))
    with pytest.raises(CommandError, match="does not exist"):
        score(tmp_path / "t.npz", tmp_path / "nowhere" / "scores.csv")
    with pytest.raises(CommandError, match="no_such_device"):
        score(tmp_path / "t.npz", tmp_path / "scores.csv", device="no_such_device")
    with pytest.raises(CommandError, match="train_network"):
        score(tmp_path / "t.npz", tmp_path / "scores.csv", weights=tmp_path / "w.safetensors")


@pytest.mark.real_data
def test_real_alerts_separate_from_vetted_bogus(test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "ztf_alerts_dev"
    score(folder / "triplets.npz", tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="") as stream:
        scores = np.array([float(row["score"]) for row in csv.DictReader(stream)])
    with (folder / "metadata.csv").open(newline="") as stream:
        labels = np.array([row["label"] for row in csv.DictReader(stream)])
    real, bogus = scores[labels == "real"], scores[labels == "bogus"]
    # these were in training: the held-out figures are on the model card
    assert (real[:, None] > bogus).mean() > 0.93
