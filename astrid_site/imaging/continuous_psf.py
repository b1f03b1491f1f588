"""A PSF field between its pixels: an analytic core, and what it leaves of the images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import least_squares

from astrid_site.imaging.moffat import Moffat
from astrid_site.imaging.psf import PsfField, position_terms

Float64 = NDArray[np.float64]

#: Gauss-Legendre nodes per axis over a pixel, exact to a thousandth for cores of a pixel's width.
_NODES = 3
#: Radius beyond which the light of a star is smooth enough to interpolate [FWHM], and in pixels.
_REACH_FWHM = 5.0
_LEAST_REACH = 6
#: Where the window that ends the profile begins, as a share of that.
_WINDOW_FROM = 0.7


@dataclass(frozen=True)
class ContinuousPsf:
    """Light in a pixel at any offset from a star of unit flux.

    Attributes
    ----------
    core : Moffat
        Before integration over pixels.
    rest : NDArray[float64], shape (n_terms, size, size)
        Spline coefficients of what the core leaves of each polynomial term's image.
    sums : NDArray[float64], shape (n_terms,)
        Sum of each term's image.
    reach : int
        Pixels from the middle at which a star drawn with it ends.
    order, shape
        Of the field, which see.
    """

    core: Moffat
    rest: Float64
    sums: Float64
    reach: int
    order: int
    shape: tuple[int, int]

    def at(self, x: Float64, y: Float64, *, dx: Float64, dy: Float64) -> Float64:
        """Values for stars at (x, y), shape (n,), in pixels at offsets (dx, dy), shape (n, ...)."""
        terms = position_terms(x, y, shape=self.shape, order=self.order)
        value = integrated(self.core, dx, dy)
        places = np.stack([dy.ravel(), dx.ravel()]) + self.rest.shape[-1] // 2
        column = (len(x),) + (1,) * (dx.ndim - 1)
        for image, factor in zip(self.rest, terms.T, strict=True):
            part = ndimage.map_coordinates(image, places, order=3, prefilter=False, mode="constant")
            value += factor.reshape(column) * part.reshape(dx.shape)
        value /= (terms @ self.sums).reshape(column)
        return value

    def window(self, dx: Float64, dy: Float64) -> Float64:
        """One near a star and smoothly zero at ``reach`` pixels from it: what ends its profile."""
        share = np.hypot(dx, dy) / self.reach
        fall = np.clip((share - _WINDOW_FROM) / (1.0 - _WINDOW_FROM), 0.0, 1.0)
        return np.asarray(0.5 + 0.5 * np.cos(np.pi * fall))


def integrated(core: Moffat, dx: Float64, dy: Float64) -> Float64:
    """A Moffat's light in pixels whose centres are at offsets from it."""
    place, weight = np.polynomial.legendre.leggauss(_NODES)
    total = np.zeros(dx.shape)
    for u, along_x in zip(place / 2.0, weight / 2.0, strict=True):
        for v, along_y in zip(place / 2.0, weight / 2.0, strict=True):
            total += along_x * along_y * core.image(dx + u, dy + v)
    return total


def continuous_psf(psf: PsfField) -> ContinuousPsf:
    """The function whose samples a PSF field's images are.

    Parameters
    ----------
    psf : PsfField
        Images centred on their middle pixel.

    Notes
    -----
    Samples one pixel apart do not tell what an undersampled PSF is between them; that it looks
    like a Moffat seen through a pixel does, to within the small rest, which a spline follows.
    """
    images = psf.coefficients.astype(np.float64)
    core, scale = _fit_core(images[0] / images[0].sum())
    images = images / (images[0].sum() * scale)
    offset = np.arange(psf.size) - psf.size // 2
    dx, dy = np.meshgrid(offset.astype(float), offset.astype(float))
    sums = images.sum(axis=(1, 2))
    rest = images.copy()
    rest[0] -= integrated(core, dx, dy)
    filtered = np.stack([ndimage.spline_filter(image, order=3) for image in rest])
    reach = min(psf.size // 2, max(_LEAST_REACH, math.ceil(_REACH_FWHM * psf.fwhm_pix)))
    return ContinuousPsf(core, filtered, sums, reach, psf.order, psf.shape)


def _fit_core(image: Float64) -> tuple[Moffat, float]:
    """Pixel-integrated Moffat that fits a PSF image of unit sum best, and its share of the light.

    The images end before the wings do.
    """
    half = image.shape[0] // 2
    offset = np.arange(-half, half + 1, dtype=np.float64)
    dx, dy = np.meshgrid(offset, offset)
    weight = 1.0 / (0.02 * image.max() + np.abs(image))

    def parts(parameters: Float64) -> tuple[Moffat, Float64, float]:
        width, excess, e1, e2 = parameters
        core = Moffat(float(np.exp(width)), 1.0 + float(np.exp(excess)), float(e1), float(e2))
        model = integrated(core, dx, dy)
        scale = float(((weight * model) * (weight * image)).sum() / ((weight * model) ** 2).sum())
        return core, model, scale

    def residuals(parameters: Float64) -> Float64:
        _, model, scale = parts(parameters)
        return np.asarray((weight * (image - scale * model)).ravel())

    found = least_squares(
        residuals,
        np.array([0.0, np.log(2.0), 0.0, 0.0]),
        bounds=([np.log(0.15), np.log(0.5), -0.7, -0.7], [np.log(30.0), np.log(30.0), 0.7, 0.7]),
    )
    core, _, scale = parts(found.x)
    return core, scale
