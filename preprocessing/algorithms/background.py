"""Sky level and sky noise of one frame, both as maps, from pixels without sources."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import sep
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import is_bad
from preprocessing.algorithms.sky_mesh import Mesh, box_means, lay_mesh, smooth_mesh, spread
from preprocessing.algorithms.smoothing import gaussian_smooth

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_MIN_BOX = 16
_SOURCE_SIGMA = 2.0
# width of the Gaussian under which sources are looked for [pix]
_SMOOTHING = 1.5
# pull from which on a smoothed pixel belongs to a source with wide wings
_BRIGHT_SIGMA = 20.0
# means of 2 x 2 pixels beyond this pull are sources or defects: four times their noise
_CLIP_PULL = 2.0
# a steep sky needs rounds until no box moves against the others by this share of the noise
_SKY_ROUNDS = 4
_SETTLED = 0.1
_LEAST_TRUST = 0.1
# growth of bright sources for the level: 30 pixels, where stars of 1e5 units and FWHM 6 leave 0.01
# of the noise; sky that must stay, and in a crowd, where the mean of all is 4 to 7 sigma above it
_WING_BLOCKS, _WING_SKY, _LEAST_SKY = 15, 0.3, 0.05
# pulls that fix the width of the noise to 0.1 %
_SAMPLE = 300_000
# step between the pixels that tell the median of a map of boxes: half the least box
_COARSE = 8
_BAND_PIXELS = 2**20
# rows worked on at once: their planes stay in the processor's cache
_STRIP = 64
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

    def at_rows(self, rows: NDArray[np.intp]) -> Background:
        """Noise and sources of some rows of the frame, in that order; without the level."""
        noise_map, sources = self.noise_map[rows], self.sources[rows]
        return replace(self, level=self.level[:0], noise_map=noise_map, sources=sources)


def row_bands(shape: tuple[int, int]) -> NDArray[np.intp]:
    """Rows that stand for a frame: all of a small one, else four bands of together 4 Mpix."""
    ny, nx = shape
    height = _BAND_PIXELS // nx
    if 4 * height >= ny:
        return np.arange(ny)
    starts = np.linspace(0, ny - height, 4).astype(np.intp)
    return np.asarray((starts[:, None] + np.arange(height)).ravel())


def fit_background(image: Image, *, box: int = 64) -> Background:
    """Fit the sky of a frame on a mesh of boxes, sources masked in a second pass.

    Parameters
    ----------
    image : Image
        Frame with its mask; the variance is not used.
    box : int
        Width of a mesh box [pix]; made smaller on small frames.

    Returns
    -------
    Background
        Level and noise; the pulls ``(data - level) / noise_map`` of source-free pixels have a
        robust width of 1 over the frame.

    Raises
    ------
    AlgorithmError
        If every pixel is masked, or the frame is constant and has no noise at all.

    Notes
    -----
    The level of a box is the clipped mean of its pixels over a first sky: on a slope it then
    matters not where sources cover the box. Through the boxes goes a surface as stiff as their
    scatter allows (``smooth_mesh``), which follows moonlight but not the noise of single boxes.

    References
    ----------
    .. [1] Bertin & Arnouts 1996, A&AS 117, 393, section 3 (mesh, clipping and mode).
    """
    bad = is_bad(image.mask)
    n_good = bad.size - int(np.count_nonzero(bad))
    if n_good < _MIN_BOX * _MIN_BOX:
        msg = f"too few usable pixels to measure the sky: {n_good} of {bad.size}"
        raise AlgorithmError(msg, n_good=n_good, n_required=_MIN_BOX * _MIN_BOX)
    _require_noise(image.data, bad)
    data = np.ascontiguousarray(image.data, dtype=np.float32)
    size = _box_size(image.shape, box)
    rough = _settled(_fit_rough(data, bad, box=size))
    sources = _doubled(rough.sources, data.shape)
    left_out = bad | sources
    if np.count_nonzero(left_out) > (1.0 - _MIN_SKY_FRACTION) * bad.size:
        left_out = bad
    levels, mesh = rough.levels, rough.mesh.scaled(image.shape)
    del rough, bad  # the frame's largest moment comes: make room
    level = spread(levels, mesh)
    return _calibrate(data, level, left_out=left_out, sources=sources, box=size)


@dataclass(frozen=True)
class _Rough:
    """A first sky on half the grid, and what stands out of it.

    Attributes
    ----------
    pulls : NDArray[float32], shape (ny / 2, nx / 2)
        Means of 2 x 2 pixels over the sky, in units of a pixel's noise.
    noise : NDArray[float32], shape (ny / 2, nx / 2)
        Noise of a pixel.
    empty, sources : NDArray[bool], shape (ny / 2, nx / 2)
        Where there is no pixel; where there is a source.
    levels : NDArray[float64], shape of the mesh
        The sky's mean over each box.
    mesh : Mesh
        The boxes, on half the grid.
    """

    pulls: FloatArray
    noise: FloatArray
    empty: BoolArray
    sources: BoolArray
    levels: Float64
    mesh: Mesh


def _fit_rough(data: FloatArray, bad: BoolArray, *, box: int) -> _Rough:
    """The sky of clipped boxes, and the sources over it.

    Judged on means of 2 x 2 pixels, a quarter of the work: what is smoothed over four pixels and
    grown by two needs no finer grid.
    """
    means, empty = _halved(data, bad)
    half = box // 2
    mesh = lay_mesh(means.shape, half)
    level, levels = _rough_level(means, empty, mesh, half=half)
    # the noise of a single pixel: that of a mean would grow with unresolved starlight
    single = data[::2, ::2] - level
    noise = sep.Background(
        single, mask=np.ascontiguousarray(bad[::2, ::2]), bw=half, bh=half, fw=3, fh=3
    ).rms()
    noise = _positive(noise)
    means -= level
    means /= noise
    means[empty] = 0.0
    return _Rough(means, noise, empty, _source_blocks(means), levels, mesh)


def _rough_level(
    means: FloatArray, empty: BoolArray, mesh: Mesh, *, half: int
) -> tuple[FloatArray, Float64]:
    """The sky before any source is known, on all blocks and as means of the boxes."""
    boxes = sep.Background(means, mask=empty, bw=half, bh=half, fw=1, fh=1).back()
    rows, columns = mesh.centres()
    values = boxes[np.ix_(rows, columns)].astype(np.float64)
    _, counts = box_means(np.zeros_like(means), empty, mesh, limit=1.0)
    levels = smooth_mesh(values, _trust(counts, mesh), mesh)
    return spread(levels, mesh), levels


def _settled(rough: _Rough) -> _Rough:
    """The sky between the sources, and the sources over that sky.

    A box half covered by a source has its usable pixels on one side, and on a slope their mean is
    not the box's. Over a sky that is nearly right they scatter around 0 wherever they lie.
    """
    rows, columns = rough.mesh.centres()
    noise = rough.noise[np.ix_(rows, columns)].astype(np.float64)
    for _ in range(_SKY_ROUNDS):
        covered = rough.empty | _with_wings(rough)
        pulls, counts = box_means(rough.pulls, covered, rough.mesh, limit=_CLIP_PULL)
        # where all is covered the rough sky is better than none
        trust = np.maximum(_trust(counts, rough.mesh), _LEAST_TRUST)
        levels = smooth_mesh(rough.levels + pulls * noise, trust, rough.mesh)
        change = levels - rough.levels
        rough = replace(rough, levels=levels)
        # an offset alone displaces no box against another
        if np.abs((change - np.median(change)) / noise).max() < _SETTLED:
            break
        rough.pulls[...] -= spread(change, rough.mesh) / rough.noise
        rough.pulls[rough.empty] = 0.0
        rough = replace(rough, sources=_source_blocks(rough.pulls))
    return rough


def _trust(counts: Float64, mesh: Mesh) -> Float64:
    """Share of half a box that is known."""
    return np.asarray(np.minimum(counts / (0.5 * mesh.area()), 1.0))


def _with_wings(rough: _Rough) -> BoolArray:
    """Sources with the far wings of the bright ones, or without, or none: as leaves enough sky."""
    bright = rough.pulls > _BRIGHT_SIGMA
    with_wings = rough.sources | _grown(bright, _WING_BLOCKS)
    for covered, least in ((with_wings, _WING_SKY), (rough.sources, _LEAST_SKY)):
        if np.count_nonzero(covered) < (1.0 - least) * covered.size:
            return covered
    return np.zeros_like(bright)


def _source_blocks(pulls: FloatArray) -> BoolArray:
    """Blocks of sources: connected and significant after smoothing, grown into their wings."""
    smooth = gaussian_smooth(pulls, _SMOOTHING / 2.0)
    # white noise smoothed by a Gaussian keeps 1 / (2 sigma sqrt(pi)) of its width
    limit = _SOURCE_SIGMA / (2.0 * _SMOOTHING * np.sqrt(np.pi)) * 1.5
    grown = _grown(smooth > limit, 1)
    # bright sources have wings far beyond any fixed growth: the brighter, the wider
    bright = smooth > _BRIGHT_SIGMA
    if bright.any():
        grown |= _grown(bright, 5)
    return grown


def _halved(data: FloatArray, bad: BoolArray) -> tuple[FloatArray, BoolArray]:
    """Means of the good pixels of 2 x 2 blocks, and the blocks that have none."""
    ny, nx = data.shape
    means = np.empty(((ny + 1) // 2, (nx + 1) // 2), dtype=np.float32)
    empty = np.empty(means.shape, dtype=np.bool_)
    for first in range(0, ny, _STRIP):
        rows, half_rows = slice(first, first + _STRIP), slice(first // 2, (first + _STRIP) // 2)
        kept = np.where(bad[rows], np.float32(0), data[rows])
        good = (~bad[rows]).view(np.uint8)
        if ny % 2 and first + _STRIP >= ny:
            kept, good = (np.pad(part, ((0, 1), (0, 0))) for part in (kept, good))
        kept, good = kept[::2] + kept[1::2], good[::2] + good[1::2]
        if nx % 2:
            kept, good = (np.pad(part, ((0, 0), (0, 1))) for part in (kept, good))
        count = good[:, ::2] + good[:, 1::2]
        np.divide(kept[:, ::2] + kept[:, 1::2], np.maximum(count, 1), out=means[half_rows])
        np.equal(count, 0, out=empty[half_rows])
    return means, empty


def _doubled(flags: BoolArray, shape: tuple[int, ...]) -> BoolArray:
    """Each flag as 2 x 2 pixels of a frame of ``shape``."""
    ny, nx = shape
    wide = np.empty((len(flags), nx), dtype=np.bool_)
    wide[:, ::2], wide[:, 1::2] = flags, flags[:, : nx // 2]
    doubled = np.empty((ny, nx), dtype=np.bool_)
    doubled[::2], doubled[1::2] = wide, wide[: ny // 2]
    return doubled


def _grown(flags: BoolArray, steps: int) -> BoolArray:
    """Flags grown by ``steps`` into the four neighbours of each; quicker than a dilation."""
    grown = flags.copy()
    for _ in range(steps):
        before = grown.copy()
        grown[1:] |= before[:-1]
        grown[:-1] |= before[1:]
        grown[:, 1:] |= before[:, :-1]
        grown[:, :-1] |= before[:, 1:]
    return grown


def _require_noise(data: FloatArray, bad: BoolArray) -> None:
    """Refuse a frame whose usable pixels all hold one value."""
    some = data[::16][~bad[::16]]
    if some.size and float(some.max()) > float(some.min()):
        return
    good = data[~bad]
    if float(good.max()) == float(good.min()):
        msg = "the frame is constant: it has no noise and no sky to measure"
        raise AlgorithmError(msg, value=float(good.min()), n_good=int(good.size))


def _box_size(shape: tuple[int, int], box: int) -> int:
    """Box width that leaves at least four boxes along the shorter side."""
    return max(_MIN_BOX, min(box, min(shape) // 4))


def _positive(noise: FloatArray) -> FloatArray:
    """The noise map with empty boxes replaced by the typical noise, so that it can divide."""
    known = noise[::_COARSE, ::_COARSE]
    known = known[np.isfinite(known) & (known > 0)]
    if known.size == 0:
        msg = "the sky has no measurable noise"
        raise AlgorithmError(msg, noise=0.0)
    typical = np.float32(np.median(known))
    floor = np.float32(0.05) * typical
    # NaN compares false
    if noise.min() > floor and noise.max() < np.inf:
        return noise
    return np.where((noise > floor) & (noise < np.inf), noise, typical).astype(np.float32)


def _calibrate(
    data: FloatArray, level: FloatArray, *, left_out: BoolArray, sources: BoolArray, box: int
) -> Background:
    """Measure the noise: source-free pulls then have width 1."""
    noise_map = _noise_over(data, level, left_out, box=box)
    _, width = robust_width(_sample_pulls(data, level, noise_map, left_out=left_out))
    noise_map *= np.float32(width)
    typical = _typical(noise_map)
    return Background(level, noise_map, typical, _typical(level), sources)


def _noise_over(
    data: FloatArray, level: FloatArray, left_out: BoolArray, *, box: int
) -> FloatArray:
    """Noise of a pixel over the sky in boxes, from every other row of it."""
    over, left_out = data[::2] - level[::2], np.ascontiguousarray(left_out[::2])
    boxes = sep.Background(over, mask=left_out, bw=box, bh=box // 2, fw=3, fh=3)
    del over, left_out
    return np.repeat(_positive(boxes.rms()), 2, axis=0)[: len(data)]


def _typical(smooth: FloatArray) -> float:
    """Median of a map that varies over boxes of many pixels."""
    return float(np.median(smooth[::_COARSE, ::_COARSE]))


def _sample_pulls(
    data: FloatArray, level: FloatArray, noise_map: FloatArray, *, left_out: BoolArray
) -> FloatArray:
    """Pulls of about ``_SAMPLE`` sky pixels, evenly spread over the frame."""
    n_sky = left_out.size - int(np.count_nonzero(left_out))
    # every n-th row with n odd does not lock onto even-odd row patterns, nor with whole rows
    # on those of columns
    rows = slice(None, None, max(1, n_sky // _SAMPLE) | 1)
    pulls = (data[rows] - level[rows]) / noise_map[rows]
    return np.asarray(pulls[~left_out[rows]], dtype=np.float32)


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
