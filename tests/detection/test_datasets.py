"""From verdicts to a version of a data set, to a training with live figures, to a challenger."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from astrid_site import datasets as composition
from astrid_site.core.errors import ApplicationError, LeaseLostError
from astrid_site.core.models import AuditEntry, FileKind, Job
from astrid_site.core.storage import put_bytes
from curation.models import Verdict
from detection.models import DataSet, Detection, ScoringModel, TrainingRun
from detection.services import RESCORE, datasets, request_training, run_training
from detection.services.training import network_to_start_from, work_folder
from tests.catalog.factories import make_detection, make_detection_run
from tests.web.factories import make_user

pytestmark = pytest.mark.django_db
Label = Verdict.Label


def draw_planes(rng: np.random.Generator, *, is_real: bool) -> np.ndarray:
    """A point in science and difference, or one hot pixel; four planes as they are stored."""
    planes = rng.normal(0.0, 1.0, (4, 63, 63))
    y, x = np.mgrid[:63, :63] - 31
    shape = 14.0 * np.exp(-0.5 * (x**2 + y**2) / 1.6**2)
    if not is_real:
        shape = np.where((x == 0) & (y == 0), 60.0, 0.0)
    planes[0] += shape
    planes[2] += shape
    return planes.astype(np.float32)


def store(planes: np.ndarray) -> Any:
    buffer = io.BytesIO()
    np.save(buffer, planes)
    return put_bytes(
        buffer.getvalue(),
        kind=FileKind.CUTOUTS,
        name="cutouts.npy",
        media_type="application/x-npy",
    )


def make_judged(n: int, *, seed: int = 3) -> list[Detection]:
    """Candidates of n fields far apart, two in each, called real and bogus by one curator."""
    rng, person = np.random.default_rng(seed), make_user(f"judge{seed}")
    made = []
    for i in range(n):
        planes = np.stack([draw_planes(rng, is_real=True), draw_planes(rng, is_real=False)])
        run = make_detection_run(cutouts_file=store(planes))
        run.observation.mid_mjd = 61000.1 + i
        run.observation.save()
        for j, label in enumerate((Label.REAL, Label.BOGUS)):
            row = make_detection(run, index=j, ra=(7.0 * i) % 360.0, dec=2.0 + 0.004 * j)
            reason = "hot_pixel" if label == Label.BOGUS else ""
            Verdict.objects.create(detection=row, curator=person, label=label, reason=reason)
            made.append(row)
    return made


def context_of(subject: Any, said: list[tuple[float, str]] | None = None) -> Any:
    notes: list[tuple[float, str]] = [] if said is None else said
    return SimpleNamespace(
        subject_id=subject.pk,
        check=lambda: None,
        progress=lambda share, words: notes.append((share, words)),
    )


def build(name: str = "verdicts", *, n_skies: int = 0) -> tuple[DataSet, Any]:
    dataset = composition.request_build(None, name=name, n_skies=n_skies)
    outcome = composition.run_build(context_of(dataset))
    outcome.save()
    Job.objects.filter(subject_id=dataset.pk).update(state=outcome.state)
    dataset.refresh_from_db()
    return dataset, outcome


def test_verdicts_become_a_version_that_says_where_each_sample_is_from() -> None:
    rows = make_judged(12)
    unsure = make_detection(rows[0].run, index=7)
    Verdict.objects.create(detection=unsure, curator=make_user("x"), label=Label.UNSURE)
    dataset, _ = build()
    manifest = datasets.read_manifest(dataset)
    assert (dataset.version, dataset.digest) == (1, manifest["sha256"])
    assert dataset.counts["n_real"] == dataset.counts["n_bogus"] == 12
    assert dataset.counts["unlabelled"] == {"people are unsure": 1}
    sample = next(s for s in manifest["samples"] if s["key"] == f"verdict:{rows[1].pk}")
    assert (sample["kind"], sample["is_real"]) == ("hot pixel", False)
    assert (sample["labelled_by"], sample["survey"]) == ("curator", rows[1].observation.survey.name)
    assert "judge3" not in json.dumps(manifest)
    assert dataset.mosaic_file is not None
    assert AuditEntry.objects.filter(action="dataset.built", subject_id=str(dataset.pk)).exists()


def test_the_same_verdicts_make_no_second_version_and_another_verdict_does() -> None:
    rows = make_judged(12)
    first, _ = build()
    again, outcome = build()
    assert outcome.state == "skipped"
    assert "nothing is new: verdicts 1" in outcome.cause
    assert again.version is None
    changed = Verdict.objects.get(detection=rows[0])
    Verdict.objects.create(
        detection=rows[0], curator=changed.curator, label=Label.BOGUS, sequence=2
    )
    second, _ = build()
    assert second.version == 2
    assert second.digest != first.digest
    assert second.changes["relabelled"] == {"n": 1, "keys": [f"verdict:{rows[0].pk}"]}
    assert second.changes["added"]["n"] == second.changes["removed"]["n"] == 0


def test_an_experts_word_counts_before_a_later_answer() -> None:
    (row,) = make_judged(1)[:1]
    expert, other = make_user("expert", "researcher"), make_user("other")
    Verdict.objects.create(
        detection=row, curator=expert, label=Label.BOGUS, tier=Verdict.Tier.EXPERT
    )
    Verdict.objects.create(detection=row, curator=other, label=Label.REAL)
    labels, _ = composition.candidate_labels()
    label = next(label for label in labels if label.detection_id == row.pk)
    assert (label.is_real, label.role) == (False, "researcher")
    assert (label.detail["n_agreeing"], label.detail["n_other"]) == (1, 2)


def test_a_build_that_finds_nothing_says_so_and_one_at_a_time_is_made() -> None:
    dataset = composition.request_build(None, n_skies=0)
    with pytest.raises(ApplicationError, match="built already"):
        composition.request_build(None, n_skies=0)
    outcome = composition.run_build(context_of(dataset))
    assert (outcome.state, outcome.cause) == (
        "failed",
        "no sample is left: nothing was labelled",
    )


def test_too_few_labels_are_refused_with_what_is_missing() -> None:
    make_judged(6)
    dataset, _ = build()
    with pytest.raises(ApplicationError, match="6 labels say real; 20 are needed"):
        request_training(dataset, None)
    assert not TrainingRun.objects.exists()


@pytest.fixture
def learnt(settings: Any, tmp_path: Path) -> DataSet:
    settings.DATA_DIR = tmp_path
    make_judged(36)
    dataset, _ = build()
    return dataset


def small_start(folder: Path) -> ScoringModel:
    """A network of one member with random weights to start from: there is much to learn."""
    import torch

    from detection.networks.real_bogus import RealBogusNetwork
    from detection.networks.real_bogus_weights import save_ensemble

    torch.manual_seed(5)
    champion = ScoringModel.objects.get(role="champion")
    sha256 = save_ensemble(
        [RealBogusNetwork()], folder / "w.safetensors", temperature=1.0, offset=0.0, record={}
    )
    stored = put_bytes(
        (folder / "w.safetensors").read_bytes(),
        kind=FileKind.WEIGHTS,
        name="w",
        media_type="application/octet-stream",
    )
    champion.record = {**champion.record, "network_sha256": sha256}
    champion.save()
    about = json.loads((folder / "w.json").read_text())
    return ScoringModel.objects.create(
        family="network",
        name="small",
        version="0",
        sha256=sha256,
        role="shadow",
        file=stored,
        record=about,
    )


def test_a_training_shows_its_epochs_and_ends_as_a_challenger(
    learnt: DataSet, tmp_path: Path
) -> None:
    start = small_start(tmp_path)
    run = request_training(learnt, make_user("r", "researcher"), parameters={"epochs": 2})
    assert run.start == start == network_to_start_from()
    said: list[tuple[float, str]] = []
    outcome = run_training(context_of(run, said))
    outcome.save()
    run.refresh_from_db()
    assert [row["epoch"] for row in run.history] == [0, 1, 2]
    assert said[-1][0] == 1.0
    model = run.model
    assert model is not None
    assert model.role == ScoringModel.Role.CHALLENGER
    told = model.record["record"]
    assert told["dataset_sha256"] == learnt.digest == model.report["dataset_sha256"]
    assert told["history"] == run.history
    assert told["energy"]["source"] in {"measured", "estimated", None}
    assert model.report["gain"]["value"] >= 0
    assert model.report["held_out"]["all"]["n_real"] >= 5
    assert Job.objects.filter(kind=RESCORE, subject_id=model.pk).exists()
    judged_on = {
        str(Detection.objects.get(pk=row["key"].removeprefix("verdict:")).healpix14 >> 12)
        for row in datasets.read_manifest(learnt)["samples"]
        if row["split"] == "test"
    }
    cells = datasets.learnt_sky(model)
    # one pair of candidates lies across the border of two cells, on one side
    assert len(cells | judged_on) == 37
    assert not cells & judged_on
    assert datasets.learnt_sky(start) == set()
    scores = [row["validation_aucpr"] for row in run.history]
    # random weights cannot tell, and two epochs teach them something
    assert max(scores[1:]) > scores[0]


class Killed(BaseException):
    """As if the process ended there."""


def test_a_training_that_was_killed_goes_on_and_ends_with_the_same_weights(
    learnt: DataSet, tmp_path: Path
) -> None:
    small_start(tmp_path)
    digests = []
    for dies_after in (None, 2):
        run = request_training(learnt, None, parameters={"epochs": 3, "role": "shadow"})
        context = context_of(run)
        if dies_after is not None:

            def check(run: TrainingRun = run) -> None:
                log = work_folder(run) / "member0.json"
                if log.is_file() and json.loads(log.read_text())["epoch"] == 2:
                    raise Killed

            context.check = check
            with pytest.raises(Killed):
                run_training(context)
            context = context_of(run)
        run_training(context)
        digests.append(json.loads((work_folder(run) / "trained.json").read_text())["sha256"])
    assert digests[0] == digests[1]


def test_a_cancelled_training_stops_and_registers_nothing(learnt: DataSet, tmp_path: Path) -> None:
    small_start(tmp_path)
    run = request_training(learnt, None, parameters={"epochs": 2})
    context = context_of(run)
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) > 1:
            msg = "cancelled"
            raise LeaseLostError(msg)

    context.check = check
    before = ScoringModel.objects.count()
    with pytest.raises(LeaseLostError):
        run_training(context)
    assert ScoringModel.objects.count() == before
    run.refresh_from_db()
    assert [row["epoch"] for row in run.history] == []
