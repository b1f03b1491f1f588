"""What goes wrong in frames and subtractions, drawn into the planes of a small scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter

from detection.training.triplet_scene import MIDDLE, SCENE, Psf, render_points

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Fault = Callable[["Planes", Psf, np.random.Generator], None]

_GRID_Y, _GRID_X = np.mgrid[:SCENE, :SCENE].astype(np.float32)


@dataclass
class Planes:
    """Science, reference as taken, reference as subtracted; what the difference adds and lacks."""

    science: FloatArray
    reference: FloatArray
    matched: FloatArray
    difference_extra: FloatArray = field(
        default_factory=lambda: np.zeros((SCENE, SCENE), np.float32)
    )
    missing: BoolArray = field(default_factory=lambda: np.zeros((SCENE, SCENE), bool))

    def add_to_reference(self, plane: FloatArray) -> None:
        """Change the reference, as taken and as subtracted."""
        self.reference = self.reference + plane
        self.matched = self.matched + plane


def saturate(planes: Planes, full_well: float, rng: np.random.Generator) -> None:
    """Cut off cores at the full well, let some bleed, and mask some in the difference."""
    cores = planes.science > full_well
    if not cores.any():
        return
    planes.science = np.minimum(planes.science, full_well)
    if rng.random() < 0.7:
        well = full_well * float(rng.uniform(0.8, 1.2))
        planes.reference = np.minimum(planes.reference, well)
        planes.matched = np.minimum(planes.matched, well)
    if rng.random() < 0.4:
        columns = np.flatnonzero(cores.sum(axis=0) > 1)
        length = int(rng.integers(2, 40))
        for column in columns:
            rows = np.flatnonzero(cores[:, column])
            bleed = slice(max(rows[0] - length, 0), rows[-1] + length)
            planes.science[bleed, column] = full_well
    if rng.random() < 0.4:
        planes.missing |= binary_dilation(cores, iterations=int(rng.integers(0, 4)) or 1)


def add_fault(kind: str, planes: Planes, psf: Psf, *, rng: np.random.Generator) -> None:
    """Put the fault of a kind into the middle; kinds without one change nothing."""
    fault = _FAULTS.get(kind)
    if fault is not None:
        fault(planes, psf, rng)


def add_distractions(planes: Planes, psf: Psf, rng: np.random.Generator) -> None:
    """Faults off the middle, beside whatever is there."""
    if rng.random() < 0.2:
        x, y = _off_middle(rng, nearest=2.0 * psf.fwhm)
        planes.science = planes.science + cosmic_ray(rng, x=x, y=y)
    if rng.random() < 0.1:
        x, y = _off_middle(rng, nearest=2.0 * psf.fwhm)
        radius = rng.uniform(0.6, 6.0)
        planes.missing |= np.hypot(_GRID_X - x, _GRID_Y - y) < radius
    if rng.random() < 0.06:
        column = int(MIDDLE + rng.choice([-1, 1]) * rng.integers(5, 30))
        planes.science[:, column] += np.float32(rng.normal(0.0, 6.0))
    if rng.random() < 0.1:
        tilt = rng.normal(0.0, 0.03, 2)
        planes.difference_extra += (
            tilt[0] * (_GRID_X - MIDDLE) + tilt[1] * (_GRID_Y - MIDDLE)
        ).astype(np.float32)
    if rng.random() < 0.06:
        rows = rng.normal(0.0, rng.uniform(0.1, 0.5), (SCENE, 1)).astype(np.float32)
        planes.science = planes.science + rows


def cosmic_ray(rng: np.random.Generator, *, x: float, y: float) -> FloatArray:
    """A track through (x, y) [pix]; most are short."""
    length = float(min(rng.exponential(3.0), 25.0))
    angle, amplitude = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(8.0), np.log(600.0)))
    steps = np.linspace(-length / 2, length / 2, max(int(3 * length), 1))
    columns = np.rint(x + steps * np.cos(angle)).astype(int)
    rows = np.rint(y + steps * np.sin(angle)).astype(int)
    inside = (columns >= 0) & (columns < SCENE) & (rows >= 0) & (rows < SCENE)
    track = np.zeros((SCENE, SCENE), np.float32)
    charge = amplitude * rng.uniform(0.3, 1.0, int(inside.sum()))
    track[rows[inside], columns[inside]] = charge.astype(np.float32)
    return _resampled(track, rng)


def _resampled(plane: FloatArray, rng: np.random.Generator) -> FloatArray:
    """As registration leaves a sharp thing: untouched, or smeared by less than a pixel."""
    if rng.random() < 0.4:
        return plane
    return np.asarray(gaussian_filter(plane, float(rng.uniform(0.25, 0.6))), np.float32)


def _off_middle(rng: np.random.Generator, *, nearest: float) -> tuple[float, float]:
    distance, angle = rng.uniform(min(nearest, 25.0), 38.0), rng.uniform(0, 2 * np.pi)
    return MIDDLE + distance * np.cos(angle), MIDDLE + distance * np.sin(angle)


def _cosmic_ray(planes: Planes, psf: Psf, rng: np.random.Generator) -> None:
    planes.science = planes.science + cosmic_ray(rng, x=MIDDLE, y=MIDDLE)


def _pixel(planes: Planes, psf: Psf, rng: np.random.Generator) -> None:
    plane = np.zeros((SCENE, SCENE), np.float32)
    middle = int(MIDDLE)
    size = 1 if rng.random() < 0.7 else 2
    depth = float(np.exp(rng.uniform(np.log(8.0), np.log(400.0))))
    sign = 1.0 if rng.random() < 0.5 else -1.0
    plane[middle : middle + size, middle : middle + int(rng.integers(1, 3))] = sign * depth
    plane = _resampled(plane, rng)
    planes.science = planes.science + plane
    if rng.random() < 0.2:
        # Lanczos rings around a pixel that was interpolated
        ring = gaussian_filter(plane, 0.7) - gaussian_filter(plane, 1.2)
        planes.science = planes.science - np.asarray(ring, np.float32)


def _column(planes: Planes, psf: Psf, rng: np.random.Generator) -> None:
    plane = np.zeros((SCENE, SCENE), np.float32)
    middle, width = int(MIDDLE), int(rng.integers(1, 4))
    start = int(rng.integers(0, middle)) if rng.random() < 0.5 else 0
    level = float(np.exp(rng.uniform(np.log(3.0), np.log(80.0)))) * float(rng.choice([-1.0, 1.0]))
    plane[start:, middle : middle + width] = level * rng.uniform(0.6, 1.2, (SCENE - start, 1))
    plane = _resampled(plane, rng)
    plane = plane if rng.random() < 0.6 else plane.T
    if rng.random() < 0.75:
        planes.science = planes.science + plane
    else:
        planes.add_to_reference(plane)


def _edge(planes: Planes, psf: Psf, rng: np.random.Generator) -> None:
    """A frame ends near the middle, and what lies beyond is a constant or badly filled."""
    angle = float(rng.choice(np.arange(4))) * np.pi / 2 + float(rng.normal(0.0, 0.05))
    across = (_GRID_X - MIDDLE) * np.cos(angle) + (_GRID_Y - MIDDLE) * np.sin(angle)
    beyond = across > rng.uniform(-1.0, 4.0)
    ramp = np.exp(-np.abs(across) / rng.uniform(0.5, 4.0)).astype(np.float32)
    level = float(np.exp(rng.uniform(np.log(5.0), np.log(200.0)))) * float(rng.choice([-1.0, 1.0]))
    planes.difference_extra += np.float32(level) * ramp * float(rng.random() < 0.7)
    filling = float(rng.choice([-50.0, 0.0, level]))
    if rng.random() < 0.5:
        planes.science = np.where(beyond, np.float32(filling), planes.science)
    else:
        planes.reference = np.where(beyond, np.float32(filling), planes.reference)
        planes.matched = np.where(beyond, np.float32(filling), planes.matched)
    if rng.random() < 0.5:
        planes.missing |= beyond & (across > 2.5)


def _ghost(planes: Planes, psf: Psf, rng: np.random.Generator) -> None:
    """An out-of-focus reflection: a soft disc or ring much wider than the PSF."""
    radius = psf.fwhm * float(rng.uniform(1.3, 5.0))
    x, y = MIDDLE + rng.normal(0.0, 0.4 * radius, 2)
    distance = np.hypot(_GRID_X - x, _GRID_Y - y)
    hole = float(rng.choice([0.0, rng.uniform(0.2, 0.7)])) * radius
    shape = ((distance < radius) & (distance >= hole)).astype(np.float32)
    if rng.random() < 0.3:
        # charge left behind by a masked star, or a patch: flat, square, a few pixels wide
        half = max(0.9 * radius, 2.5)
        shape = (np.maximum(np.abs(_GRID_X - x), np.abs(_GRID_Y - y)) < half).astype(np.float32)
    soft = gaussian_filter(shape, radius * float(rng.uniform(0.05, 0.5)))
    level = float(np.exp(rng.uniform(np.log(1.5), np.log(30.0))))
    if rng.random() < 0.75:
        planes.science = planes.science + np.float32(level) * soft
    else:
        planes.add_to_reference(np.float32(level) * soft)


def _trail(planes: Planes, psf: Psf, rng: np.random.Generator) -> None:
    """A satellite: a long line as wide as the PSF, even or flashing."""
    angle, half = rng.uniform(0, np.pi), float(rng.uniform(4.0, 60.0)) * psf.fwhm / 2
    half = max(half, 2.0 * psf.fwhm)
    along = (_GRID_X - MIDDLE) * np.cos(angle) + (_GRID_Y - MIDDLE) * np.sin(angle)
    across = -(_GRID_X - MIDDLE) * np.sin(angle) + (_GRID_Y - MIDDLE) * np.cos(angle)
    width = psf.fwhm / 2.3548 * float(rng.uniform(1.0, 1.5))
    level = float(np.exp(rng.uniform(np.log(2.0), np.log(100.0))))
    line = np.exp(-0.5 * (across / width) ** 2) * (np.abs(along - rng.uniform(-half, half)) < half)
    if rng.random() < 0.3:
        line = line * (0.5 + 0.5 * np.cos(2 * np.pi * along / rng.uniform(6.0, 30.0)))
    planes.science = planes.science + np.float32(level) * line.astype(np.float32)


def _glint(planes: Planes, psf: Psf, rng: np.random.Generator) -> None:
    """A tumbling satellite: flashes in a row, each like a star."""
    angle, step = rng.uniform(0, np.pi), float(rng.uniform(2.5, 9.0)) * psf.fwhm
    step = float(np.clip(step, 6.0, 24.0))
    place = np.arange(-8, 9) * step
    level = float(np.exp(rng.uniform(np.log(6.0), np.log(80.0)))) / psf.peak
    flux = level * np.exp(rng.normal(0.0, 0.15, len(place)))
    x, y = MIDDLE + place * np.cos(angle), MIDDLE + place * np.sin(angle)
    planes.science = planes.science + render_points(psf, x, y, flux=flux)


def _spike(planes: Planes, psf: Psf, rng: np.random.Generator) -> None:
    """A diffraction spike of a star outside, brighter or turned against the reference."""
    angle = float(rng.choice([0.0, np.pi / 4, rng.uniform(0, np.pi)]))
    for plane, turn in (("science", 0.0), ("reference", float(rng.normal(0.0, 0.05)))):
        cos, sin = np.cos(angle + turn), np.sin(angle + turn)
        along = (_GRID_X - MIDDLE) * cos + (_GRID_Y - MIDDLE) * sin
        across = -(_GRID_X - MIDDLE) * sin + (_GRID_Y - MIDDLE) * cos
        width = psf.fwhm / 2.3548 * float(rng.uniform(0.5, 1.2))
        level = float(np.exp(rng.uniform(np.log(3.0), np.log(80.0))))
        line = np.exp(-0.5 * (across / width) ** 2 - along / rng.uniform(15.0, 60.0))
        spike = np.float32(level) * np.minimum(line, 50.0).astype(np.float32)
        if plane == "science":
            planes.science = planes.science + spike
        elif rng.random() < 0.6:
            planes.add_to_reference(spike)


def _step(planes: Planes, psf: Psf, rng: np.random.Generator) -> None:
    """Two amplifiers on different levels."""
    axis = _GRID_X if rng.random() < 0.5 else _GRID_Y
    level = float(rng.choice([-1.0, 1.0])) * float(np.exp(rng.uniform(np.log(1.0), np.log(30.0))))
    planes.difference_extra += np.float32(level) * (axis > MIDDLE + rng.normal(0.0, 1.0))


def _reference_fault(planes: Planes, psf: Psf, rng: np.random.Generator) -> None:
    """The reference has a cosmic ray, a dead pixel or nothing at all where the field has light."""
    if rng.random() < 0.5:
        sign = np.float32(rng.choice([-1.0, 1.0]))
        planes.add_to_reference(sign * cosmic_ray(rng, x=MIDDLE, y=MIDDLE))
        return
    radius = float(rng.uniform(1.0, 12.0)) * psf.fwhm / 2
    empty = np.hypot(_GRID_X - MIDDLE, _GRID_Y - MIDDLE) < radius
    planes.science = planes.science + np.float32(rng.uniform(3.0, 40.0)) * np.exp(
        -0.5 * ((_GRID_X - MIDDLE) ** 2 + (_GRID_Y - MIDDLE) ** 2) / (psf.fwhm / 2.3548) ** 2
    )
    filling = np.float32(rng.choice([0.0, -20.0]))
    planes.reference = np.where(empty, filling, planes.reference)
    planes.matched = np.where(empty, filling, planes.matched)


_FAULTS: dict[str, Fault] = {
    "cosmic ray": _cosmic_ray,
    "hot or dead pixel": _pixel,
    "bad column": _column,
    "edge": _edge,
    "ghost": _ghost,
    "trail": _trail,
    "glint": _glint,
    "spike": _spike,
    "background step": _step,
    "reference fault": _reference_fault,
}
