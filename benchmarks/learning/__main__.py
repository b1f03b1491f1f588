"""Every figure that the networks are held to, beside its goal and its baselines.

    ASTRID_TEST_DATA=folder python -m benchmarks.learning [--output docs/models/figures.md]
        [--work DIR --nights 34 --calibration 12]

Speed is measured now. Figures that take a training are those that the last evaluation wrote beside
the weights; they are refused if they are of other weights. With --work the second detector is
compared anew, on nights that are kept there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.learning import second_detector
from benchmarks.learning.figures_page import write_page
from detection.networks import combined, feature_model, real_bogus_weights, unet_weights
from detection.networks.real_bogus import RealBogusEnsemble, score_in_order

Json = Any
_BATCH, _N_TRIPLETS, _N_SINGLE = 512, 3072, 60


def measure_speed(ensemble: RealBogusEnsemble, *, threads: int) -> dict[str, Json]:
    """Throughput of batches on threads, and latency of one triplet and of 64 on one."""
    rng = np.random.default_rng(1)
    triplets = rng.normal(100.0, 5.0, (_N_TRIPLETS, 63, 63, 3)).astype(np.float32)
    ensemble.score(triplets[:_BATCH])
    wall, used = time.perf_counter(), time.process_time()
    parts = (triplets[first : first + _BATCH] for first in range(0, len(triplets), _BATCH))
    n_scored = sum(map(len, score_in_order(ensemble, parts, n_threads=threads)))
    wall, used = time.perf_counter() - wall, time.process_time() - used
    return {
        "threads": threads,
        "per_second": round(n_scored / wall),
        "per_cpu_second": round(n_scored / used),
        "load": round(os.getloadavg()[0], 1),
        "latency_ms": {str(n): latency(ensemble, triplets[:n]) for n in (1, 64)},
    }


def latency(ensemble: RealBogusEnsemble, triplets: np.ndarray) -> dict[str, float]:
    """Median and 95th percentile of the wall time of one call [ms]."""
    took = []
    for _ in range(_N_SINGLE):
        began = time.perf_counter()
        ensemble.score(triplets)
        took.append(1000 * (time.perf_counter() - began))
    p50, p95 = np.percentile(took, [50, 95])
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1)}


def network_report() -> dict[str, Json]:
    """Figures of the shipped network.

    Raises
    ------
    ValueError
        If they are of other weights.
    """
    report = json.loads(real_bogus_weights.report_path().read_text(encoding="utf-8"))
    if report["weights_sha256"] != real_bogus_weights.read_record()["sha256"]:
        msg = "the report beside the network is of other weights: run evaluate_network"
        raise ValueError(msg)
    return report


def detector_report(options: argparse.Namespace) -> dict[str, Json]:
    """Of the U-Net beside the classical detector: compared anew, or as it was last.

    Raises
    ------
    ValueError
        If what is stored is of other weights.
    """
    path = real_bogus_weights.report_path(unet_weights.WEIGHTS_FILE)
    digest = unet_weights.read_unet_record()["sha256"]
    if options.work is not None:
        report = second_detector.measure(
            options.work,
            n_nights=options.nights,
            n_calibration=options.calibration,
            weights=unet_weights.WEIGHTS_FILE,
        )
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    report = json.loads(path.read_text(encoding="utf-8"))
    if report["weights_sha256"] != digest:
        msg = "the report beside the U-Net is of other weights: compare anew with --work"
        raise ValueError(msg)
    return report


def main() -> None:
    """Gather, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="Markdown file to write as well")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, help="folder of nights: compare the U-Net anew")
    parser.add_argument("--nights", type=int, default=34)
    parser.add_argument("--calibration", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    # each is loaded once, so that figures of weights that are damaged are not shown
    feature_model.FeatureModel.load()
    text = write_page(
        network=network_report(),
        combined=combined.CombinedModel.load().record["held_out"],
        detector=detector_report(options),
        speed=measure_speed(real_bogus_weights.load_ensemble(), threads=options.threads),
        day=datetime.now(UTC).date().isoformat(),  # noqa: TID251
    )
    sys.stdout.write(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
