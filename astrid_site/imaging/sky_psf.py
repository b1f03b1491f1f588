"""Moffat PSFs that vary over a simulated frame: exact pixels for stars, transforms for galaxies.

Part of the simulator only. It shares no code with the PSF fitting, so that truth made here can
judge that code; ``PsfField`` is used to hand the truth over, never to draw.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gamma, kv

from astrid_site.imaging.psf import PsfField, measure_fwhm, position_terms

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]

# 3-point Gauss-Legendre rule on one pixel: exact to 5th degree per axis
_NODES = (-float(np.sqrt(0.15)), 0.0, float(np.sqrt(0.15)))
_WEIGHTS = (5.0 / 18.0, 8.0 / 18.0, 5.0 / 18.0)
_CHUNK_PIXELS = 100_000
_FIELD_ORDER = 2
_TRUTH_ORDER = 3


@dataclass(frozen=True)
class MoffatField:
    """An elliptical Moffat profile whose width and ellipticity are polynomials of position.

    Attributes
    ----------
    shape : tuple of int
        (ny, nx) of the frame.
    beta : float
        Moffat exponent, above 1.
    fwhm_terms, e1_terms, e2_terms : tuple of float, length 6
        Quadratic polynomials of position (terms as in ``position_terms``): geometric-mean
        FWHM [pix], and the two ellipticity components, (a^2 - b^2) / (a^2 + b^2) in size.
    """

    shape: tuple[int, int]
    beta: float
    fwhm_terms: tuple[float, ...]
    e1_terms: tuple[float, ...]
    e2_terms: tuple[float, ...]

    @property
    def fwhm_pix(self) -> float:
        """FWHM at the centre of the frame [pix], before the pixel's own width."""
        ny, nx = self.shape
        alpha = self._parameters(np.array([(nx - 1) / 2]), np.array([(ny - 1) / 2]))[0][0]
        return float(alpha) * self._width_per_alpha

    @property
    def _width_per_alpha(self) -> float:
        return 2.0 * float(np.sqrt(2.0 ** (1.0 / self.beta) - 1.0))

    def _parameters(self, x: Float64, y: Float64) -> tuple[Float64, Float64, Float64]:
        terms = position_terms(x, y, shape=self.shape, order=_FIELD_ORDER)
        alpha = terms @ np.array(self.fwhm_terms) / self._width_per_alpha
        return alpha, terms @ np.array(self.e1_terms), terms @ np.array(self.e2_terms)

    def shape_matrices(self, x: Float64, y: Float64) -> Float64:
        """Matrices S, shape (n, 2, 2) [pix^2]: the profile is (1 + d^T S^-1 d)^-beta."""
        alpha, e1, e2 = self._parameters(x, y)
        area = np.sqrt(1.0 - e1**2 - e2**2)
        rows = np.stack([np.stack([1 + e1, e2], -1), np.stack([e2, 1 - e1], -1)], -2)
        return np.asarray(rows * (alpha**2 / area)[:, None, None], dtype=np.float64)

    def half_width(self, flux: Float64, *, level: float) -> NDArray[np.int64]:
        """Half width of the cutout beyond which a star of ``flux`` stays under ``level``.

        Never less than 5 FWHM, where 0.1 % of the flux is left out at beta = 3.
        """
        alpha = self.fwhm_pix / self._width_per_alpha
        peak = np.maximum(flux, 0.0) * (self.beta - 1.0) / (np.pi * alpha**2)
        radius = alpha * np.maximum(peak / level, 1.0) ** (0.5 / self.beta)
        wanted = np.maximum(radius, 5.0 * self.fwhm_pix)
        # few distinct sizes, so that equal cutouts are drawn together
        return np.asarray(np.ceil(wanted / 6.0) * 6, dtype=np.int64)

    def cutouts(self, x: Float64, y: Float64, *, half: int) -> Float32:
        """Pixel-integrated unit-flux profiles around ``rint(x), rint(y)``.

        Parameters
        ----------
        x, y : NDArray[float64], shape (n,)
            Positions, 0-based pixel centres.
        half : int
            Half width of the cutouts [pix].

        Returns
        -------
        NDArray[float32], shape (n, 2 half + 1, 2 half + 1)
            Fraction of the total flux in each pixel; the far wings are outside, so the sum
            is slightly below 1.

        Notes
        -----
        Each pixel is integrated by a 3 x 3 Gauss-Legendre rule of the Moffat (1969) profile.
        """
        alpha, _, _ = self._parameters(x, y)
        inverse = np.linalg.inv(self.shape_matrices(x, y))
        norm = (self.beta - 1.0) / (np.pi * alpha**2)
        steps = np.arange(-half, half + 1)
        dx = (steps[None, :] - (x - np.rint(x))[:, None]).astype(np.float32)
        dy = (steps[None, :] - (y - np.rint(y))[:, None]).astype(np.float32)
        a, b, c = (inverse[:, i, j].astype(np.float32)[:, None, None] for i, j in _UPPER)
        total = np.zeros((len(x), steps.size, steps.size), dtype=np.float32)
        for node_y, weight_y in zip(_NODES, _WEIGHTS, strict=True):
            v = (dy + np.float32(node_y))[:, :, None]
            for node_x, weight_x in zip(_NODES, _WEIGHTS, strict=True):
                u = (dx + np.float32(node_x))[:, None, :]
                radius2 = a * u**2 + c * v**2 + (2 * b * v) * u
                total += np.float32(weight_x * weight_y) * np.exp(
                    np.float32(-self.beta) * np.log1p(radius2)
                )
        return total * norm.astype(np.float32)[:, None, None]

    def transform(self, x: Float64, y: Float64, *, kx: Float64, ky: Float64) -> Float64:
        """Fourier transforms of the profiles at wave numbers [rad / pix], shape (n, ky, kx)."""
        return radial_lookup(_moffat_transform(self.beta), self.shape_matrices(x, y), kx=kx, ky=ky)

    def to_psf_field(self, *, size: int = 41) -> PsfField:
        """The truth as a ``PsfField``: a cubic through exact profiles on a 7 x 7 grid."""
        ny, nx = self.shape
        gy, gx = np.meshgrid(np.rint(np.linspace(0, ny - 1, 7)), np.rint(np.linspace(0, nx - 1, 7)))
        x, y = gx.ravel().astype(np.float64), gy.ravel().astype(np.float64)
        images = self.cutouts(x, y, half=size // 2)
        images /= images.sum(axis=(1, 2), keepdims=True)
        terms = position_terms(x, y, shape=self.shape, order=_TRUTH_ORDER)
        solution = np.linalg.lstsq(terms, images.reshape(len(x), -1), rcond=None)[0]
        coefficients = solution.reshape(-1, size, size).astype(np.float32)
        centre = self.cutouts(
            np.array([nx // 2], float), np.array([ny // 2], float), half=size // 2
        )
        return PsfField(
            coefficients=coefficients,
            order=_TRUTH_ORDER,
            shape=self.shape,
            fwhm_pix=measure_fwhm(centre[0]),
            n_stars=0,
        )


_UPPER = ((0, 0), (0, 1), (1, 1))


def draw_moffat_field(
    rng: np.random.Generator,
    *,
    shape: tuple[int, int],
    fwhm_pix: float,
    beta: float,
    variation: float = 0.04,
    ellipticity: float = 0.03,
) -> MoffatField:
    """A PSF as a telescope makes it: wider to the corners, a mean and a varying elongation.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the field's shape.
    shape : tuple of int
        (ny, nx) of the frame.
    fwhm_pix : float
        FWHM at the frame centre [pix].
    beta : float
        Moffat exponent.
    variation : float
        Fractional FWHM change from the centre to a corner, about.
    ellipticity : float
        Typical size of the ellipticity, and half of that of its change over the frame.
    """
    slope = rng.normal(0.0, variation / 3, 2)
    curve = np.abs(rng.normal(variation / 2, variation / 6, 2))
    fwhm = fwhm_pix * np.array([1.0, *slope, curve[0], rng.normal(0, variation / 6), curve[1]])
    e1, e2 = (
        np.concatenate([[rng.normal(0, ellipticity)], rng.normal(0, ellipticity / 2, 2), [0, 0, 0]])
        for _ in range(2)
    )
    return MoffatField(
        shape=shape,
        beta=beta,
        fwhm_terms=tuple(fwhm.tolist()),
        e1_terms=tuple(e1.tolist()),
        e2_terms=tuple(e2.tolist()),
    )


def chunks(n: int, *, half: int) -> Iterator[slice]:
    """Slices of ``n`` sources whose cutouts together fit the processor's cache."""
    step = max(1, _CHUNK_PIXELS // (2 * half + 1) ** 2)
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def radial_lookup(
    table: tuple[Float64, Float64], matrices: Float64, *, kx: Float64, ky: Float64
) -> Float64:
    """A circular transform stretched by shape matrices: T(sqrt(k^T S k)), shape (n, ky, kx)."""
    s_xx, s_xy, s_yy = (matrices[:, i, j][:, None, None] for i, j in _UPPER)
    u, v = kx[None, None, :], ky[None, :, None]
    radius = np.sqrt(np.maximum(s_xx * u**2 + 2 * s_xy * u * v + s_yy * v**2, 0.0))
    return np.asarray(np.interp(radius, *table, right=0.0), dtype=np.float64)


@lru_cache(maxsize=64)
def _moffat_transform(beta: float) -> tuple[Float64, Float64]:
    """Transform of the unit Moffat, 2 (u/2)^nu K_nu(u) / Gamma(nu) with nu = beta - 1."""
    u = np.linspace(0.0, 40.0, 8001)
    nu = beta - 1.0
    values = np.ones_like(u)
    values[1:] = 2.0 * (u[1:] / 2.0) ** nu * kv(nu, u[1:]) / gamma(nu)
    return u, values
