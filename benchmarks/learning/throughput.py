"""How fast triplets are scored, and in how much memory.

    python -m benchmarks.learning.throughput [--triplets 4096] [--threads 2] [--device cpu]

Prints triplets a second of wall clock and of processor time: on a busy machine only the second
says what the code costs.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np
import torch

from detection.networks.real_bogus import score_in_order
from detection.networks.real_bogus_weights import load_ensemble

BATCH = 512


def main() -> None:
    """Score random triplets and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--triplets", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    triplets = rng.normal(100.0, 5.0, (options.triplets, 63, 63, 3)).astype(np.float32)
    ensemble = load_ensemble(device=options.device)
    ensemble.score(triplets[:512])
    wall, used = time.perf_counter(), time.process_time()
    parts = (triplets[first : first + BATCH] for first in range(0, len(triplets), BATCH))
    n_scored = sum(map(len, score_in_order(ensemble, parts, n_threads=options.threads)))
    wall, used = time.perf_counter() - wall, time.process_time() - used
    answer = {
        "threads": options.threads,
        "device": options.device,
        "per_second": round(n_scored / wall, 1),
        "per_cpu_second": round(n_scored / used, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
