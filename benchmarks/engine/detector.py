"""From electrons expected to a frame with noise, saturation, bleeding, bad columns, cosmic rays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

GAIN = 1.5
READ_NOISE = 6.0
FULL_WELL = 97_000.0
#: Read noise must not lift a full pixel out of saturation.
SATURATION_ADU = 0.98 * FULL_WELL / GAIN
_COSMIC_RAYS_PER_MPIX = 15.0
_COLUMNS_PER_THOUSAND = 1.5


@dataclass(frozen=True)
class Frame:
    """One exposure as written: counts [adu], what the camera knows to be bad, and why."""

    data: Float32
    bad: Bool
    saturated: Bool


def expose(scene: Float64, rng: np.random.Generator) -> Frame:
    """Draw the photons of a scene and read them out.

    Parameters
    ----------
    scene : NDArray[float64], shape (ny, nx)
        Expected electrons, sky included.
    rng : numpy.random.Generator
        Draws everything.

    Returns
    -------
    Frame
        Saturated and bled pixels are both in ``saturated``; ``bad`` adds columns and cosmic rays.
    """
    electrons = rng.poisson(scene).astype(np.float64)
    columns = _bad_columns(scene.shape, rng)
    cosmic = _cosmic_rays(scene.shape, rng)
    electrons += cosmic
    bled = bleed(electrons)
    electrons += rng.normal(0.0, READ_NOISE, scene.shape)
    electrons[:, columns] *= 0.6
    data = (electrons / GAIN).astype(np.float32)
    saturated = bled | (data >= SATURATION_ADU)
    bad = saturated | (cosmic > 0)
    bad[:, columns] = True
    return Frame(data=data, bad=bad, saturated=saturated)


def bleed(electrons: Float64) -> Bool:
    """Spill what exceeds the full well along its column, half each way, in place.

    Returns
    -------
    NDArray[bool], shape (ny, nx)
        Pixels that overflowed or were spilt into. Charge is kept but for what leaves the frame.
    """
    full = np.flatnonzero((electrons > FULL_WELL).any(axis=0))
    touched = np.zeros(electrons.shape, dtype=bool)
    if len(full) == 0:
        return touched
    columns = electrons[:, full]
    hit = columns > FULL_WELL
    excess = np.maximum(columns - FULL_WELL, 0.0)
    columns = np.minimum(columns, FULL_WELL)
    ny = len(columns)
    for order in (range(ny), range(ny - 1, -1, -1)):
        carry = np.zeros(len(full))
        for y in order:
            carry = carry + excess[y] / 2.0
            taken = np.minimum(FULL_WELL - columns[y], carry)
            columns[y] += taken
            carry = carry - taken
            hit[y] |= taken > 0
    electrons[:, full] = columns
    touched[:, full] = hit
    return touched


def _bad_columns(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
    n = max(1, rng.poisson(_COLUMNS_PER_THOUSAND * shape[1] / 1000.0))
    return np.asarray(rng.choice(shape[1], size=n, replace=False), dtype=np.int64)


def _cosmic_rays(shape: tuple[int, ...], rng: np.random.Generator) -> Float64:
    """Straight tracks of charge."""
    ny, nx = shape
    charge = np.zeros(shape)
    for _ in range(rng.poisson(_COSMIC_RAYS_PER_MPIX * ny * nx / 1e6)):
        x, y, angle = rng.uniform(0, nx), rng.uniform(0, ny), rng.uniform(0, np.pi)
        step = np.arange(0.0, rng.uniform(1.0, 9.0), 0.5)
        column = np.floor(x + step * np.cos(angle)).astype(int)
        row = np.floor(y + step * np.sin(angle)).astype(int)
        inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
        charge[row[inside], column[inside]] = 10.0 ** rng.uniform(2.7, 4.0)
    return charge
