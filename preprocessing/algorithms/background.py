"""Sky level and sky noise of one frame, both as maps, from pixels without sources."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import sep
from numpy.typing import NDArray
from scipy import ndimage

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import is_bad

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

_MIN_BOX = 16
_SOURCE_SIGMA = 2.0
# a frame must keep this share of source-free pixels to count as sky
_MIN_SKY_FRACTION = 0.02


@dataclass(frozen=True)
class Background:
    """The sky under the sources.

    Attributes
    ----------
    level : NDArray[float32], shape (ny, nx)
        Sky level [data units].
    noise_map : NDArray[float32], shape (ny, nx)
        Local standard deviation of a sky pixel [data units].
    noise : float
        Standard deviation of a sky pixel over the whole frame [data units].
    median : float
        Median of ``level`` [data units].
    sources : NDArray[bool], shape (ny, nx)
        Pixels left out because they show a source.
    """

    level: FloatArray
    noise_map: FloatArray
    noise: float
    median: float
    sources: BoolArray

    def without_confusion(self, share: float) -> Background:
        """The same sky with the share of its variance that is unresolved starlight taken out."""
        if share == 0.0:
            return self
        factor = float(np.sqrt(1.0 - share))
        noise_map = self.noise_map * np.float32(factor)
        return replace(self, noise_map=noise_map, noise=self.noise * factor)


def fit_background(image: Image, *, box: int = 64, filter_size: int = 3) -> Background:
    """Fit the sky of a frame on a mesh of boxes, sources masked in a second pass.

    Parameters
    ----------
    image : Image
        Frame with its mask; the variance is not used.
    box : int
        Width of a mesh box [pix]; made smaller on small frames.
    filter_size : int
        Width of the median filter over the mesh [boxes].

    Returns
    -------
    Background
        Level and noise; the pulls ``(data - level) / noise_map`` of source-free pixels have a
        robust width of 1 over the frame.

    Raises
    ------
    AlgorithmError
        If every pixel is masked, or the frame is constant and has no noise at all.

    References
    ----------
    .. [1] Bertin & Arnouts 1996, A&AS 117, 393, section 3 (mesh, clipping and mode).
    """
    bad = is_bad(image.mask)
    n_good = int(bad.size - bad.sum())
    if n_good < _MIN_BOX * _MIN_BOX:
        msg = f"too few usable pixels to measure the sky: {n_good} of {bad.size}"
        raise AlgorithmError(msg, n_good=n_good, n_required=_MIN_BOX * _MIN_BOX)
    _require_noise(image.data, bad)
    data = np.ascontiguousarray(image.data, dtype=np.float32)
    size = _box_size(image.shape, box)
    first = sep.Background(data, mask=bad, bw=size, bh=size, fw=filter_size, fh=filter_size)
    sources = find_source_pixels(data - first.back(), noise=_positive(first.rms()), bad=bad)
    left_out = bad | sources
    if left_out.sum() > (1.0 - _MIN_SKY_FRACTION) * bad.size:
        left_out = bad
    fit = sep.Background(data, mask=left_out, bw=size, bh=size, fw=filter_size, fh=filter_size)
    return _calibrate(data, fit, sky=~left_out, sources=sources)


def find_source_pixels(residual: FloatArray, *, noise: FloatArray, bad: BoolArray) -> BoolArray:
    """Pixels of sources: connected and significant after smoothing, grown into their wings.

    Parameters
    ----------
    residual : NDArray[float32], shape (ny, nx)
        Background-subtracted data.
    noise : NDArray[float32], shape (ny, nx)
        Standard deviation of a sky pixel, same units.
    bad : NDArray[bool], shape (ny, nx)
        Unusable pixels.
    """
    pulls = np.where(bad, np.float32(0), residual / noise)
    sigma = 1.5
    smooth = ndimage.gaussian_filter(pulls, sigma, truncate=3.0)
    # white noise smoothed by a Gaussian keeps 1 / (2 sigma sqrt(pi)) of its width
    limit = _SOURCE_SIGMA / (2.0 * sigma * np.sqrt(np.pi)) * 1.5
    grown: BoolArray = ndimage.binary_dilation(smooth > limit, iterations=2)
    # bright sources have wings far beyond any fixed growth: the brighter, the wider
    bright = ndimage.uniform_filter(pulls, 5) > 20.0
    if bright.any():
        grown |= ndimage.binary_dilation(bright, iterations=10)
    return grown


def _require_noise(data: FloatArray, bad: BoolArray) -> None:
    """Refuse a frame whose usable pixels all hold one value."""
    good = data[~bad]
    if float(good.max()) == float(good.min()):
        msg = "the frame is constant: it has no noise and no sky to measure"
        raise AlgorithmError(msg, value=float(good.min()), n_good=int(good.size))


def _box_size(shape: tuple[int, int], box: int) -> int:
    """Box width that leaves at least four boxes along the shorter side."""
    return max(_MIN_BOX, min(box, min(shape) // 4))


def _positive(noise: FloatArray) -> FloatArray:
    """The noise map with empty boxes replaced by the typical noise, so that it can divide."""
    # the map varies over boxes of many pixels: every fourth tells its median
    known = noise[::4, ::4]
    known = known[np.isfinite(known) & (known > 0)]
    if known.size == 0:
        msg = "the sky has no measurable noise"
        raise AlgorithmError(msg, noise=0.0)
    typical = np.float32(np.median(known))
    floor = np.float32(0.05) * typical
    return np.where(np.isfinite(noise) & (noise > floor), noise, typical).astype(np.float32)


def _calibrate(
    data: FloatArray, fit: sep.Background, *, sky: BoolArray, sources: BoolArray
) -> Background:
    """Shift and stretch the fitted maps until source-free pulls have median 0 and width 1."""
    level = np.asarray(fit.back(), dtype=np.float32)
    noise_map = _positive(np.asarray(fit.rms(), dtype=np.float32))
    rows, columns = _sample(sky)
    pulls = (data[rows, columns] - level[rows, columns]) / noise_map[rows, columns]
    centre, width = robust_width(pulls)
    noise_map *= np.float32(width)
    typical = _typical(noise_map)
    level += np.float32(centre * typical / width)
    return Background(level, noise_map, typical, _typical(level), sources)


def _typical(smooth: FloatArray) -> float:
    """Median of a map that varies over boxes of many pixels: every fourth pixel tells it."""
    return float(np.median(smooth[::4, ::4]))


def _sample(sky: BoolArray, most: int = 1_000_000) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions of at most about ``most`` sky pixels, evenly spread over the frame."""
    flat = np.flatnonzero(sky)
    # an odd stride does not lock onto even-odd column patterns
    stride = max(1, flat.size // most) | 1
    rows, columns = np.unravel_index(flat[::stride], sky.shape)
    return rows, columns


def robust_width(values: NDArray[np.floating]) -> tuple[float, float]:
    """Centre and Gaussian width of values whose upper wing may hold faint sources.

    The width follows the lower half, which sources do not reach; where the values are so
    coarsely digitised that percentiles coincide, the clipped standard deviation is used.

    Returns
    -------
    tuple of float
        Centre and width, in the units of ``values``.
    """
    kept = values
    for _ in range(3):
        centre = float(np.median(kept))
        width = (centre - float(np.percentile(kept, 15.865))) or float(kept.std())
        kept = values[np.abs(values - centre) < 3.0 * width] if width > 0 else values
    below, above = _half_widths(kept - centre)
    # photon noise makes the upper half a few per cent wider; more than that is faint sources
    half_width = 0.5 * (below + min(above, 1.06 * below))
    # clipping a Gaussian at 3 sigma removes 1.3 % of its width
    half_width /= 0.9866
    return centre, (half_width if half_width > 0 else float(values.std()))


def _half_widths(offsets: NDArray[np.floating]) -> tuple[float, float]:
    """Root mean square of the negative and of the positive offsets; zeros count half to each."""
    squares = np.square(offsets, dtype=np.float64)
    negative, positive = offsets < 0, offsets > 0
    n_zero = offsets.size - int(negative.sum()) - int(positive.sum())
    below = squares[negative].sum() / max(int(negative.sum()) + 0.5 * n_zero, 1.0)
    above = squares[positive].sum() / max(int(positive.sum()) + 0.5 * n_zero, 1.0)
    return float(np.sqrt(below)), float(np.sqrt(above))
