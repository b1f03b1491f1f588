"""How the epochs of a reference are combined, and what is measured on the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskArray, MaskPlane, is_bad
from astrid_site.imaging.psf import PsfField, position_terms
from differencing.algorithms.uneven_psf import squared_widths, uneven_psf_variance
from differencing.algorithms.unsettled import Disagreement
from preprocessing.algorithms.preprocess import PreprocessConfig, Preprocessed, preprocess_image

FloatArray = NDArray[np.float32]

_BLOCK_ROWS = 128
_CLIP_SIGMA = 4.0
#: A rejected pixel must also be off by more than the median changes from it to its neighbours,
#: plus this share of its light: a difference of the seeing on a star is no cosmic ray.
_CLIP_FRACTION = 0.3
_PSF_GRID = 4
#: Width of the PSF of a coadd over that of the mean of its epochs' PSFs.
_CREDIBLE_WIDTHS = 0.95, 1.15


@dataclass(frozen=True)
class Coadd:
    """A combined image and what went into each pixel.

    Attributes
    ----------
    image : Image
        Mean, variance, mask (NO_DATA where no epoch was usable, UNSETTLED where they disagree)
        and combined PSF, in the flux scale of the first image.
    coverage : NDArray[uint16], shape (ny, nx)
        Number of epochs in each pixel.
    n_clipped : int
        Pixels of single epochs rejected as outliers.
    shares : tuple of float
        Mean weight of each image in the pixels, 0 to 1.
    """

    image: Image
    coverage: NDArray[np.uint16]
    n_clipped: int
    shares: tuple[float, ...]


def coadd(
    images: Sequence[Image],
    *,
    flux_scales: Sequence[float] | None = None,
    sky_noises: Sequence[float] | None = None,
    clip_sigma: float = _CLIP_SIGMA,
    disagreement: Disagreement | None = None,
    spare: Sequence[int] = (),
) -> Coadd:
    """Combine images on one grid: inverse-variance mean, outliers rejected.

    Parameters
    ----------
    images : sequence of Image
        Background-subtracted, with variance and PSF, all of shape (ny, nx).
    flux_scales : sequence of float, optional
        Factors that bring each image to the flux scale of the first.
    sky_noises : sequence of float, optional
        Sky sigma of each image per independent pixel, before it was warped, on that scale [data
        units of the first]; without it the variance's, which interpolation lowers.
    clip_sigma : float
        A pixel farther than this from the epochs' median, and by more than the median's own
        relief there, is rejected. With two epochs, the higher of two that differ so is.
    disagreement : Disagreement, optional
        Pixels of single epochs that are left out as well, because the sky had changed there.
    spare : sequence of int
        Images that count only where all others are left out.

    Returns
    -------
    Coadd

    Raises
    ------
    ValueError
        Without images, if shapes or the number of scales differ, or if an image lacks variance
        or PSF.

    Notes
    -----
    Weights are one number per image (its sky) times the pixel masks: weights that follow the
    pixel's own photon noise would make the PSF of the coadd depend on brightness. Interpolation
    moves noise to its neighbours and takes none away: a frame is worth as much as before it. The
    seeing is left out: weights of the optimal power of it lower the noise of a difference by 0.1 to
    0.4 % where seeing varies by a third.
    """
    scales = list(flux_scales) if flux_scales is not None else [1.0] * len(images)
    _check(images, scales)
    ny, nx = images[0].shape
    if sky_noises is None:
        weights = np.array([_sky_weight(i, s) for i, s in zip(images, scales, strict=True)])
    else:
        weights = 1.0 / np.square(np.array(sky_noises, dtype=np.float64))
    data, variance = np.zeros((ny, nx), np.float32), np.zeros((ny, nx), np.float32)
    coverage, n_clipped = np.zeros((ny, nx), np.uint16), 0
    main = [i for i in range(len(images)) if i not in spare]
    shares, widening = np.zeros(len(images)), np.zeros((ny, nx), np.float32)
    widths = squared_widths([_psf(image) for image in images])
    widths -= np.average(widths[main], weights=weights[main])
    for top in range(0, ny, _BLOCK_ROWS):
        rows = slice(top, min(top + _BLOCK_ROWS, ny))
        stack = _Stack.of(images, scales, rows)
        keep = stack.keep(clip_sigma)
        changed = None if disagreement is None else disagreement.rejected[:, rows]
        keep = _used(keep, changed, spare)
        n_clipped += int((stack.good & ~keep)[main].sum())
        share = weights[:, None, None] * keep
        total = share.sum(axis=0)
        share = share / np.where(total > 0, total, 1.0)
        data[rows] = (share * stack.data).sum(axis=0)
        variance[rows] = (share**2 * stack.variance).sum(axis=0)
        coverage[rows] = keep.sum(axis=0)
        widening[rows] = np.tensordot(widths, share, 1)
        shares += share.sum(axis=(1, 2)) / (ny * nx)
    psf = combine_psfs([_psf(images[i]) for i in main], weights=weights[main])
    image = images[0].with_(
        data=data,
        variance=variance + uneven_psf_variance(data, variance, widening=widening, psf=psf),
        mask=_combined_mask([images[i] for i in main], coverage, disagreement),
        psf=psf,
        exposure_s=_total_exposure([images[i] for i in main]),
        # a mean of n frames has the photon noise of n times the gain
        gain=None if images[0].gain is None else images[0].gain * _effective(weights[main]),
    )
    return Coadd(image, coverage, n_clipped, tuple(float(share) for share in shares))


def _effective(weights: NDArray[np.float64]) -> float:
    """Number of equal images that would lower the noise as much as these."""
    square = float((weights**2).sum())
    return float(weights.sum() ** 2) / square if square > 0 else 1.0


def _used(
    keep: NDArray[np.bool_], changed: NDArray[np.bool_] | None, spare: Sequence[int]
) -> NDArray[np.bool_]:
    """What is averaged: settled epochs, else spare ones, else what there is; (n, rows, nx)."""
    is_spare = np.isin(np.arange(len(keep)), list(spare))[:, None, None]
    settled = keep if changed is None else keep & ~changed
    chosen = settled & ~is_spare
    for fallback in (settled, keep):
        chosen = np.where(chosen.any(axis=0), chosen, fallback)
    return chosen


@dataclass(frozen=True)
class _Stack:
    """Some rows of all images on one flux scale; arrays (n, rows, nx)."""

    data: FloatArray
    variance: FloatArray
    good: NDArray[np.bool_]

    @classmethod
    def of(cls, images: Sequence[Image], scales: Sequence[float], rows: slice) -> _Stack:
        """Gather the rows."""
        pairs = list(zip(images, scales, strict=True))
        return cls(
            data=np.stack([np.float32(s) * i.data[rows] for i, s in pairs]),
            variance=np.stack([np.float32(s * s) * _variance(i)[rows] for i, s in pairs]),
            good=np.stack([~is_bad(i.mask[rows]) & (_variance(i)[rows] > 0) for i in images]),
        )

    def keep(self, clip_sigma: float) -> NDArray[np.bool_]:
        """Good pixels that agree with the others."""
        if len(self.data) < 2:
            return self.good
        values = np.where(self.good, self.data, np.nan)
        count = self.good.sum(axis=0)
        # all-bad pixels have no median; they are not kept anyway
        values[:, count == 0] = 0.0
        middle = np.nanmin(values, axis=0) if len(values) == 2 else np.nanmedian(values, axis=0)
        apart = np.abs(self.data - middle)
        limit = clip_sigma * np.sqrt(np.maximum(self.variance, 0.0) * (1.0 + 1.0 / len(values)))
        relief = maximum_filter(middle, size=3) - minimum_filter(middle, size=3)
        outlier = (apart > limit) & (apart > relief + _CLIP_FRACTION * np.abs(middle))
        # where everything would go, nothing is told apart
        hopeless = (outlier | ~self.good).all(axis=0)
        return np.asarray(self.good & (~outlier | hopeless), dtype=bool)


def _check(images: Sequence[Image], scales: Sequence[float]) -> None:
    if not images or len(images) != len(scales):
        msg = f"images: {len(images)} images with {len(scales)} flux scales cannot be combined"
        raise ValueError(msg)
    for index, image in enumerate(images):
        if image.shape != images[0].shape:
            msg = f"images: shape {image.shape} of image {index} differs from {images[0].shape}"
            raise ValueError(msg)
        _variance(image)
        _psf(image)


def _variance(image: Image) -> FloatArray:
    if image.variance is None:
        msg = "images: an image without variance cannot be weighed"
        raise ValueError(msg)
    return image.variance


def _psf(image: Image) -> PsfField:
    if image.psf is None:
        msg = "images: an image without PSF cannot be combined"
        raise ValueError(msg)
    return image.psf


def _sky_weight(image: Image, scale: float) -> float:
    """Inverse of the median variance of an image's good pixels, on the common scale."""
    variance = _variance(image)
    usable = ~is_bad(image.mask) & (variance > 0)
    if not usable.any():
        return 0.0
    return 1.0 / (scale**2 * float(np.median(variance[usable])))


def _combined_mask(
    images: Sequence[Image],
    coverage: NDArray[np.uint16],
    disagreement: Disagreement | None,
) -> MaskArray:
    """What is lost in the combination.

    NO_DATA where nothing is left. SATURATED where any epoch was: the others fill the core of such
    a star, but not its wings alone, so that it would have a PSF like no other star. Bleed trails
    of single epochs are filled.
    """
    mask = np.where(coverage == 0, np.uint16(MaskPlane.NO_DATA), np.uint16(0)).astype(np.uint16)
    for image in images:
        mask |= image.mask & np.uint16(MaskPlane.SATURATED)
        bleed = image.mask & np.uint16(MaskPlane.BLEED)
        mask |= np.where(coverage == 0, bleed, np.uint16(0)).astype(np.uint16)
    if disagreement is not None:
        mask[disagreement.marked] |= np.uint16(MaskPlane.UNSETTLED)
    return mask


def measure_coadd(image: Image) -> tuple[Preprocessed, tuple[str, ...]]:
    """Stars, PSF and depth of a combined image, with the variance that its epochs gave it.

    Parameters
    ----------
    image : Image
        A coadd with variance and combined PSF.

    Returns
    -------
    tuple of Preprocessed, tuple of str
        The image measured, and what could not be.

    Notes
    -----
    Sources are found against the noise of its sky, unresolved stars included: against that of
    its pixels alone a deep crowded field is one large source. The PSF is fitted anew, since
    warping broadened what the epochs' own PSFs say.
    """
    config = PreprocessConfig(find_cosmic_rays=False)
    bare = image.with_(variance=None)
    measured = preprocess_image(bare, config)
    remarks: tuple[str, ...] = ()
    expected = _psf(image)
    if not _is_credible(measured, expected):
        remarks = ("the stars give no credible PSF: the mean of the epochs' is used",)
        measured = preprocess_image(bare, config, given_psf=expected)
    kept = measured.image.with_(variance=image.variance)
    return replace(measured, image=kept), remarks


def _is_credible(measured: Preprocessed, expected: PsfField) -> bool:
    """Whether the PSF fitted to a coadd is like the mean of the epochs', which resampling widens.

    In a crowd a deep image has few stars by themselves, and what is taken for one may be none.
    """
    psf = measured.image.psf
    if psf is None:
        return False
    low, high = _CREDIBLE_WIDTHS
    return low < psf.fwhm_pix / expected.fwhm_pix < high


def _total_exposure(images: Sequence[Image]) -> float | None:
    times = [image.exposure_s for image in images if image.exposure_s is not None]
    return float(sum(times)) if len(times) == len(images) else None


def combine_psfs(psfs: Sequence[PsfField], *, weights: NDArray[np.float64]) -> PsfField:
    """PSF of a weighted mean of images: the weighted mean of their PSFs.

    Parameters
    ----------
    psfs : sequence of PsfField
        On one grid.
    weights : NDArray[float64], shape (n,)
        Weights of the images.

    Returns
    -------
    PsfField
        Of the highest order and the largest size among them.
    """
    order, size = max(p.order for p in psfs), max(p.size for p in psfs)
    ny, nx = psfs[0].shape
    grid = np.linspace(0.0, 1.0, _PSF_GRID)
    x, y = (g.ravel() for g in np.meshgrid(grid * (nx - 1), grid * (ny - 1)))
    total = np.zeros((len(x), size, size))
    for psf, weight in zip(psfs, weights / weights.sum(), strict=True):
        pad = (size - psf.size) // 2
        total += weight * np.pad(psf.at(x, y), ((0, 0), (pad, pad), (pad, pad)))
    terms = position_terms(x, y, shape=psfs[0].shape, order=order)
    solution, *_ = np.linalg.lstsq(terms, total.reshape(len(x), -1), rcond=None)
    return PsfField(
        coefficients=solution.reshape(-1, size, size).astype(np.float32),
        order=order,
        shape=psfs[0].shape,
        fwhm_pix=float(np.average([p.fwhm_pix for p in psfs], weights=weights)),
        n_stars=min(p.n_stars for p in psfs),
    )
