"""Where the epochs of a reference disagree: sky that changed, and must not be averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import BoolArray, is_bad
from preprocessing.algorithms.smoothing import gaussian_smooth

FloatArray = NDArray[np.float32]

_SIGMA_OF_FWHM = 1.0 / (2.0 * math.sqrt(2.0 * math.log(2.0)))
#: Two epochs disagree where their smoothed light differs by so many sigma.
_SIGNIFICANCE = 5.0
#: A change by this share of the light around is marked; a smaller one may be the PSF's shape.
_MARKED_SHARE = 0.2
#: A change by this share is kept out of the stack: less would cost more, in the mismatch of the
#: PSFs of what is left, than it saves.
_REJECTED_SHARE = 0.3
#: Share of a star's peak that counts as light in its far wing.
_WING_SHARE = 0.1
#: Pixels whose neighbourhood is less complete than this cannot be compared.
_MIN_GOOD = 0.9
#: Rows compared at once: memory does not grow with the frame.
_BAND_ROWS = 256


@dataclass(frozen=True)
class Disagreement:
    """Where epochs disagree.

    Attributes
    ----------
    marked : NDArray[bool], shape (ny, nx)
        Places at which any two groups of epochs differ; a candidate there needs a second look.
    rejected : NDArray[bool], shape (n, ny, nx)
        Pixels of each epoch that must not be stacked.
    """

    marked: BoolArray
    rejected: BoolArray

    @property
    def n_rejected(self) -> int:
        """Pixels of single epochs."""
        return int(np.count_nonzero(self.rejected))


def find_disagreement(images: Sequence[Image], *, former: Sequence[int] = ()) -> Disagreement:
    """Compare epochs with each other at the resolution of the worst.

    Parameters
    ----------
    images : sequence of Image
        Background-subtracted, on one grid and flux scale, with variance and PSF, shape (ny, nx).
    former : sequence of int
        Those of them that made the reference before this one.

    Returns
    -------
    Disagreement

    Raises
    ------
    ValueError
        If an image lacks variance or PSF.

    Notes
    -----
    Every epoch is smoothed to one width, that of the matched filter in the worst seeing, so that
    a star looks the same in all of them. With former epochs, each new one is compared with their
    mean, and so is the mean of the new ones, in which a change shows that each of them hides:
    what one epoch alone has is kept out of that epoch, and where several changed only former
    epochs stay, so that neither a transient nor a variable moves the zero level of light curves
    that were begun. Without, each epoch is compared with the median of all, or, of two, the
    higher with the lower.
    """
    widths = [_width(image) for image in images]
    reach = 2 * round(max(widths)) + 1
    margin = 4 * reach
    ny, nx = images[0].shape
    marked, rejected = np.zeros((ny, nx), bool), np.zeros((len(images), ny, nx), bool)
    for top in range(0, ny, _BAND_ROWS):
        rows = slice(top, min(top + _BAND_ROWS, ny))
        wide = slice(max(0, top - margin), min(rows.stop + margin, ny))
        views = _smoothed(images, widths, wide)
        part = _against_former(views, former) if former else _against_median(views)
        inside = slice(top - wide.start, rows.stop - wide.start)
        marked[rows], rejected[:, rows] = part.marked[inside], part.rejected[:, inside]
    return Disagreement(marked, rejected)


@dataclass(frozen=True)
class _Views:
    """Some rows of all epochs at one resolution; (n, rows, nx), NaN where not to be compared."""

    light: FloatArray
    variance: FloatArray
    reach: int


def _smoothed(images: Sequence[Image], widths: Sequence[float], rows: slice) -> _Views:
    worst = max(widths)
    views = []
    for image, width in zip(images, widths, strict=True):
        if image.variance is None:
            msg = "images: an image without variance cannot be compared"
            raise ValueError(msg)
        data, noise, mask = image.data[rows], image.variance[rows], image.mask[rows]
        sigma = math.sqrt(2.0 * worst**2 - width**2) * _SIGMA_OF_FWHM
        good = ~is_bad(mask) & (noise > 0)
        share = gaussian_smooth(good.astype(np.float32), sigma)
        usable = share > _MIN_GOOD
        scale = np.where(usable, 1.0 / np.maximum(share, _MIN_GOOD), np.nan).astype(np.float32)
        light = scale * gaussian_smooth(np.where(good, data, np.float32(0)), sigma)
        # the square of a Gaussian is one of 1/sqrt(2) the width and 1/(4 pi sigma^2) the sum
        spread = gaussian_smooth(np.where(good, noise, np.float32(0)), sigma / 2**0.5)
        views.append((light, scale * spread / np.float32(4.0 * math.pi * sigma**2)))
    light, variance = (np.stack(planes) for planes in zip(*views, strict=True))
    return _Views(light, variance, reach=2 * round(worst) + 1)


def _width(image: Image) -> float:
    if image.psf is None:
        msg = "images: an image without PSF cannot be compared"
        raise ValueError(msg)
    return max(image.psf.fwhm_pix, 1.0)


def _against_former(views: _Views, former: Sequence[int]) -> Disagreement:
    n = len(views.light)
    old = [i for i in range(n) if i in set(former)]
    new = [i for i in range(n) if i not in set(former)]
    rejected = np.zeros(views.light.shape, dtype=bool)
    if not new:
        return Disagreement(np.zeros(rejected.shape[1:], dtype=bool), rejected)
    was, was_variance = _mean(views, old)
    around = _around(was, views.reach)
    marked = np.zeros(was.shape, dtype=bool)
    count = np.zeros(was.shape, np.uint16)
    for i in new:
        big, any_size = _compare(views.light[i] - was, views.variance[i] + was_variance, around)
        rejected[i] = _grown(big, views.reach)
        count += rejected[i]
        marked |= any_size
    is_now, now_variance = _mean(views, new, left_out=rejected)
    changed, any_size = _compare(is_now - was, now_variance + was_variance, around)
    marked |= any_size
    rejected[new] |= _grown(changed, views.reach) | (count >= 2)
    return Disagreement(_grown(marked, views.reach), rejected)


def _against_median(views: _Views) -> Disagreement:
    n = len(views.light)
    rejected = np.zeros(views.light.shape, dtype=bool)
    marked = np.zeros(views.light.shape[1:], dtype=bool)
    if n < 2:
        return Disagreement(marked, rejected)
    known = np.where(np.isfinite(views.light), views.light, np.float32(np.inf))
    order = np.sort(known, axis=0)
    # of two, or of an even number, the lower: light is added by what comes and goes
    middle = order[(n - 1) // 2]
    middle = np.where(np.isfinite(middle), middle, np.float32(np.nan))
    spread = np.nanmedian(np.where(np.isfinite(views.variance), views.variance, 0.0), axis=0)
    around = _around(middle, views.reach)
    for i in range(n):
        # the median of n scatters by itself
        variance = views.variance[i] + 1.57 * spread / n
        big, any_size = _compare(views.light[i] - middle, variance, around)
        rejected[i] = _grown(big, views.reach)
        marked |= any_size
    return Disagreement(_grown(marked, views.reach), rejected)


def _mean(
    views: _Views, chosen: Sequence[int], *, left_out: BoolArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Mean of what some epochs have of each pixel, and its variance; NaN where none has it."""
    total, variance = np.zeros_like(views.light[0]), np.zeros_like(views.light[0])
    count = np.zeros_like(total)
    for i in chosen:
        has = np.isfinite(views.light[i])
        if left_out is not None:
            has &= ~left_out[i]
        total += np.where(has, views.light[i], np.float32(0))
        variance += np.where(has, views.variance[i], np.float32(0))
        count += has
    count = np.where(count > 0, count, np.float32(np.nan))
    return total / count, variance / count**2


def _around(light: FloatArray, reach: int) -> FloatArray:
    """The light by which a change is judged: the most within reach, and a share of what is beyond.

    A star's wing is judged by its core, and its far wing, which no Gaussian describes, by a tenth.
    """
    known = np.where(np.isfinite(light), np.abs(light), np.float32(0))
    near = maximum_filter(known, size=reach)
    far = maximum_filter(near, size=2 * reach + 1)
    return np.asarray(np.maximum(near, np.float32(_WING_SHARE) * far), dtype=np.float32)


def _compare(
    change: FloatArray, variance: FloatArray, around: FloatArray
) -> tuple[BoolArray, BoolArray]:
    """Changes that are too big to be stacked, and all that are significant.

    The sky of every frame is uneven, and the noise of warped pixels is correlated: the changes
    of blank sky themselves say what is significant.
    """
    change = np.where(np.isfinite(change), change, np.float32(0))
    sigma = np.sqrt(np.where(variance > 0, variance, np.float32(np.inf)))
    pulls = change / sigma
    width = max(1.0, 1.4826 * float(np.median(np.abs(pulls[::3, ::3]))))
    significant = np.abs(pulls) > _SIGNIFICANCE * width
    size = np.abs(change)
    return significant & (size > _REJECTED_SHARE * around), significant & (
        size > _MARKED_SHARE * around
    )


def _grown(flags: BoolArray, reach: int) -> BoolArray:
    """A smoothed source is known by its peak; all of its light is meant."""
    return np.asarray(maximum_filter(flags, size=reach), dtype=bool) if flags.any() else flags
