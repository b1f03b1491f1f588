"""The best S/N that simulated pixels allow, in one exposure and in a difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astrid_site.imaging.sky_detector import Camera
from astrid_site.imaging.sky_psf import Float32, Float64, MoffatField

_HALF_PIX = 24


@dataclass(frozen=True)
class Seen:
    """Sources as one exposure sees them.

    Attributes
    ----------
    profile : NDArray[float64], shape (n, size, size)
        Unit-flux profiles centred on their middle pixel.
    variance : NDArray[float64], shape (n,)
        Effective variance of the pixels under each [squared units of this exposure].
    response : float
        Flux here of a source of science flux 1.
    """

    profile: Float64
    variance: Float64
    response: float


def seen_at(
    psf: MoffatField, *, x: Float64, y: Float64, variance: Float64, response: float
) -> Seen:
    """Sources at positions, with the variance averaged as a matched filter weighs it.

    Parameters
    ----------
    psf : MoffatField
        PSF of the exposure.
    x, y : NDArray[float64], shape (n,)
        Positions in it, 0-based pixel centres.
    variance : NDArray[float64], shape (n, size, size)
        Variance of the pixels around each, as ``local_pixels`` cuts them.
    response : float
        Flux in the exposure of a source of science flux 1.
    """
    profile = psf.cutouts(np.rint(x), np.rint(y), half=_HALF_PIX).astype(np.float64)
    weight = profile**2
    effective = weight.sum(axis=(1, 2)) / (weight / variance).sum(axis=(1, 2))
    return Seen(profile, np.asarray(effective, dtype=np.float64), response)


def difference_snr(flux: Float64, science: Seen, references: Sequence[Seen]) -> Float64:
    """S/N of a flux change in the best difference of one exposure and some references.

    Parameters
    ----------
    flux : NDArray[float64], shape (n,)
        Flux changes, in science units.
    science : Seen
        The exposure in which the flux has changed.
    references : sequence of Seen
        Exposures before the change.

    Notes
    -----
    S^2 = f^2 <A B / (A + B)> over all wave numbers, with A = |P_n|^2 / V_n of the science
    exposure and B = sum F_j^2 |P_j|^2 / V_j of the references, noise taken as white under the
    source. Without reference noise (B infinite) this is the matched filter of one exposure.

    References
    ----------
    .. [1] Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27, eqs. 12-17 (one reference); Zackay & Ofek
       2017, ApJ 836, 188 (the references' information adds up).
    """
    ours = _information(science)
    theirs = np.sum([_information(reference) for reference in references], axis=0)
    return np.asarray(np.abs(flux) * np.sqrt((ours * theirs / (ours + theirs)).mean(axis=(1, 2))))


def _information(seen: Seen) -> Float64:
    power = np.abs(np.fft.fft2(seen.profile)) ** 2
    # far beyond the PSF's reach the power underflows; a floor keeps 0 / 0 away
    power = np.maximum(power, 1e-12) * seen.response**2
    return np.asarray(power / seen.variance[:, None, None], dtype=np.float64)


def flux_for_snr(
    snr: Float64, *, x: Float64, y: Float64, psf: MoffatField, scene: Float64, camera: Camera
) -> Float64:
    """Fluxes [adu] that a matched filter measures at the wanted S/N over ``scene``.

    Solves S^2 = f^2 sum p^2 / (V + f p / g) for f by bisection, V being the variance without
    the source.
    """
    profile = psf.cutouts(x, y, half=_HALF_PIX).astype(np.float64)
    variance = camera.variance_of(local_pixels(scene, x=x, y=y))
    low, high = np.zeros(len(x)), np.full(len(x), 1e8)
    for _ in range(80):
        flux = (low + high) / 2
        total = variance + np.maximum(flux[:, None, None] * profile, 0.0) / camera.gain
        got = flux * np.sqrt((profile**2 / total).sum(axis=(1, 2)))
        low, high = np.where(got < snr, flux, low), np.where(got < snr, high, flux)
    return np.asarray((low + high) / 2, dtype=np.float64)


def local_pixels(pixels: Float64 | Float32, *, x: Float64, y: Float64) -> Float64:
    """Cut a map around positions, shape (n, size, size); the border pixel continues outside."""
    steps = np.arange(-_HALF_PIX, _HALF_PIX + 1)
    ny, nx = pixels.shape
    rows = np.clip(np.rint(y).astype(int)[:, None, None] + steps[None, :, None], 0, ny - 1)
    columns = np.clip(np.rint(x).astype(int)[:, None, None] + steps[None, None, :], 0, nx - 1)
    return np.asarray(pixels[rows, columns], dtype=np.float64)
