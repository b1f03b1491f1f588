"""What the PSF leaves of the stars it was made of, stacked over the parts of a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import is_bad
from astrid_site.imaging.moffat import moffat_of_fwhm
from astrid_site.imaging.photometry import shift_psf
from preprocessing.algorithms.moffat_fit import neighbour_images
from preprocessing.algorithms.star_cutouts import cut, shift_cutouts
from preprocessing.algorithms.stars import StarList

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

#: Stars of one part of the frame, the brightest first; fainter ones show no departure.
_MAX_STARS = 60
_MIN_SNR = 30.0
# residuals are shown and judged within so many FWHM of the centre
_REACH_FWHM = 2.0
_CORE_FWHM = 1.0
# what centring and flat field leave of a single star, in units of its peak
_STAR_ERROR = 0.01
_CLIP_SIGMA = 4.0
# root mean square residual of a source in its core, in units of its peak, that a star may have
_STAR_SCATTER = 0.02
# so many stars tell what is typical of their part of the frame, fewer of the whole
_ENOUGH_STARS = 5


@dataclass(frozen=True)
class PsfResiduals:
    """Stars less their model in n x n parts of a frame, lowest row first, left to right.

    Attributes
    ----------
    images : NDArray[float32], shape (n * n, size, size)
        Mean residual around the centre of a star, in per cent of the star's peak; NaN without
        stars.
    n_stars : NDArray[int64], shape (n * n,)
        Stars stacked in each part.
    largest : NDArray[float64], shape (n * n,)
        Largest residual within one FWHM of the centre, with its sign, in per cent; NaN without
        stars.
    error : NDArray[float64], shape (n * n,)
        Standard error of a pixel there, in per cent; NaN without stars.
    """

    images: FloatArray
    n_stars: IntArray
    largest: Float64
    error: Float64

    def as_json(self) -> dict[str, object]:
        """For pages: one number of each part, None where it has no star, and the colours' range."""
        return {
            "n_stars": self.n_stars.tolist(),
            "largest": [_plain(value) for value in self.largest],
            "error": [_plain(value) for value in self.error],
            "reach": _plain(float(np.nanmax(np.abs(self.images)))),
        }


def _plain(value: float) -> float | None:
    return round(float(value), 3) if np.isfinite(value) else None


def measure_psf_residuals(image: Image, stars: StarList, *, n: int = 3) -> PsfResiduals:
    """Stack what the PSF leaves of the clean stars of a frame.

    Parameters
    ----------
    image : Image
        Background-subtracted frame with variance, mask and PSF.
    stars : StarList
        Its sources with PSF fluxes and positions; clean ones with S/N > 30 are stacked, and the
        light of all others is taken out of their cutouts.
    n : int
        The frame is taken in n x n parts.

    Returns
    -------
    PsfResiduals

    Raises
    ------
    ValueError
        If the image lacks variance or PSF.

    Notes
    -----
    Each residual is divided by the star's peak and moved to the centre of a pixel; pixels are
    averaged by their weight, no star counting for more than an error of 1 % of its peak, with
    those more than 4 sigma from the median left out. So is a source that leaves more than twice
    what the typical one does, and 2 % of its peak: it is a galaxy, or two stars.
    """
    if image.variance is None or image.psf is None:
        msg = "image: residuals of stars need the variance and the PSF"
        raise ValueError(msg)
    psf = image.psf
    reach = min(psf.size // 2, max(4, int(np.ceil(_REACH_FWHM * psf.fwhm_pix))))
    chosen = np.flatnonzero(stars.is_star & (stars.snr > _MIN_SNR))
    part = _part(stars.x, stars.y, image.shape, n=n)
    chosen = np.concatenate([chosen[part[chosen] == k][:_MAX_STARS] for k in range(n * n)])
    core = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1]) <= _CORE_FWHM * psf.fwhm_pix
    left, weight = _residuals(image, stars, chosen, reach=reach)
    kept = _are_stars(left[:, core], weight[:, core], part[chosen])
    stacks = [_stack(left[here], weight[here]) for here in _members(part[chosen], kept, n * n)]
    images = np.stack([mean for mean, _, _ in stacks])
    return PsfResiduals(
        images=images.astype(np.float32),
        n_stars=np.array([count for _, _, count in stacks], dtype=np.int64),
        largest=np.array([_largest(mean[core]) for mean in images]),
        error=np.array([float(np.median(error[core])) for _, error, _ in stacks]),
    )


def _part(x: Float64, y: Float64, shape: tuple[int, int], *, n: int) -> IntArray:
    """Number of the part of the frame that positions lie in."""
    ny, nx = shape
    column = np.clip(((x + 0.5) * n / nx).astype(np.int64), 0, n - 1)
    row = np.clip(((y + 0.5) * n / ny).astype(np.int64), 0, n - 1)
    return np.asarray(row * n + column, dtype=np.int64)


def _largest(values: Float64) -> float:
    return float(values[int(np.argmax(np.abs(values)))])


def _members(part: IntArray, kept: BoolArray, n_parts: int) -> list[BoolArray]:
    """The stars to stack of each part."""
    return [(part == k) & kept for k in range(n_parts)]


def _are_stars(left: Float64, weight: Float64, part: IntArray) -> BoolArray:
    """Sources whose residual is of the size that most have: galaxies and blends go.

    A wrong PSF leaves alike of every star of a part of the frame, a galaxy leaves more than they.
    """
    n_used = np.maximum((weight > 0).sum(axis=1), 1)
    noise = np.where(weight > 0, 1.0 / np.maximum(weight, 1e-30), 0.0).sum(axis=1) / n_used
    power = (left**2).sum(axis=1) / n_used
    excess = np.sqrt(np.maximum(power - noise, 0.0))
    if excess.size == 0:
        return np.zeros(0, dtype=np.bool_)
    typical = np.full(excess.size, float(np.median(excess)))
    for k in np.unique(part):
        here = part == k
        if np.count_nonzero(here) >= _ENOUGH_STARS:
            typical[here] = np.maximum(typical[here], np.median(excess[here]))
    return np.asarray(excess < 2.0 * typical + _STAR_SCATTER, dtype=bool)


def _stack(left: Float64, weight: Float64) -> tuple[Float64, Float64, int]:
    """Mean residual [per cent of the peak], its error, and the number of stars."""
    if len(left) == 0:
        nothing = np.full(left.shape[1:], np.nan)
        return nothing, nothing, 0
    weight = np.where(weight > 0, 1.0 / (1.0 / np.maximum(weight, 1e-30) + _STAR_ERROR**2), 0.0)
    middle = np.median(left, axis=0)
    used = np.where(np.abs(left - middle) * np.sqrt(weight) < _CLIP_SIGMA, weight, 0.0)
    total = np.maximum(used.sum(axis=0), 1e-30)
    return 100.0 * (left * used).sum(axis=0) / total, 100.0 / np.sqrt(total), len(left)


def _residuals(
    image: Image, stars: StarList, chosen: NDArray[np.intp], *, reach: int
) -> tuple[Float64, Float64]:
    """Centred residuals of stars in units of their peaks, and inverse variances."""
    if image.psf is None or image.variance is None:
        msg = "image: residuals of stars need the variance and the PSF"
        raise ValueError(msg)
    if chosen.size == 0:
        nothing = np.zeros((0, 2 * reach + 1, 2 * reach + 1))
        return nothing, nothing
    psf, x, y, flux = image.psf, stars.x[chosen], stars.y[chosen], stars.flux[chosen]
    half = psf.size // 2
    bad = is_bad(image.mask)
    seen = cut(image.data, image.variance, bad=bad, x=x, y=y, half=half)
    neighbours = neighbour_images(seen, stars, chosen=chosen, core=moffat_of_fwhm(psf.fwhm_pix))
    images = psf.at(x, y)
    dx, dy = x - seen.column, y - seen.row
    model = flux[:, None, None] * shift_psf(images, dx, dy)
    left = np.where(seen.weight > 0, seen.data - neighbours - model, 0.0)
    peak = flux * images[:, half, half]
    centred = shift_cutouts(left, -dx, -dy) / peak[:, None, None]
    inner = np.s_[:, half - reach : half + reach + 1, half - reach : half + reach + 1]
    return centred[inner], seen.weight[inner] * peak[:, None, None] ** 2
