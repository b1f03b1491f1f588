"""A difference image with known noise, PSF and sources, for the tests of detection."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.signal import fftconvolve

from astrid_site.imaging.image import Image
from astrid_site.imaging.psf import PsfField, constant_psf


def moffat(dx: float = 0.0, dy: float = 0.0, *, fwhm: float = 3.0, size: int = 31) -> np.ndarray:
    """Pixel-integrated Moffat (beta 3) of unit sum, offset from the middle pixel."""
    alpha = fwhm / (2 * math.sqrt(2 ** (1 / 3.0) - 1))
    fine = (np.arange(size * 5) + 0.5) / 5 - 0.5 - size // 2
    profile = (1 + ((fine[None, :] - dx) ** 2 + (fine[:, None] - dy) ** 2) / alpha**2) ** -3.0
    image = profile.reshape(size, 5, size, 5).sum(axis=(1, 3))
    return (image / image.sum()).astype(np.float32)


@dataclass(frozen=True)
class Sky:
    """What a subtraction hands to detection; white noise of known sigma."""

    difference: np.ndarray
    variance: np.ndarray
    score: np.ndarray
    mask: np.ndarray
    psf: PsfField


@dataclass(frozen=True)
class Stars:
    """A star list."""

    x: np.ndarray = field(default_factory=lambda: np.zeros(0))
    y: np.ndarray = field(default_factory=lambda: np.zeros(0))
    flux: np.ndarray = field(default_factory=lambda: np.zeros(0))
    flux_error: np.ndarray = field(default_factory=lambda: np.zeros(0))


def add(data: np.ndarray, x: float, y: float, image: np.ndarray) -> None:
    """Add a centred image to data at a position given to the nearest pixel."""
    half = image.shape[0] // 2
    ix, iy = round(x), round(y)
    data[iy - half : iy + half + 1, ix - half : ix + half + 1] += image


def make_sky(
    sources: list[tuple[float, float, float]],
    *,
    shape: tuple[int, int] = (200, 240),
    seed: int = 1,
    sigma: float = 10.0,
    fwhm: float = 3.0,
    extra: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> Sky:
    """Difference of point sources (x, y, S/N) in white noise, with its matched-filter score."""
    rng = np.random.default_rng(seed)
    psf = moffat(fwhm=fwhm)
    norm = math.sqrt(float((psf**2).sum()))
    data = np.zeros(shape)
    for x, y, snr in sources:
        image = moffat(x - round(x), y - round(y), fwhm=fwhm)
        add(data, x, y, image * snr * sigma / norm)
    if extra is not None:
        data += extra
    data = (data + rng.normal(0, sigma, shape)).astype(np.float32)
    mask = np.zeros(shape, np.uint16) if mask is None else mask
    data[mask > 0] = 0
    score = fftconvolve(data, psf[::-1, ::-1], mode="same") / (sigma * norm)
    score[mask > 0] = 0
    return Sky(
        difference=data,
        variance=np.full(shape, sigma**2, np.float32),
        score=score.astype(np.float32),
        mask=mask,
        psf=constant_psf(psf, shape=shape),
    )


def make_images(sky: Sky, *, template: float = 0.0) -> tuple[Image, Image]:
    """Template and science image whose difference is the sky's."""
    empty = Image(
        data=np.full(sky.difference.shape, template, np.float32),
        mask=sky.mask,
        variance=sky.variance,
        psf=sky.psf,
    )
    return empty, replace(empty, data=empty.data + sky.difference)
