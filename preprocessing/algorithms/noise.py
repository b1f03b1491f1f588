"""Variance of every pixel: the measured sky, and source photon noise through the gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import BoolArray
from astrid_site.imaging.moffat import Moffat
from preprocessing.algorithms.background import Background
from preprocessing.algorithms.detector_properties import GAIN_TOLERANCE, check_gain
from preprocessing.algorithms.pixel_noise import white_noise_variance
from preprocessing.algorithms.smoothing import gaussian_smooth, smooth_strips

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]

# a sky this many sigma above zero is a real photon count and not a subtracted residual
_MIN_SKY_SIGNIFICANCE = 3.0
# beyond this no frame is as its header says, whatever was done to its sky
_DOUBTFUL = 4.0
# a sky partly taken out makes a right gain look too large by this, a bias left in it too small by
# that; nothing but a wrong header does more
_TOO_LARGE, _TOO_SMALL = 64.0, 1000.0
# below this share, errors of the background and of the PSF look like unresolved stars
_LEAST_CONFUSION = 0.05


@dataclass(frozen=True)
class GainEstimate:
    """Gain used for source photon noise.

    Attributes
    ----------
    gain : float or None
        Electrons per data unit; None where nothing tells it.
    source : str
        ``"header"``, ``"photon_transfer"`` (estimated from the sky) or ``"sky_only"`` (unknown:
        the variance then has no source term).
    doubt : str
        What the sky says against the header's gain; empty where it says nothing.
    factor : float or None
        By how many times the header's gain is off the sky's, either way; None where the sky does
        not tell.
    """

    gain: float | None
    source: str
    doubt: str = ""
    factor: float | None = None


def estimate_gain(image: Image, background: Background) -> GainEstimate:
    """Gain from the image, else from the photon noise of its own sky.

    Parameters
    ----------
    image : Image
        Frame before background subtraction.
    background : Background
        Its sky; level and noise in the same units.

    Returns
    -------
    GainEstimate

    Notes
    -----
    A sky of level S and variance v gives ``g = (S + sqrt(S^2 + 4 v R^2)) / (2 v)`` for a read
    noise R [electrons], the positive root of ``v = S / g + (R / g)^2``. An unremoved bias in S
    makes g too large, hence the recorded source. A header's gain that differs from this by more
    than a factor of 1.4 is doubted where the scatter of neighbouring pixels (``check_gain``, blind
    to stars and gradients) says so too, and by more than 4 in any case. One that is more than 64
    times larger or 1000 times smaller is not used.

    References
    ----------
    .. [1] Janesick 2001, Scientific Charge-Coupled Devices, eq. 2.11 (photon transfer).
    """
    measured = _gain_of_sky(image, background)
    if image.gain is not None and np.isfinite(image.gain) and image.gain > 0:
        stated = float(image.gain)
        if measured is None:
            return GainEstimate(stated, "header")
        found = _doubted_gain(image, stated, measured)
        off = max(stated / measured, measured / stated)
        if found is None:
            # stars and gradients widen the scatter of a whole sky: that alone says nothing
            return GainEstimate(stated, "header", factor=off if off < GAIN_TOLERANCE else None)
        off = max(off, stated / found, found / stated)
        doubt = (
            f"the header's gain of {stated:.3g} electrons per unit contradicts the sky's noise, "
            f"which says {found:.3g}"
        )
        if stated < _TOO_LARGE * measured and measured < _TOO_SMALL * stated:
            return GainEstimate(stated, "header", doubt, off)
        return GainEstimate(measured, "photon_transfer", f"{doubt}; that is used", off)
    if measured is None:
        return GainEstimate(None, "sky_only")
    return GainEstimate(measured, "photon_transfer")


def _doubted_gain(image: Image, stated: float, measured: float) -> float | None:
    """The gain that the sky's noise says, where the header's is not it; None where it may be."""
    factor = max(stated / measured, measured / stated)
    if factor < GAIN_TOLERANCE:
        return None
    check = check_gain(image, has_pedestal=True)
    if check.verdict == "suspect":
        return check.measured
    return measured if factor >= _DOUBTFUL else None


def _gain_of_sky(image: Image, background: Background) -> float | None:
    """Gain by photon transfer; None where the sky is not a photon count."""
    level, noise = background.median, background.noise
    if not level >= _MIN_SKY_SIGNIFICANCE * noise > 0:
        return None
    variance = noise**2
    read_noise = image.read_noise or 0.0
    root = np.sqrt(level**2 + 4.0 * variance * read_noise**2)
    return float((level + root) / (2.0 * variance))


def measure_confusion(
    data: FloatArray, background: Background, *, bad: BoolArray, psf: Moffat
) -> float:
    """Share of the sky variance that is unresolved starlight and not noise.

    Parameters
    ----------
    data : NDArray[float32], shape (ny, nx)
        Background-subtracted pixels.
    background : Background
        Its sky noise and source pixels.
    bad : NDArray[bool], shape (ny, nx)
        Unusable pixels.
    psf : Moffat
        The PSF.

    Returns
    -------
    float
        Between 0 and 0.95; 0 where the sky is plain noise.

    Notes
    -----
    Unresolved stars have the autocorrelation of the PSF, noise has none beyond two pixels even
    after resampling. The PSF's autocorrelation is fitted to the sky's at lags of 3 pixels and
    more, over a plateau that the background leaves, and read off at lag 0. Starlight stays the
    same from night to night: counted as noise, it would hide transients in crowded fields.

    References
    ----------
    .. [1] Scheuer 1957, Math. Proc. Camb. Phil. Soc. 53, 764 (confusion, P(D)).
    """
    furthest = max(8, int(np.ceil(3.0 * psf.fwhm)))
    sky = ~bad & ~background.sources
    pulls = np.where(sky, np.clip(data / background.noise_map, -4.0, 4.0), 0.0).astype(np.float32)
    measured = autocorrelation(pulls, sky, furthest=furthest)
    expected = _psf_autocorrelation(psf, furthest=furthest)
    lags = np.arange(furthest + 1)
    used = lags >= 3
    design = np.column_stack([expected[used], np.ones(int(used.sum()))])
    amplitude = float(np.linalg.lstsq(design, measured[used], rcond=None)[0][0])
    share = amplitude / max(float(measured[0]), 1e-30)
    if share <= _LEAST_CONFUSION:
        return 0.0
    # what the masks of the sources leave of starlight has a narrower correlation than the PSF;
    # where the noise is white, the pixels' own scatter tells it better
    pulls = np.where(sky, data / background.noise_map, np.float32(0)).astype(np.float32)
    white = white_noise_variance(pulls, sky, psf=psf, total=float(measured[0]))
    return float(np.clip(share if white is None else 1.0 - white, 0.0, 0.95))


def autocorrelation(values: FloatArray, used: BoolArray, *, furthest: int) -> Float64:
    """Mean product of pixels a lag apart along x and y, for lags 0 to ``furthest`` [pix]."""
    result = np.zeros(furthest + 1)
    for lag in range(furthest + 1):
        ahead, behind = slice(lag, None), slice(None, values.shape[1] - lag)
        above, below = slice(lag, None), slice(None, values.shape[0] - lag)
        total = np.vdot(values[:, ahead], values[:, behind])
        total += np.vdot(values[above], values[below])
        count = int(np.count_nonzero(used[:, ahead] & used[:, behind]))
        count += int(np.count_nonzero(used[above] & used[below]))
        result[lag] = float(total) / (count or 1)
    return result


def _psf_autocorrelation(psf: Moffat, *, furthest: int) -> Float64:
    """Autocorrelation of a PSF along the axes, 1 at lag 0."""
    image = psf.cutouts(np.zeros(1), np.zeros(1), half=2 * furthest)[0]
    power = np.abs(np.fft.fft2(image, s=(8 * furthest, 8 * furthest))) ** 2
    both = np.fft.ifft2(power).real
    profile = 0.5 * (both[0, : furthest + 1] + both[: furthest + 1, 0])
    return np.asarray(profile / profile[0], dtype=np.float64)


def build_variance(
    data: FloatArray, background: Background, *, gain: float | None, fwhm_pix: float = 2.5
) -> FloatArray:
    """Variance of a background-subtracted frame.

    Parameters
    ----------
    data : NDArray[float32], shape (ny, nx)
        Background-subtracted pixels.
    background : Background
        Its measured sky noise.
    gain : float or None
        Electrons per data unit; None leaves the photon noise of sources out.
    fwhm_pix : float
        Width of the PSF [pix], which limits how far source flux may be smoothed.

    Returns
    -------
    NDArray[float32], shape (ny, nx)
        Variance in squared data units; positive everywhere.

    Notes
    -----
    The photon noise uses an estimate of the source flux and not the pixel itself: a positive
    sky fluctuation must not enlarge its own variance, or blank-sky pulls are narrower than 1.
    """
    variance = np.square(background.noise_map)
    if gain is None:
        return variance
    sigma = max(0.8, 0.3 * fwhm_pix)
    for rows, smooth in smooth_strips(data, sigma):
        flux = _flux_of(data[rows], smooth, background.noise_map[rows], sigma=sigma)
        flux /= np.float32(gain)
        variance[rows] += flux
    return variance


def source_flux(data: FloatArray, noise: FloatArray, *, fwhm_pix: float) -> FloatArray:
    """Non-negative source flux per pixel, zero on blank sky; smoothed where it is faint.

    Parameters
    ----------
    data, noise : NDArray[float32], shape (ny, nx)
        Background-subtracted pixels and their sky noise, same units.
    fwhm_pix : float
        Width of the PSF [pix].
    """
    sigma = max(0.8, 0.3 * fwhm_pix)
    return _flux_of(data, gaussian_smooth(data, sigma), noise, sigma=sigma)


def _flux_of(
    data: FloatArray, smooth: FloatArray, noise: FloatArray, *, sigma: float
) -> FloatArray:
    """Flux from the pixels and what a Gaussian of ``sigma`` pixels makes of them."""
    faint = noise * np.float32(4.0 / (2.0 * sigma * np.sqrt(np.pi)))
    is_light = smooth > faint
    flux = smooth * is_light
    np.copyto(flux, data, where=is_light & (data > np.float32(8.0) * noise))
    return np.maximum(flux, np.float32(0), out=flux)
