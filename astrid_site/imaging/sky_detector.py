"""What a camera does to a simulated sky: photon noise, cosmic rays, bleeding, bad columns, ADC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.masks import BoolArray, MaskArray, MaskPlane
from astrid_site.imaging.sky_psf import Float32, Float64

_ADC_TOP = 65535
# in units of the pixel's own noise: a fainter hit harms nothing and is not called one
_COSMIC_RAY_SIGMA = 1.0


@dataclass(frozen=True)
class Camera:
    """A CCD.

    Attributes
    ----------
    gain : float
        Electrons per adu.
    read_noise : float
        Read noise [electrons].
    full_well : float
        Electrons at which a pixel spills along its column.
    cosmic_rays_per_mpix_100s : float
        Hits per million pixels in 100 s.
    bad_columns_per_mpix : float
        Bad columns per million pixels; most of them reach only part of the way.
    """

    gain: float = 1.7
    read_noise: float = 6.0
    full_well: float = 100_000.0
    cosmic_rays_per_mpix_100s: float = 15.0
    bad_columns_per_mpix: float = 3.0

    @property
    def saturation(self) -> float:
        """Level from which a pixel counts as saturated [adu]."""
        return 0.97 * self.full_well / self.gain

    def variance_of(self, scene: Float64) -> Float64:
        """True variance [adu^2] of expected counts [adu]: photons, read noise and rounding."""
        return np.asarray(scene / self.gain + (self.read_noise / self.gain) ** 2 + 1.0 / 12.0)


@dataclass(frozen=True)
class Exposure:
    """What the camera reads out, with what nobody but the simulator knows.

    Attributes
    ----------
    data : NDArray[float32], shape (ny, nx)
        Whole adu, as an ADC gives them; 0 in bad columns.
    mask : NDArray[uint16]
        True SATURATED, BLEED, COSMIC_RAY, BAD_PIXEL and NO_DATA pixels.
    variance : NDArray[float32]
        True variance of the unharmed pixels [adu^2]: photons, read noise and rounding.
    """

    data: Float32
    mask: MaskArray
    variance: Float32


def expose(
    scene: Float64,
    camera: Camera,
    *,
    exposure_s: float,
    bad_columns: BoolArray,
    rng: np.random.Generator,
) -> Exposure:
    """Expose a noise-free scene.

    Parameters
    ----------
    scene : NDArray[float64], shape (ny, nx)
        Expected sky plus sources [adu]; not negative.
    camera : Camera
        The detector.
    exposure_s : float
        Exposure time [s]; more of it, more cosmic rays.
    bad_columns : NDArray[bool]
        Pixels that give no signal.
    rng : numpy.random.Generator
        Source of all noise.
    """
    variance = camera.variance_of(scene)
    electrons = rng.poisson(scene * camera.gain).astype(np.float64)
    charge = _cosmic_ray_charge(scene.shape, camera, exposure_s=exposure_s, rng=rng)
    electrons += charge
    spilled = bleed(electrons, camera.full_well)
    read = electrons + rng.normal(0.0, camera.read_noise, scene.shape)
    data = np.clip(np.rint(read / camera.gain), 1, _ADC_TOP)
    mask = np.zeros(scene.shape, dtype=np.uint16)
    harmed = charge > _COSMIC_RAY_SIGMA * camera.gain * np.sqrt(variance)
    mask[harmed] |= np.uint16(MaskPlane.COSMIC_RAY)
    mask[data >= camera.saturation] |= np.uint16(MaskPlane.SATURATED)
    mask[spilled] |= np.uint16(MaskPlane.BLEED)
    mask[bad_columns] |= np.uint16(MaskPlane.BAD_PIXEL | MaskPlane.NO_DATA)
    data[bad_columns] = 0.0
    return Exposure(data.astype(np.float32), mask, variance.astype(np.float32))


def draw_bad_columns(
    rng: np.random.Generator, camera: Camera, *, shape: tuple[int, int]
) -> BoolArray:
    """Columns that give no signal, from a random row to the end away from the read-out."""
    ny, nx = shape
    bad = np.zeros(shape, dtype=bool)
    for _ in range(rng.poisson(camera.bad_columns_per_mpix * ny * nx / 1e6)):
        column, first = int(rng.integers(nx)), int(max(rng.uniform(-0.5, 0.9), 0.0) * ny)
        bad[first:, column] = True
    return bad


def bleed(electrons: Float64, full_well: float) -> BoolArray:
    """Spill charge above ``full_well`` along the columns, in place, half of it each way.

    Returns
    -------
    NDArray[bool], shape (ny, nx)
        Pixels that received spilled charge. Charge that reaches the end of a column is lost.
    """
    spilled = np.zeros(electrons.shape, dtype=bool)
    for column in np.flatnonzero((electrons > full_well).any(axis=0)):
        values, marks = electrons[:, column], spilled[:, column]
        over = np.flatnonzero(values > full_well)
        for run in np.split(over, np.flatnonzero(np.diff(over) > 1) + 1):
            excess = float((values[run] - full_well).sum())
            values[run] = full_well
            _fill(values[run[-1] + 1 :], marks[run[-1] + 1 :], charge=excess / 2, level=full_well)
            _fill(values[: run[0]][::-1], marks[: run[0]][::-1], charge=excess / 2, level=full_well)
    return spilled


def _fill(values: Float64, marks: BoolArray, *, charge: float, level: float) -> None:
    """Fill pixels up to ``level`` in order until the charge is used up (views, in place)."""
    room = np.maximum(level - values, 0.0)
    before = np.cumsum(room) - room
    taken = np.clip(charge - before, 0.0, room)
    values += taken
    marks |= taken > 0


def _cosmic_ray_charge(
    shape: tuple[int, int], camera: Camera, *, exposure_s: float, rng: np.random.Generator
) -> Float64:
    """Electrons left by cosmic rays: straight tracks, sharper than any PSF."""
    ny, nx = shape
    charge = np.zeros(shape)
    expected = camera.cosmic_rays_per_mpix_100s * (ny * nx / 1e6) * (exposure_s / 100.0)
    n = int(rng.poisson(expected))
    length = np.minimum(rng.exponential(5.0, n), 80.0) + 0.5
    angle, x, y = rng.uniform(0, np.pi, n), rng.uniform(0, nx, n), rng.uniform(0, ny, n)
    # minimum-ionising particles leave some 80 electrons per micron of depth; slant adds the rest
    per_pixel = 900.0 * rng.lognormal(0.0, 0.6, n)
    for i in range(n):
        steps = np.arange(0.0, length[i], 0.1)
        # charge diffuses by a fraction of a pixel on its way to the gates
        blur: NDArray[np.float64] = rng.normal(0.0, 0.25, (2, steps.size))
        column = np.rint(x[i] + steps * np.cos(angle[i]) + blur[0]).astype(int)
        row = np.rint(y[i] + steps * np.sin(angle[i]) + blur[1]).astype(int)
        inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
        np.add.at(charge, (row[inside], column[inside]), 0.1 * per_pixel[i])
    return charge
