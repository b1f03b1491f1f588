"""Print every figure of the engine for every regime, and write them down.

    python -m benchmarks.engine [--regime NAME ...] [--size 1024|2048|4096 ...] [--seed N ...]
                                [--peers] [--quick]

Makes seeded scenes, runs ``manage.py subtract_images`` on them cold and in a warm worker, scores
the products against the truth, and prints each figure beside its goal. ``--peers`` runs SWarp,
source-extractor, sep, reproject, photutils and SFFT in the same rounds where they are installed.
Measurements are kept in ``--results``; ``docs/benchmarks.md`` is made from all that it holds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.engine import report
from benchmarks.engine.contestants import (
    Contestant,
    astrid,
    astrid_notes,
    find_peers,
    has_cuda,
    run_warm,
    versions,
)
from benchmarks.engine.explain import explain
from benchmarks.engine.processes import ROOT, Cost
from benchmarks.engine.regimes import REGIMES
from benchmarks.engine.results import Results, commit_of_tree
from benchmarks.engine.scene import Truth, make_scene
from benchmarks.engine.scene_files import SceneFiles, write_scene
from benchmarks.engine.scoring import score_product

_SIZES = (1024, 2048, 4096)


def main() -> int:
    """Measure what was asked for, print it, write the document."""
    options = parse_options()
    results = Results(options.results)
    failed = False
    if not options.report_only:
        peers, missing = find_peers(options.peers_python, threads=options.threads)
        found = versions(options.peers_python)
        for size in options.size:
            for name in options.regime:
                for seed in options.seed:
                    failed |= measure(
                        name, size, seed, options=options, peers=peers, results=results
                    )
                print(report.block(results, name, size), flush=True)
        results.note_setting(versions=found, missing=missing, cuda=has_cuda())
    if options.write:
        (ROOT / "docs" / "benchmarks.md").write_text(report.document(results))
    return int(failed)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--regime", nargs="+", choices=REGIMES, default=list(REGIMES))
    parser.add_argument("--size", nargs="+", type=int, choices=_SIZES, default=[1024, 2048])
    parser.add_argument("--seed", nargs="+", type=int, default=[1])
    parser.add_argument("--peers", action="store_true", help="run the peers beside the engine")
    parser.add_argument("--quick", action="store_true", help="one cold run, no warm worker")
    parser.add_argument("--explain", action="store_true", help="say what was lost and false")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved cold rounds")
    parser.add_argument("--repeats", type=int, default=5, help="warm repeats")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers-python", help="interpreter that has the peers' packages")
    parser.add_argument("--results", type=Path, default=ROOT / "var" / "benchmarks" / "engine.json")
    parser.add_argument("--keep", type=Path, help="folder for scenes and products, kept")
    parser.add_argument("--no-write", dest="write", action="store_false", help="leave docs alone")
    parser.add_argument("--report-only", action="store_true", help="measure nothing")
    return parser.parse_args()


def measure(
    name: str,
    size: int,
    seed: int,
    *,
    options: argparse.Namespace,
    peers: list[Contestant],
    results: Results,
) -> bool:
    """One scene: every contestant in turn, several rounds; True if the engine itself failed."""
    folder = Path(options.keep or tempfile.mkdtemp(prefix="astrid-engine-"))
    scene_folder = folder / f"{name}-{size}-{seed}"
    try:
        scene = make_scene(REGIMES[name], size=size, seed=seed)
        files = write_scene(scene, scene_folder)
        truth = scene.truth
        del scene
        entrants = [astrid(options.threads)]
        # the peers' costs are taken once for each size, on the first seed
        if options.peers and seed == options.seed[0]:
            entrants += [peer for peer in peers if size <= peer.largest]
        costs, errors = run_rounds(
            entrants, files, scene_folder, rounds=1 if options.quick else options.rounds
        )
        for entrant in entrants:
            record = describe(
                entrant, scene_folder, truth, costs=costs[entrant.name], is_loud=options.explain
            )
            record |= {"error": errors[entrant.name]} if entrant.name in errors else {}
            if entrant.name == "AstrID" and entrant.name not in errors and not options.quick:
                record |= run_warm(
                    files,
                    scene_folder / "warm",
                    threads=options.threads,
                    repeats=options.repeats,
                )
            record |= provenance() | {"threads": options.threads}
            results.add(record, regime=name, size=size, seed=seed, contestant=entrant.name)
        return "AstrID" in errors
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def run_rounds(
    entrants: list[Contestant], files: SceneFiles, folder: Path, *, rounds: int
) -> tuple[dict[str, list[Cost]], dict[str, str]]:
    """Interleaved, so that a loaded minute of the machine meets every contestant."""
    costs: dict[str, list[Cost]] = {entrant.name: [] for entrant in entrants}
    errors: dict[str, str] = {}
    for _ in range(rounds):
        for entrant in entrants:
            if entrant.name in errors:
                continue
            output = output_of(entrant.name, folder)
            output.mkdir(parents=True, exist_ok=True)
            cost = entrant.run(files, output)
            if cost.exit_code:
                errors[entrant.name] = f"exit {cost.exit_code}: {cost.error}"
                print(f"{entrant.name}: {errors[entrant.name]}", file=sys.stderr)
            else:
                costs[entrant.name].append(cost)
    return costs, errors


def output_of(name: str, folder: Path) -> Path:
    """Where a contestant puts its products."""
    return folder / "".join(c if c.isalnum() else "-" for c in name.lower())


def describe(
    entrant: Contestant, folder: Path, truth: Truth, *, costs: list[Cost], is_loud: bool
) -> dict[str, Any]:
    """Costs and scores of one contestant."""
    if not costs:
        return {}
    record: dict[str, Any] = {
        "cold_wall_s": min(cost.wall_s for cost in costs),
        "cold_wall_median_s": median(cost.wall_s for cost in costs),
        "cold_cpu_s": min(cost.cpu_s for cost in costs),
        "rounds": len(costs),
        "peak_mb": max(cost.peak_mb for cost in costs),
    }
    record["peak_mb_per_mpix"] = record["peak_mb"] / (truth.excluded.size / 1e6)
    output = output_of(entrant.name, folder)
    if entrant.read is not None:
        product = entrant.read(output)
        record |= score_product(product, truth)
        if is_loud:
            print("\n".join([f"{folder.name}, {entrant.name}:", *explain(product, truth)]))
    if entrant.name == "AstrID":
        record |= astrid_notes(output)
    return record


def provenance() -> dict[str, Any]:
    """When, on which code, and beside how much other work."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "commit": commit_of_tree(),
        "load": os.getloadavg()[0],
    }


if __name__ == "__main__":
    sys.exit(main())
