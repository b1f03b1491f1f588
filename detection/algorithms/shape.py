"""Shapes of candidates: size, elongation, sharpness and dipole, each measured against the PSF."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.photometry import PsfStamps, shift_psf

Values = NDArray[np.float64]
FloatArray = NDArray[np.float32]

#: Weighted moments of a flat source approach twice the PSF's; beyond this no size is measurable.
_MAX_MOMENT = 1.96
_MIN_MOMENT = 0.02
#: Fewest pixels of a ring whose median means anything, and significance of a level that counts.
_MIN_RING = 12
_LEVEL_SIGMA = 4.0
_LEVEL_ROUNDS = 2


@dataclass(frozen=True)
class Shapes:
    """Shapes of n candidates; arrays of shape (n,), NaN where the weighted flux is not positive.

    Attributes
    ----------
    fwhm_ratio : NDArray[float64]
        Width in units of the PSF's, within 0.1 and 7.
    elongation : NDArray[float64]
        Long over short axis, at least 1, each in units of the PSF's width along it.
    sharpness : NDArray[float64]
        Brightest of the central 3x3 pixels over what the fitted PSF has there at its peak.
    negative_fraction : NDArray[float64]
        Share of the core's good pixels that are over 1 sigma of the opposite sign.
    psf_chi2 : NDArray[float64]
        Mean squared pull of what a PSF on the local level leaves in the core.
    moment_noise : NDArray[float64]
        What noise makes of the second moments of a round source, in units of the PSF's [sigma].
    """

    fwhm_ratio: Values
    elongation: Values
    sharpness: Values
    negative_fraction: Values
    psf_chi2: Values
    moment_noise: Values


@dataclass(frozen=True)
class LocalFit:
    """A PSF and a level fitted together at each of n candidates; arrays of shape (n,).

    Attributes
    ----------
    level : NDArray[float64]
        What the difference is wrong by around the candidate, in units of the signal; 0 where it
        is not significant.
    flux : NDArray[float64]
        Flux above the level, times the sign.
    """

    level: Values
    flux: Values


def fit_local_level(stamps: PsfStamps, signal: FloatArray, *, fwhm_pix: float) -> LocalFit:
    """Fit each candidate by its PSF on a level of its own.

    Parameters
    ----------
    stamps : PsfStamps
        Pixels around n candidates.
    signal : NDArray[float32], shape (n, size, size)
        Stamp data times the candidate's sign, 0 on bad pixels.
    fwhm_pix : float
        FWHM of the difference's PSF [pix].

    Notes
    -----
    The residual of a galaxy, or of a sky that two calibrations took off differently, is a level
    that varies little over a PSF. It says nothing against a point source on it, but moments grow
    with distance squared and chi2 with every pixel. The level is the median, between 1.5 and 4
    FWHM, of what the PSF leaves there, so that neither the source's own wings nor a neighbour
    counts; below 4 of its standard errors it is noise and left alone.
    """
    ring = stamps.good & _ring(signal.shape[-1], fwhm_pix)
    weight = np.where(stamps.good, stamps.psf, 0.0).astype(np.float64)
    norm = np.maximum(np.einsum("nij,nij->n", weight, weight), 1e-30)
    light = weight.sum(axis=(1, 2))
    own = np.einsum("nij,nij->n", weight, signal)
    level = np.zeros(len(signal))
    for _ in range(_LEVEL_ROUNDS):
        flux = (own - level * light) / norm
        left = signal - flux[:, None, None] * stamps.psf
        level, error = _ring_median(left, ring)
    level = np.where(np.abs(level) > _LEVEL_SIGMA * error, level, 0.0)
    return LocalFit(level=level, flux=(own - level * light) / norm)


def _ring(size: int, fwhm_pix: float) -> NDArray[np.bool_]:
    """Pixels between 1.5 and 4 FWHM of the middle of a stamp."""
    offset = np.arange(size) - size // 2
    distance = np.hypot(offset[:, None], offset[None, :])
    return np.asarray((distance >= 1.5 * fwhm_pix) & (distance <= 4.0 * fwhm_pix), dtype=np.bool_)


def _ring_median(values: NDArray[np.floating], ring: NDArray[np.bool_]) -> tuple[Values, Values]:
    """Median of each stamp's ring and its standard error, infinite where the ring is too small."""
    inside = ring.any(axis=0)
    if not inside.any():
        return np.zeros(len(values)), np.full(len(values), np.inf)
    row = np.where(ring[:, inside], values[:, inside], np.nan)
    n_good = np.isfinite(row).sum(axis=1)
    usable = n_good >= _MIN_RING
    row[~usable] = 0.0
    # NaN sorts last; np.nanmedian does the same one row at a time
    ordered = np.sort(row, axis=1)
    low, middle, high = (
        np.take_along_axis(
            ordered, np.rint(share * (np.maximum(n_good, 1) - 1)).astype(np.int64)[:, None], axis=1
        )[:, 0].astype(np.float64)
        for share in (0.15865, 0.5, 0.84135)
    )
    error = 1.2533 * (high - low) / 2.0 / np.sqrt(np.maximum(n_good, 1))
    return np.where(usable, middle, 0.0), np.where(usable, error, np.inf)


def measure_shapes(
    stamps: PsfStamps, signal: FloatArray, *, fwhm_pix: float, dx: Values, dy: Values
) -> Shapes:
    """Measure sizes and shapes above the local level, under a weight equal to the PSF.

    Parameters
    ----------
    stamps : PsfStamps
        Pixels around n candidates.
    signal : NDArray[float32], shape (n, size, size)
        Stamp data times the candidate's sign, 0 on bad pixels.
    fwhm_pix : float
        FWHM of the difference's PSF [pix].
    dx, dy : NDArray[float64], shape (n,)
        Position relative to the stamp's middle pixel [pix].

    Returns
    -------
    Shapes

    Notes
    -----
    With a Gaussian weight as wide as the PSF, a source k times as wide has second moment
    q = 2 k^2 / (1 + k^2) in units of the PSF's own; inverted here. For a Moffat PSF the unit is
    measured on the PSF image itself, so that a point source has k = 1 exactly, and along each
    axis of its own, so that one seen through an elongated PSF is as round as any.
    """
    local = fit_local_level(stamps, signal, fwhm_pix=fwhm_pix)
    above = signal - np.where(stamps.good, local.level[:, None, None], 0.0).astype(np.float32)
    weight = np.where(stamps.good & _near_core(stamps.psf), stamps.psf, np.float32(0))
    source = _moments(weight * above, dx=dx, dy=dy)
    point = _moments(weight * stamps.psf, dx=dx, dy=dy)
    middle, spread = _relative_axes(source, point)
    long_axis, short_axis = _width_ratio(middle + spread), _width_ratio(middle - spread)
    return Shapes(
        fwhm_ratio=_width_ratio(middle),
        elongation=long_axis / short_axis,
        sharpness=_sharpness(stamps, above, local.flux),
        negative_fraction=_negative_fraction(stamps, above),
        psf_chi2=_core_chi2(stamps, above, local.flux),
        moment_noise=_moment_noise(weight, stamps.variance, above, unit=(point[0] + point[1]) / 2),
    )


def _relative_axes(
    source: tuple[Values, Values, Values], point: tuple[Values, Values, Values]
) -> tuple[Values, Values]:
    """Mean of the two eigenvalues of the source's moments over the PSF's, and half their distance.

    The eigenvalues of ``P^-1 M`` are the moments along the axes in which the PSF is round.
    """
    (xx, yy, xy), (pxx, pyy, pxy) = source, point
    norm = pxx * pyy - pxy**2
    norm = np.where(norm > 0, norm, np.nan)
    middle = (pyy * xx + pxx * yy - 2.0 * pxy * xy) / (2.0 * norm)
    product = (xx * yy - xy**2) / norm
    return middle, np.sqrt(np.maximum(middle**2 - product, 0.0))


def _near_core(psf: FloatArray) -> NDArray[np.bool_]:
    """Pixels within four FWHM of the middle.

    Diffraction wings reach over the whole stamp of a space telescope's PSF, and far out the
    second moment is noise times distance squared.
    """
    n_bright = (psf > 0.5 * psf.max(axis=(1, 2), keepdims=True)).sum(axis=(1, 2))
    reach = 8.0 * np.sqrt(n_bright / np.pi)
    offset = np.arange(psf.shape[-1]) - psf.shape[-1] // 2
    distance = np.hypot(offset[:, None], offset[None, :])
    return np.asarray(distance[None] <= reach[:, None, None], dtype=np.bool_)


def _moments(image: FloatArray, *, dx: Values, dy: Values) -> tuple[Values, Values, Values]:
    """Second moments xx, yy, xy of each stamp about its candidate; NaN without positive flux."""
    offset = np.arange(image.shape[-1]) - image.shape[-1] // 2
    x = offset[None, :] - dx[:, None]
    y = offset[None, :] - dy[:, None]
    total = image.sum(axis=(1, 2), dtype=np.float64)
    norm = np.where(total > 0, total, np.nan)
    xx = np.einsum("nij,nj->n", image, x**2) / norm
    yy = np.einsum("nij,ni->n", image, y**2) / norm
    xy = np.einsum("nij,ni,nj->n", image, y, x) / norm
    return xx, yy, xy


def _moment_noise(
    weight: FloatArray, variance: FloatArray, signal: FloatArray, *, unit: Values
) -> Values:
    """Error of half the difference of two moments, and of xy, over the PSF's moment."""
    offset = np.arange(weight.shape[-1]) - weight.shape[-1] // 2
    fourth = (offset[:, None] ** 2 + offset[None, :] ** 2) ** 2 / 8.0
    noise = np.sqrt(np.einsum("nij,nij,ij->n", weight**2, variance, fourth))
    total = np.einsum("nij,nij->n", weight, signal, dtype=np.float64)
    return np.asarray(noise / (np.where(total > 0, total, np.nan) * unit), dtype=np.float64)


def _width_ratio(moment: Values) -> Values:
    """Width of a source in units of the PSF from its weighted second moment in the same units."""
    clipped = np.clip(moment, _MIN_MOMENT, _MAX_MOMENT)
    return np.asarray(np.sqrt(clipped / (2.0 - clipped)), dtype=np.float64)


def _sharpness(stamps: PsfStamps, signal: FloatArray, flux: Values) -> Values:
    """Observed over expected peak; far above 1 for a cosmic ray."""
    centre = signal.shape[-1] // 2
    core = slice(centre - 1, centre + 2)
    peak = signal[:, core, core].max(axis=(1, 2)).astype(np.float64)
    expected = np.where(flux > 0, flux, np.nan) * stamps.psf.max(axis=(1, 2))
    return np.asarray(peak / expected, dtype=np.float64)


def _core_chi2(stamps: PsfStamps, signal: FloatArray, flux: Values) -> Values:
    """Mean squared pull of the PSF fit's residual where the PSF exceeds a tenth of its peak."""
    bright = stamps.psf > 0.1 * stamps.psf.max(axis=(1, 2), keepdims=True)
    core = stamps.good & bright
    residual = signal - flux[:, None, None] * stamps.psf
    squares = np.where(core, residual**2 / stamps.variance, 0.0).sum(axis=(1, 2))
    # one degree of freedom went into the flux
    return np.asarray(squares / np.maximum(core.sum(axis=(1, 2)) - 1, 1), dtype=np.float64)


def _negative_fraction(stamps: PsfStamps, signal: FloatArray) -> Values:
    """Share of good core pixels more than 1 sigma below zero."""
    core = stamps.good & (stamps.psf > 0.1 * stamps.psf.max(axis=(1, 2), keepdims=True))
    below = core & (signal < -np.sqrt(stamps.variance))
    return np.asarray(below.sum(axis=(1, 2)) / np.maximum(core.sum(axis=(1, 2)), 1), np.float64)


def fit_dipoles(
    stamps: PsfStamps, signal: FloatArray, *, score: FloatArray, fwhm_pix: float
) -> Values:
    """Flux of the opposite lobe beside each candidate, as a share of the candidate's own.

    Parameters
    ----------
    stamps : PsfStamps
        Pixels around n candidates.
    signal : NDArray[float32], shape (n, size, size)
        Stamp data times the candidate's sign.
    score : NDArray[float32], shape (n, size, size)
        Score times the candidate's sign on the same pixels, 0 off the frame.
    fwhm_pix : float
        FWHM of the difference's PSF [pix].

    Returns
    -------
    NDArray[float64], shape (n,)
        0 where no opposite lobe exceeds 2 sigma of its own noise; 1 for a symmetric dipole.

    Notes
    -----
    Two PSFs are fitted together, one at the candidate and one at the deepest opposite score
    between half and two and a half FWHM away. Two sigma are taken off the lobe's flux because the
    deepest of some thirty noise pixels is always negative.
    """
    lobe_x, lobe_y = _deepest(score, inner=max(1.0, 0.5 * fwhm_pix), outer=2.5 * fwhm_pix)
    lobe_psf = shift_psf(stamps.psf, lobe_x, lobe_y)
    first = np.where(stamps.good, stamps.psf, 0.0).astype(np.float64)
    second = np.where(stamps.good, lobe_psf, 0.0).astype(np.float64)
    aa, bb = (np.einsum("nij,nij->n", part, part) for part in (first, second))
    ab = np.einsum("nij,nij->n", first, second)
    ad, bd = (np.einsum("nij,nij->n", part, signal) for part in (first, second))
    determinant = np.maximum(aa * bb - ab**2, 1e-12)
    main = (bb * ad - ab * bd) / determinant
    lobe = (aa * bd - ab * ad) / determinant
    variance = np.median(stamps.variance.reshape(len(ad), -1), axis=1)
    noise = np.sqrt(variance * aa / determinant)
    ratio = np.maximum(-lobe - 2.0 * noise, 0.0) / np.maximum(main, noise)
    return np.asarray(np.minimum(ratio, 5.0), dtype=np.float64)


def _deepest(score: FloatArray, *, inner: float, outer: float) -> tuple[Values, Values]:
    """Offset of the lowest score in a ring around each stamp's middle."""
    size = score.shape[-1]
    offset = np.arange(size) - size // 2
    distance = np.hypot(offset[:, None], offset[None, :])
    ring = (distance >= inner) & (distance <= outer)
    flat = np.where(ring, score, np.inf).reshape(len(score), -1).argmin(axis=1)
    row, column = np.divmod(flat, size)
    return (column - size // 2).astype(np.float64), (row - size // 2).astype(np.float64)
