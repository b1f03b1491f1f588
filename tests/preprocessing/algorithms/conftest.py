"""Star fields with known truth, small enough for unit tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from astrid_site.imaging.image import Image
from astrid_site.imaging.moffat import Moffat, moffat_of_fwhm
from astrid_site.imaging.simulation import PairConfig, SimulatedPair, simulate_pair

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Field:
    """A simulated frame with its noiseless light and its stars."""

    image: Image
    light: Float64
    x: Float64
    y: Float64
    flux: Float64
    sky_sigma: float


def _stamp(frame: Float64, profile: Moffat, *, x: float, y: float, flux: float) -> None:
    half = 40
    axis = np.arange(-half, half + 1)
    columns, rows = np.meshgrid(round(x) + axis, round(y) + axis)
    ny, nx = frame.shape
    inside = (columns >= 0) & (columns < nx) & (rows >= 0) & (rows < ny)
    values = flux * profile.image(columns - x, rows - y)
    frame[rows[inside], columns[inside]] += values[inside]


def _make(
    *,
    seed: int = 1,
    shape: tuple[int, int] = (384, 384),
    x: Float64 | None = None,
    y: Float64 | None = None,
    flux: Float64 | None = None,
    n_stars: int = 90,
    n_galaxies: int = 0,
    fwhm: float = 3.0,
    flux_range: tuple[float, float] = (300.0, 1e5),
    sky: float = 200.0,
    gain: float = 2.0,
    read_noise: float = 5.0,
    ellipticity: float = 0.0,
) -> Field:
    rng = np.random.default_rng(seed)
    ny, nx = shape
    if x is None or y is None or flux is None:
        x, y = rng.uniform(4, nx - 5, n_stars), rng.uniform(4, ny - 5, n_stars)
        low, high = flux_range
        flux = low * (high / low) ** (rng.uniform(0, 1, n_stars) ** 2)
    light = np.zeros(shape)
    width = moffat_of_fwhm(fwhm).width
    for i in range(len(x)):
        star = Moffat(width, 3.0, ellipticity, 0.0)
        _stamp(light, star, x=x[i], y=y[i], flux=flux[i])
    for _ in range(n_galaxies):
        galaxy = Moffat(fwhm * rng.uniform(1.2, 2.0), 2.2, rng.uniform(-0.4, 0.4), 0.0)
        place = rng.uniform(10, nx - 10), rng.uniform(10, ny - 10)
        _stamp(light, galaxy, x=place[0], y=place[1], flux=10 ** rng.uniform(3.5, 4.8))
    electrons = rng.poisson((light + sky) * gain) + rng.normal(0, read_noise, shape)
    image = Image(
        data=(electrons / gain).astype(np.float32),
        mask=np.zeros(shape, dtype=np.uint16),
        gain=gain,
        read_noise=read_noise,
        saturation=60_000.0,
    )
    return Field(image, light, x, y, flux, float(np.sqrt(sky / gain + (read_noise / gain) ** 2)))


@pytest.fixture(scope="session")
def make_field() -> Callable[..., Field]:
    """Factory of star fields."""
    return _make


@pytest.fixture(scope="session")
def pair() -> SimulatedPair:
    """One field exposed twice: rotated, shifted and with erring world coordinates."""
    return simulate_pair(PairConfig(rotation_deg=0.4, wcs_error_pix=3.0, psf_variation=0.08))


@pytest.fixture(scope="session")
def raw_science(pair: SimulatedPair) -> Image:
    """The science frame as a reader gives it: without the simulator's mask."""
    return pair.science.with_(mask=np.zeros_like(pair.science.mask))


@pytest.fixture(scope="session")
def raw_reference(pair: SimulatedPair) -> Image:
    """The reference frame as a reader gives it: without the simulator's mask."""
    return pair.reference.with_(mask=np.zeros_like(pair.reference.mask))
