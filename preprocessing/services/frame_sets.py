"""Which calibration frames belong into one master."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from preprocessing.models import CalibrationFrame, CalibrationKind, Camera
from preprocessing.selectors import EXPOSURE_TOLERANCE, TEMPERATURE_TOLERANCE_C

#: Fewer cannot tell a cosmic ray from a pixel; more make the master no better and the build slow.
MIN_FRAMES, MAX_FRAMES = 3, 64
#: A pause this long begins a new set, once the present one has enough frames.
_SESSION = timedelta(hours=12)
_LONGEST = timedelta(days=30)


@dataclass(frozen=True)
class FrameSet:
    """Frames of one kind, band, exposure and temperature, taken together."""

    kind: str
    band: str
    exposure_s: float | None
    temperature_c: float | None
    frames: tuple[CalibrationFrame, ...]

    @property
    def first(self) -> datetime:
        """Start of the first frame."""
        return min(_when(frame) for frame in self.frames)

    @property
    def last(self) -> datetime:
        """Start of the last frame."""
        return max(_when(frame) for frame in self.frames)

    def __str__(self) -> str:
        what = f" {self.band}" if self.kind == CalibrationKind.FLAT else ""
        if self.kind == CalibrationKind.DARK:
            what = f" {self.exposure_s:g} s"
        return f"{self.kind}{what} of {self.first:%Y-%m-%d}"

    def digest(self, *made_with: str) -> str:
        """sha256 of the frames' bytes and of what else the master is made with."""
        words = sorted(frame.file.sha256 for frame in self.frames)
        return hashlib.sha256(" ".join([self.kind, *words, *made_with]).encode()).hexdigest()


def plan_sets(camera: Camera) -> tuple[list[FrameSet], list[str]]:
    """Sets of a camera in the order they must be built, and what belongs to none."""
    # headers are read only of the frames that are combined
    rows_of = CalibrationFrame.objects.select_related("file", "camera__survey").defer("header")
    frames = rows_of.filter(camera=camera)
    sets: list[FrameSet] = []
    notes: list[str] = []
    for kind in (CalibrationKind.BIAS, CalibrationKind.DARK, CalibrationKind.FLAT):
        rows = list(frames.filter(kind=kind, observed_at__isnull=False).order_by("observed_at"))
        n_undated = frames.filter(kind=kind, observed_at__isnull=True).count()
        if n_undated:
            notes.append(f"{n_undated} {kind} frames have no date and are not used")
        for group in _alike(rows, kind):
            found, n_left = _sessions(group)
            sets += [_frame_set(kind, session) for session in found]
            if n_left:
                notes.append(_too_few(kind, group, n_left))
    return sets, notes


def _too_few(kind: str, group: Sequence[CalibrationFrame], n_left: int) -> str:
    what = f" in {group[0].band or 'no band'}" if kind == CalibrationKind.FLAT else ""
    if kind == CalibrationKind.DARK:
        what = f" of {group[0].exposure_s or 0:g} s"
    return f"{n_left} {kind} frames{what}: {MIN_FRAMES} of one night are needed for a master"


def _alike(rows: Sequence[CalibrationFrame], kind: str) -> Iterable[list[CalibrationFrame]]:
    """Frames that may be combined, whenever they were taken."""
    groups: list[list[CalibrationFrame]] = []
    for row in rows:
        group = next((group for group in groups if _fits(row, group[0], kind)), None)
        if group is None:
            groups.append([row])
        else:
            group.append(row)
    return groups


def _fits(row: CalibrationFrame, other: CalibrationFrame, kind: str) -> bool:
    if kind == CalibrationKind.BIAS:
        return True
    if kind == CalibrationKind.FLAT:
        return row.band == other.band
    if not row.exposure_s or not other.exposure_s:
        return row.exposure_s == other.exposure_s
    is_as_long = abs(row.exposure_s / other.exposure_s - 1.0) <= EXPOSURE_TOLERANCE
    if row.temperature_c is None or other.temperature_c is None:
        return is_as_long and row.temperature_c is other.temperature_c
    return is_as_long and abs(row.temperature_c - other.temperature_c) <= TEMPERATURE_TOLERANCE_C


def _sessions(
    rows: Sequence[CalibrationFrame],
) -> tuple[list[list[CalibrationFrame]], int]:
    """Frames split at long pauses; too few of them wait for the next night's, for a month."""
    sessions: list[list[CalibrationFrame]] = []
    current: list[CalibrationFrame] = []
    n_left = 0
    for row in rows:
        pause = _when(row) - _when(current[-1]) if current else timedelta(0)
        if len(current) >= MIN_FRAMES and pause > _SESSION:
            sessions.append(current)
            current = []
        elif pause > _LONGEST:
            n_left += len(current)
            current = []
        current.append(row)
    if len(current) >= MIN_FRAMES:
        sessions.append(current)
        current = []
    return [_thinned(session) for session in sessions], n_left + len(current)


def _thinned(session: list[CalibrationFrame]) -> list[CalibrationFrame]:
    """At most so many frames, spread over the session."""
    if len(session) <= MAX_FRAMES:
        return session
    return [session[round(i * (len(session) - 1) / (MAX_FRAMES - 1))] for i in range(MAX_FRAMES)]


def _frame_set(kind: str, frames: Sequence[CalibrationFrame]) -> FrameSet:
    cold = sorted(f.temperature_c for f in frames if f.temperature_c is not None)
    return FrameSet(
        kind=kind,
        band=frames[0].band if kind == CalibrationKind.FLAT else "",
        exposure_s=frames[0].exposure_s if kind == CalibrationKind.DARK else None,
        temperature_c=cold[len(cold) // 2] if cold else None,
        frames=tuple(frames),
    )


def _when(frame: CalibrationFrame) -> datetime:
    if frame.observed_at is None:
        msg = f"frame: {frame.name} has no date"
        raise ValueError(msg)
    return frame.observed_at
