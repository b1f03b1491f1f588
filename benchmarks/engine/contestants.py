"""Who is measured: this engine cold and warm, and the peers found on this machine."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from benchmarks.engine.processes import ROOT, Cost, run_measured, thread_environment
from benchmarks.engine.scene_files import SceneFiles
from benchmarks.engine.scoring import Product

#: AstrID's mask planes in which its difference holds nothing.
_UNUSABLE = 1 | 2 | 4 | 8 | 16 | 32 | 256 | 512
_CHAINS = Path(__file__).with_name("peer_chains.py")


@dataclass(frozen=True)
class Contestant:
    """One that subtracts; ``largest`` is the widest frame it can be asked for here."""

    name: str
    run: Callable[[SceneFiles, Path], Cost]
    read: Callable[[Path], Product] | None
    largest: int = 4096


def astrid(threads: int) -> Contestant:
    """The command, from nothing."""

    def run(files: SceneFiles, output: Path) -> Cost:
        cost = run_measured(
            [sys.executable, "manage.py", "subtract_images", *_arguments(files, output, threads)],
            log=output / "log.txt",
            environment=thread_environment(threads),
        )
        if cost.exit_code:
            return cost
        # the reader is a process of its own beside the command: both count
        told = json.loads((output / "timing.json").read_text())["peak_memory_mb"]
        return Cost(**{**vars(cost), "peak_mb": max(cost.peak_mb, float(told))})

    return Contestant("AstrID", run, read_astrid)


def _arguments(files: SceneFiles, output: Path, threads: int) -> list[str]:
    return [
        str(files.reference),
        str(files.science),
        f"--reference-mask={files.reference_mask}",
        f"--science-mask={files.science_mask}",
        "--output",
        str(output),
        f"--threads={threads}",
    ]


def run_warm(files: SceneFiles, output: Path, *, threads: int, repeats: int) -> dict[str, Any]:
    """Costs of a worker that has subtracted before, best and median of the repeats."""
    output.mkdir(parents=True, exist_ok=True)
    log = output / "warm.txt"
    arguments = _arguments(files, output, threads)
    command = [sys.executable, "-m", "benchmarks.engine.warm_worker", str(repeats + 1), "--"]
    cost = run_measured([*command, *arguments], log=log, environment=thread_environment(threads))
    if cost.exit_code:
        return {"warm_error": cost.error}
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    warm = lines[1:]
    best = min(warm, key=lambda line: float(line["wall_s"]))
    return {
        "warm_wall_s": best["wall_s"],
        "warm_wall_median_s": median(line["wall_s"] for line in warm),
        "warm_cpu_s": min(line["cpu_s"] for line in warm),
        "warm_write_s": best["stages"].get("write"),
        "warm_peak_mb": max(line["peak_mb"] for line in lines),
        "warm_stages": best["stages"],
        "warm_repeats": repeats,
    }


def read_astrid(output: Path) -> Product:
    """The command's products."""
    table = Table.read(output / "candidates.ecsv", format="ascii.ecsv")
    with fits.open(output / "difference.fits", memmap=False) as hdus:
        difference = np.asarray(hdus[0].data, dtype=np.float32)
        variance = np.asarray(hdus["VARIANCE"].data, dtype=np.float32)
        mask = np.asarray(hdus["MASK"].data)
    with fits.open(output / "score.fits", memmap=False) as hdus:
        score = np.asarray(hdus[0].data, dtype=np.float32)
    return Product(
        x=np.asarray(table["x"], dtype=np.float64),
        y=np.asarray(table["y"], dtype=np.float64),
        flux=np.asarray(table["flux"], dtype=np.float64),
        difference=difference,
        variance=variance,
        score=score,
        valid=(mask.astype(np.int64) & _UNUSABLE) == 0,
        is_white=True,
    )


def astrid_notes(output: Path) -> dict[str, Any]:
    """What the command says of its own run."""
    told = json.loads((output / "timing.json").read_text())
    return {
        "method": told["method"],
        "verdict": told["quality"],
        "verdict_reasons": told["quality_reasons"],
        "stages": told["seconds"],
        "n_peaks": told["n_peaks"],
        "own_metrics": told["metrics"],
    }


def find_peers(python: str | None, *, threads: int) -> tuple[list[Contestant], dict[str, str]]:
    """Chains whose programs are here, and why the others are left out."""
    here, missing = [], {}
    interpreter = python or sys.executable
    swarp = shutil.which("SWarp") or shutil.which("swarp")
    extractor = shutil.which("source-extractor") or shutil.which("sex")
    wants = {
        "SWarp alone (resampling)": ("swarp", {"SWarp": swarp}, (), 4096),
        "SWarp + Gaussian match + source-extractor": (
            "swarp-gauss-extractor",
            {"SWarp": swarp, "source-extractor": extractor},
            (),
            4096,
        ),
        "SWarp + SFFT + sep": (
            "swarp-sfft-sep",
            {"SWarp": swarp, "source-extractor": extractor},
            ("sfft", "sep"),
            # 2.7 to 3 GB per Mpix
            1024,
        ),
        "reproject + photutils": ("reproject-photutils", {}, ("reproject", "photutils"), 4096),
    }
    for name, (chain, programs, modules, largest) in wants.items():
        lacking = [program for program, path in programs.items() if path is None]
        lacking += [module for module in modules if not _has_module(interpreter, module)]
        if lacking:
            missing[name] = "not installed here: " + ", ".join(lacking)
        else:
            here.append(_peer(name, chain, interpreter, threads=threads, largest=largest))
    missing["SWarp + HOTPANTS + source-extractor"] = "no package of HOTPANTS is to be had here"
    return here, missing


def _has_module(python: str, name: str) -> bool:
    probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
    return subprocess.run([python, "-c", probe, name], check=False).returncode == 0


def _peer(name: str, chain: str, python: str, *, threads: int, largest: int) -> Contestant:
    def run(files: SceneFiles, output: Path) -> Cost:
        output.mkdir(parents=True, exist_ok=True)
        with _program_names(output) as path:
            return run_measured(
                [python, str(_CHAINS), chain, str(files.science.parent), str(output)],
                log=output / "log.txt",
                environment=thread_environment(threads) | {"PATH": path},
            )

    read = None if chain == "swarp" else read_peer
    return Contestant(name, run, read, largest)


@contextmanager
def _program_names(output: Path) -> Iterator[str]:
    """A search path on which source-extractor also bears its old name, which SFFT calls."""
    folder = output / "bin"
    folder.mkdir(exist_ok=True)
    program = shutil.which("source-extractor")
    if program and not (folder / "sex").exists():
        (folder / "sex").symlink_to(program)
    yield f"{folder}{os.pathsep}{os.environ['PATH']}"


def read_peer(output: Path) -> Product:
    """What every chain writes: a list of candidates and a difference, NaN where it has none."""
    with (output / "candidates.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    with fits.open(output / "difference.fits", memmap=False) as hdus:
        difference = np.asarray(hdus[0].data, dtype=np.float32)
    return Product(
        x=np.array([float(row["x"]) for row in rows]),
        y=np.array([float(row["y"]) for row in rows]),
        flux=np.array([float(row["flux"]) for row in rows]),
        difference=difference,
        variance=None,
        score=None,
        valid=np.isfinite(difference),
        is_white=False,
    )


def versions(python: str | None) -> dict[str, str]:
    """Versions of everything that takes part."""
    probe = (
        "import importlib.metadata as m, json, sys\n"
        "def v(n):\n"
        "    try: return m.version(n)\n"
        "    except m.PackageNotFoundError: return None\n"
        "print(json.dumps({n: v(n) for n in sys.argv[1:]}))"
    )
    found = {"Python": sys.version.split()[0]}
    own = ["numpy", "scipy", "astropy", "torch", "photutils", "sep"]
    for interpreter, names in (
        (sys.executable, own),
        (python or sys.executable, ["reproject", "sfft"]),
    ):
        told = subprocess.run(
            [interpreter, "-c", probe, *names], capture_output=True, text=True, check=True
        ).stdout
        found |= {name: version for name, version in json.loads(told).items() if version}
    for program in ("SWarp", "source-extractor"):
        if shutil.which(program):
            line = subprocess.run(
                [program, "-v"], capture_output=True, text=True, check=False, cwd=ROOT
            )
            found[program] = (line.stdout or line.stderr).split("version")[-1].split()[0]
    return found


def has_cuda() -> bool:
    """Whether torch sees a GPU; asked of another process, which forgets it again."""
    probe = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
