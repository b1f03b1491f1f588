"""Measurements kept between runs, one record for each scene and contestant."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.engine.processes import ROOT

Record = dict[str, Any]

#: Counts add up over seeds; everything else is averaged, and the worst taken where it is a bound.
_COUNTED = ("found_", "true_", "false", "n_", "mpix")
_WORST = ("peak_mb", "warm_peak_mb", "peak_mb_per_mpix")
_BEST = ("cold_wall_s", "cold_cpu_s", "warm_wall_s", "warm_cpu_s")


class Results:
    """A file of records; adding one writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: dict[str, Any] = {"records": {}, "setting": {}}
        if path.exists():
            self._held = json.loads(path.read_text())

    def add(self, record: Record, *, regime: str, size: int, seed: int, contestant: str) -> None:
        """Keep a record; one of the same scene and contestant is replaced."""
        self._held["records"][f"{regime}|{size}|{seed}|{contestant}"] = record
        self._write()

    def note_setting(self, **told: Any) -> None:
        """Keep what the machine and its programs are."""
        self._held["setting"] = told | {"machine": describe_machine()}
        self._write()

    @property
    def setting(self) -> dict[str, Any]:
        """Versions, machine, and peers that are missing."""
        return dict(self._held["setting"])

    def measured(self) -> list[tuple[str, int, str]]:
        """(regime, size, contestant) of everything kept, in order of measurement."""
        seen: dict[tuple[str, int, str], None] = {}
        for key in self._held["records"]:
            regime, size, _, contestant = key.split("|")
            seen[(regime, int(size), contestant)] = None
        return list(seen)

    def merged(self, regime: str, size: int, contestant: str) -> Record:
        """All seeds of one regime and size as one record."""
        records = [
            record
            for key, record in self._held["records"].items()
            if key.startswith(f"{regime}|{size}|") and key.endswith(f"|{contestant}")
        ]
        return merge(records)

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".part")
        partial.write_text(json.dumps(self._held, indent=1) + "\n")
        partial.replace(self._path)


def merge(records: list[Record]) -> Record:
    """Counts added, errors shrunk, other numbers averaged, words of the last record."""
    merged: Record = {"n_scenes": len(records)}
    for name in dict.fromkeys(name for record in records for name in record):
        values = [record[name] for record in records if record.get(name) is not None]
        if not values:
            continue
        if not all(isinstance(value, (int, float)) for value in values):
            merged[name] = values[-1]
        elif name.startswith(_COUNTED):
            merged[name] = sum(values)
        elif name in _WORST:
            merged[name] = max(values)
        elif name in _BEST:
            merged[name] = min(values)
        elif name.endswith("_error"):
            merged[name] = sum(v**2 for v in values) ** 0.5 / len(values)
        else:
            merged[name] = sum(values) / len(values)
    return merged


def commit_of_tree() -> str:
    """Short hash of the checked-out commit, with a plus where the code has changed since."""
    packages = ["astrid_site", "preprocessing", "differencing", "detection"]
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    changed = subprocess.run(
        ["git", "diff", "--quiet", "HEAD", "--", *packages], cwd=ROOT, check=False
    )
    return told.stdout.strip() + ("+" if changed.returncode else "")


def describe_machine() -> str:
    """Processor, cores and memory in words."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"
