"""Plant a damaged champion and watch it go: time to rollback, and candidates it scored meanwhile.

Usage: ``python -m benchmarks.learning.rollback [--canaries FILE.npz]``. Works in an installation
of its own, in a folder that is removed afterwards; half a minute, and another one to simulate the
canaries where no file of them is named.
"""

# ruff: noqa: E402 - the data folder is named before the settings are read
from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

_FOLDER = tempfile.TemporaryDirectory(prefix="astrid-rollback-")
os.environ |= {"ASTRID_DATA_DIR": _FOLDER.name, "DJANGO_SETTINGS_MODULE": "astrid_site.settings"}

import django

django.setup()

import numpy as np
from django.core.management import call_command
from django.utils import timezone

from astrid_site import pipeline
from astrid_site.core import jobs, tasking
from astrid_site.core.models import AuditEntry, FileKind, Job, StoredFile
from benchmarks.learning.damage import shuffle_last_layer
from detection import services
from detection.models import Detection, DetectionRun, ScoringModel
from detection.services.canaries import read_canaries
from detection.services.scoring import rescore_run
from detection.training.canaries import Canaries
from observations.models import Observation, Survey
from preprocessing.services import put_array

N_FRAMES = 12


def main() -> None:
    """Set up, plant, watch, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--canaries", type=Path, help="an NPZ of canaries instead of simulated ones"
    )
    options = parser.parse_args()
    tasking.app.send_task = lambda *args, **kwargs: None
    call_command("migrate", verbosity=0)
    canary_set = _canaries(options.canaries)
    canaries = read_canaries(canary_set)
    network = ScoringModel.objects.get(family="network")
    services.promote(network, None, gate=["the benchmark's own choice"])
    _work()
    runs = [_search(canaries, i) for i in range(N_FRAMES)]
    _work()
    before, order = _shown(), _queue()

    content, about = shuffle_last_layer(Path(_FOLDER.name) / "damaged.safetensors")
    damaged = services.register_network(content, about=about, report={})
    began = time.perf_counter()
    services.promote(damaged, None, gate=["forced past the gate by the benchmark"])
    services.request_rescore(damaged)
    # a frame comes in before any worker looks at the canaries
    harmed_run = _search(canaries, N_FRAMES)
    harmed = _scored_by(damaged)
    seconds = _until_rolled_back(began)
    harmed = max(harmed, _scored_by(damaged))
    _work()
    restored = time.perf_counter() - began
    reason = AuditEntry.objects.get(action="model.rollback").after["reason"]
    rescore_run(harmed_run)
    print(f"canaries                        {canary_set.n_real} real, {canary_set.n_bogus} bogus")
    print(f"time to rollback                {seconds:.2f} s")
    print(f"candidates it scored meanwhile  {harmed} of {Detection.objects.count()}")
    print(f"all scores shown again after    {restored:.2f} s")
    print(f"reason on record                {reason}")
    print(f"still shown by it               {_scored_by(damaged)}")
    same = {key: value for key, value in _shown().items() if key in before}
    print(f"scores as before                {same == before}")
    kept = [key for key in _queue() if key in before]
    print(f"queue order as before           {kept == order}")
    print(f"searches                        {len(runs) + 1}")


def _canaries(path: Path | None) -> Any:
    if path is None:
        return services.make_canaries(lambda done, says: print(f"{done:4.0%} {says}", flush=True))
    return services.keep_canaries(
        Canaries.from_bytes(path.read_bytes()), recipe={"file": path.name}
    )


def _search(canaries: Canaries, i: int) -> DetectionRun:
    """One searched frame: twenty candidates, scored by every model in service."""
    survey, _ = Survey.objects.get_or_create(name="Benchmark", slug="benchmark")
    rng = np.random.default_rng(i)
    rows = rng.choice(len(canaries), size=20, replace=False)
    raw, _ = StoredFile.objects.get_or_create(
        sha256=f"{i:064x}", defaults={"size": 1, "kind": FileKind.RAW, "name": f"{i}.fits"}
    )
    frame = Observation.objects.create(
        survey=survey,
        observation_id=f"frame {i}",
        raw_file=raw,
        observed_at=timezone.now(),
        image_width=512,
        image_height=512,
    )
    pixels = canaries.cutouts[rows] + rng.normal(0, 1e-3, (20, 4, 63, 63)).astype(np.float32)
    run = DetectionRun.objects.create(
        observation=frame,
        pipeline_version=pipeline.PIPELINE_VERSION,
        cutouts_file=put_array(pixels, kind=FileKind.CUTOUTS, name="cutouts.npy"),
    )
    Detection.objects.bulk_create(
        Detection(
            run=run,
            observation=frame,
            index=k,
            x=1.0,
            y=1.0,
            score=canaries.snr[row],
            flux=1.0,
            flux_error=0.1,
            features=canaries.features[row],
            is_kept=True,
        )
        for k, row in enumerate(rows)
    )
    rescore_run(run)
    return run


def _until_rolled_back(began: float) -> float:
    while not AuditEntry.objects.filter(action="model.rollback").exists():
        if not _work_once():
            msg = "nothing is left to do, and the damaged model is champion still"
            raise RuntimeError(msg)
    return time.perf_counter() - began


def _work() -> None:
    while _work_once():
        pass


def _work_once() -> bool:
    """Do the next job as a worker does; MLflow is left out."""
    queued = Job.objects.filter(state="queued").exclude(kind=services.MIRROR)
    job = queued.order_by("-priority", "created_at").first()
    if job is not None:
        jobs.run(job.pk)
    return job is not None


def _shown() -> dict[Any, Any]:
    return {row.pk: (row.real_bogus, row.scorer) for row in Detection.objects.all()}


def _queue() -> list[Any]:
    return [row.pk for row in Detection.objects.order_by("-real_bogus", "-score", "id")]


def _scored_by(model: ScoringModel) -> int:
    return Detection.objects.filter(scorer=str(model)).count()


if __name__ == "__main__":
    main()
