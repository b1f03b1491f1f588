"""The best difference that a pair allows: the S/N of a new source, and the noise left everywhere.

With science S = P_s T + F P_s + n_s and reference R = P_r T + n_r, T the unknown static sky and
the noises white with variances s^2 and r^2, the least-variance unbiased estimate of F has

    1 / sigma^2 = sum_k |P_s|^2 |P_r|^2 / (s^2 |P_r|^2 + r^2 |P_s|^2) / n_k,

k the frequencies of the science grid. That is the matched filter of the proper difference
(Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27, eqs. 13 to 17), written out here anew. The S/N of a
transient is F over the standard error of that estimate with every noise in it: sky, read noise
and host of both frames, and the source's own photons, sigma^2 + F sum_x w(x)^2 P_s(x), w being
the filter's weights in the science frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine.light import MoffatField
from benchmarks.engine.sky import Geometry

Float64 = NDArray[np.float64]

_SIDE = 64
_HALF_VARIANCE = 9


@dataclass(frozen=True)
class Filters:
    """What the best estimate of a flux does to the two frames.

    Attributes
    ----------
    sigma : float
        Standard error of the flux of a source too faint to add noise of its own.
    science : NDArray[float64], shape (64, 64)
        Weights of the science pixels, source at [32, 32].
    profile : NDArray[float64], shape (64, 64)
        Unit-flux profile in the science frame.
    """

    sigma: float
    science: Float64
    profile: Float64

    @property
    def photon_weight(self) -> float:
        """Variance that each electron of the source adds."""
        return float(np.sum(self.science**2 * self.profile))

    def sigma_with(self, flux: float) -> float:
        """Standard error [electrons] with the source's own photons."""
        return float(np.sqrt(self.sigma**2 + flux * self.photon_weight))

    def flux_for(self, snr: float) -> float:
        """Electrons that give an S/N: the root of F^2 = snr^2 (sigma^2 + F photon_weight)."""
        half = snr**2 * self.photon_weight / 2.0
        return float(half + np.sqrt(half**2 + (snr * self.sigma) ** 2))


def best_filters(
    science: Float64, reference: Float64, *, science_variance: float, reference_variance: float
) -> Filters:
    """Filters of the best flux estimate for a source in the science frame alone.

    Parameters
    ----------
    science, reference : NDArray[float64], shape (n, n)
        Unit-flux profiles on the science grid, centred on [n // 2, n // 2].
    science_variance, reference_variance : float
        Variance per science pixel, both in squared science units.
    """
    ps, pr = (np.fft.fft2(np.fft.ifftshift(p)) for p in (science, reference))
    noise = science_variance * np.abs(pr) ** 2 + reference_variance * np.abs(ps) ** 2
    information = float(np.mean(np.abs(ps) ** 2 * np.abs(pr) ** 2 / noise))
    weight = np.conj(ps) * np.abs(pr) ** 2 / noise / information
    # the filter correlates with the image, so its conjugate spectrum is what lies on the pixels
    pixels = np.fft.fftshift(np.fft.ifft2(np.conj(weight)).real)
    return Filters(sigma=information**-0.5, science=pixels, profile=science)


def science_profile(psf: MoffatField, x: float, y: float) -> Float64:
    """The science PSF around a position, source on a pixel's centre."""
    dy, dx = _offsets()
    return psf.density(x, y, dx, dy)


def reference_profile(psf: MoffatField, geometry: Geometry, x: float, y: float) -> Float64:
    """The reference PSF on science pixels around a science position."""
    dy, dx = _offsets()
    jacobian = geometry.jacobian
    px = jacobian[0, 0] * dx + jacobian[0, 1] * dy
    py = jacobian[1, 0] * dx + jacobian[1, 1] * dy
    column, row = geometry.on_reference(np.array([x]), np.array([y]))
    density = psf.density(float(column[0]), float(row[0]), px, py)
    return np.asarray(density * abs(np.linalg.det(jacobian)))


def _offsets() -> tuple[Float64, Float64]:
    offset = np.arange(_SIDE) - _SIDE // 2
    dy, dx = np.meshgrid(offset, offset, indexing="ij")
    return dy.astype(np.float64), dx.astype(np.float64)


def local_variance(variance: Float64, psf: MoffatField, *, x: Float64, y: Float64) -> Float64:
    """Mean variance under each source, pixels weighted as a matched filter weights them.

    Parameters
    ----------
    variance : NDArray[float64], shape (ny, nx)
        Per pixel of the PSF's frame.
    psf : MoffatField
        Its square gives the weights.
    x, y : NDArray[float64], shape (n,)
        Positions in it; those outside take the nearest pixels.
    """
    ny, nx = variance.shape
    stamps = psf.stamps(x, y, _HALF_VARIANCE).astype(np.float64) ** 2
    offset = np.arange(-_HALF_VARIANCE, _HALF_VARIANCE + 1)
    row = np.clip(np.rint(y).astype(int)[:, None] + offset, 0, ny - 1)
    column = np.clip(np.rint(x).astype(int)[:, None] + offset, 0, nx - 1)
    pixels = variance[row[:, :, None], column[:, None, :]]
    return np.asarray((stamps * pixels).sum(axis=(1, 2)) / stamps.sum(axis=(1, 2)))


def difference_kernels(
    science: Float64, reference: Float64, *, science_variance: float, reference_variance: float
) -> tuple[tuple[Float64, Float64], tuple[Float64, Float64]]:
    """Squared kernels that carry the pixels' variances into a difference.

    Returns
    -------
    tuple of two pairs
        (science, reference) of the whitened difference, and of science minus the reference
        convolved to the science PSF; shape (21, 21).
    """
    ps, pr = (np.fft.fft2(np.fft.ifftshift(p)) for p in (science, reference))
    noise = science_variance * np.abs(pr) ** 2 + reference_variance * np.abs(ps) ** 2
    white = np.sqrt((science_variance + reference_variance) / noise)
    one = np.zeros_like(science)
    one[_SIDE // 2, _SIDE // 2] = 1.0
    match = _square(ps * np.conj(pr) / (np.abs(pr) ** 2 + 1e-4))
    return (_square(pr * white), _square(ps * white)), (_crop(one), match)


def _square(spectrum: NDArray[np.complexfloating]) -> Float64:
    return _crop(np.fft.fftshift(np.fft.ifft2(spectrum).real) ** 2)


def _crop(kernel: Float64) -> Float64:
    middle, half = _SIDE // 2, 10
    return np.asarray(kernel[middle - half : middle + half + 1, middle - half : middle + half + 1])
