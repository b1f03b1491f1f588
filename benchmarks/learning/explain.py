"""Is the stage named at which a source was lost: 200 sources, each lost at a known one.

python -m benchmarks.learning.explain [--hundreds 2] [--seed 1]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from scipy.stats import binomtest

#: Of all sources, those whose stage must be named.
RIGHT = 0.95


def main() -> int:
    """Plant, search, ask, count; 0 if enough stages were named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hundreds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="astrid-explain-") as folder:
        os.environ["ASTRID_DATA_DIR"] = folder
        os.environ["DATABASE_URL"] = f"sqlite:///{Path(folder) / 'astrid.sqlite3'}"
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "astrid_site.settings")
        os.environ.setdefault("ASTRID_LOG_LEVEL", "ERROR")
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        return count(options.hundreds, seed=options.seed)


def count(hundreds: int, *, seed: int) -> int:
    """Ask of every source and print how often the named stage was right."""
    from benchmarks.learning.missed_sources import make_misses

    misses = make_misses(hundreds, seed=seed)
    right: dict[str, list[bool]] = defaultdict(list)
    began = time.perf_counter()
    for miss in misses:
        right[f"{miss.ending:16s} {miss.kind}"].append(miss.is_named())
    seconds = time.perf_counter() - began
    print(f"{'lost at':16s} {'by':20s} {'sources':>8s} {'named':>6s}")
    for kind, said in sorted(right.items()):
        print(f"{kind:37s} {len(said):8d} {sum(said):6d}")
    n, good = len(misses), sum(sum(said) for said in right.values())
    low, high = binomtest(good, n).proportion_ci(0.95, method="exact")
    print(f"right: {good} of {n}, {good / n:.1%} (95 %: {low:.1%} to {high:.1%})")
    print(f"{1000 * seconds / n:.0f} ms a question")
    return 0 if good >= RIGHT * n else 1


if __name__ == "__main__":
    sys.exit(main())
