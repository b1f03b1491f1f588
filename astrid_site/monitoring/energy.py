"""Energy of the work done here: read from the processor's own meter where it has one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

#: Counters of whole processors [microjoule]; their parts have a second number and are in them.
POWERCAP = Path("/sys/class/powercap")
_PACKAGE = re.compile(r"intel-rapl:\d+")


@dataclass(frozen=True)
class Energy:
    """Energy [J], and whether it was ``measured`` or ``estimated``; None and empty: not known."""

    joules: float | None
    source: str


class EnergyMeter:
    """Energy since it was last asked.

    Measured: that of the machine's processors, everything else that runs on them included.
    Estimated: this process's processor time by a stated power of one core.
    """

    def __init__(self, *, watts_per_core: float = 0.0, powercap: Path = POWERCAP) -> None:
        self._watts = watts_per_core
        self._powercap = powercap
        self._counters = self._read()
        self._seconds = _processor_seconds()

    def take(self) -> Energy:
        """What was used since the beginning or since the last call."""
        before, seconds = self._counters, self._seconds
        self._counters, self._seconds = self._read(), _processor_seconds()
        if before and before.keys() == self._counters.keys():
            used = sum(self._used(name, before[name]) for name in before)
            return Energy(used / 1e6, "measured")
        if self._watts > 0:
            return Energy(self._watts * (self._seconds - seconds), "estimated")
        return Energy(None, "")

    def _used(self, name: str, before: int) -> int:
        """Microjoules of one processor; its counter begins anew at its own limit."""
        now = self._counters[name]
        if now >= before:
            return now - before
        return now - before + _number(self._powercap / name / "max_energy_range_uj")

    def _read(self) -> dict[str, int]:
        """Counters that may be read; none where there is no meter or it is for root alone."""
        found = {}
        for folder in sorted(self._powercap.glob("intel-rapl:*")):
            if not _PACKAGE.fullmatch(folder.name):
                continue
            try:
                found[folder.name] = _number(folder / "energy_uj")
            except (OSError, ValueError):
                return {}
        return found


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def _processor_seconds() -> float:
    times = os.times()
    return times.user + times.system
