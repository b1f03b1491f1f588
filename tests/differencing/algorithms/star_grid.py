"""Two images of one grid of stars whose every disagreement is known, for the tests of the score."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.signal import fftconvolve

from astrid_site.imaging.image import Image
from astrid_site.imaging.psf import constant_psf
from differencing.algorithms.subtract import Subtraction
from tests.detection.algorithms.difference_sky import add, moffat

STEP = 22
SIGMA = 10.0
FWHM = 3.0


@dataclass(frozen=True)
class GridStars:
    """A star list of clean stars."""

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    flux_error: np.ndarray
    is_star: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))


@dataclass(frozen=True)
class StarGrid:
    """Template, science and their stars, on a sky of white noise in each image."""

    template: Image
    science: Image
    stars: GridStars


def flux_of(snr: float) -> float:
    """Science flux of a star with this S/N over the noise of both skies together."""
    return snr * SIGMA * np.sqrt(2.0) / float(np.sqrt((moffat(fwhm=FWHM) ** 2).sum()))


def make_grid(
    *,
    snr: float,
    n_side: int = 12,
    shift: np.ndarray | None = None,
    change: np.ndarray | None = None,
    flux_ratio: float = 1.0,
    new: tuple[tuple[float, float, float], ...] = (),
    noise: np.ndarray | None = None,
    seed: int = 1,
) -> StarGrid:
    """Stars of one S/N; those of the science image are moved, changed and joined by new sources.

    ``shift`` (n, 2) is in pixels, ``change`` (n,) a share of the flux, ``new`` (x, y, flux);
    ``noise`` replaces the white noise of the science image.
    """
    rng = np.random.default_rng(seed)
    n, side = n_side**2, n_side * STEP + STEP
    shape = (side, side)
    shift = np.zeros((n, 2)) if shift is None else shift
    change = np.zeros(n) if change is None else change
    rows, columns = np.divmod(np.arange(n), n_side)
    x = STEP * (columns + 1.0) + rng.uniform(-0.5, 0.5, n)
    y = STEP * (rows + 1.0) + rng.uniform(-0.5, 0.5, n)
    flux = flux_of(snr)
    science, template = np.zeros(shape), np.zeros(shape)
    for i in range(n):
        _add_star(template, x[i], y[i], flux / flux_ratio)
        _add_star(science, x[i] + shift[i, 0], y[i] + shift[i, 1], flux * (1.0 + change[i]))
    for at_x, at_y, light in new:
        _add_star(science, at_x, at_y, light)
    science += rng.normal(0.0, SIGMA, shape) if noise is None else noise
    template += rng.normal(0.0, SIGMA / flux_ratio, shape)
    stars = GridStars(x, y, np.full(n, flux), np.full(n, flux / snr), np.ones(n, dtype=bool))
    return StarGrid(_image(template, SIGMA / flux_ratio), _image(science, SIGMA), stars)


def _add_star(data: np.ndarray, x: float, y: float, flux: float) -> None:
    add(data, x, y, flux * moffat(x - round(x), y - round(y), fwhm=FWHM, size=21))


def _image(data: np.ndarray, sigma: float) -> Image:
    return Image(
        data=data.astype(np.float32),
        mask=np.zeros(data.shape, np.uint16),
        variance=np.full(data.shape, sigma**2, np.float32),
        psf=constant_psf(moffat(fwhm=FWHM, size=21), shape=data.shape),
    )


def largest_at_stars(plane: np.ndarray, stars: GridStars) -> np.ndarray:
    """Largest absolute value within 4 pixels of each star."""
    boxes = zip(np.rint(stars.x).astype(int), np.rint(stars.y).astype(int), strict=True)
    return np.array([np.abs(plane[y - 4 : y + 5, x - 4 : x + 5]).max() for x, y in boxes])


def plain_score(result: Subtraction) -> np.ndarray:
    """Matched filter over the blank-sky noise alone: what a score without model errors says."""
    middle = result.difference.shape[0] / 2.0
    psf = result.psf.at(middle, middle)[0]
    signal = fftconvolve(result.difference, psf[::-1, ::-1], mode="same")
    return signal / (1.4826 * np.median(np.abs(signal - np.median(signal))))
