"""Satellite trails: straight lines of light across a frame, found, fitted and masked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from astrid_site.imaging.masks import BoolArray, MaskArray, MaskPlane
from preprocessing.algorithms.line_transform import sum_along_lines
from preprocessing.algorithms.trail_fit import Trail, fit_trail, trail_pixels
from preprocessing.algorithms.trail_strip import Line

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: Bins along the longer side of a frame, at most.
_MAX_BINS = 512
#: Shortest line looked for, as a share of those bins.
_SHORTEST_SHARE = 8
_PIXEL_CLIP = 3.0
_BIN_CLIP = 2.5
_SMOOTH_BINS = 31
_LEAST_SCORE = 7.0
_MAX_TRAILS = 8
_MAX_TRIES = 10
_MAX_PEAKS = 4000
#: Two lines whose ends are all nearer than this are one [bins].
_SAME_LINE = 6.0
#: Lines of a periodic background: how many, how wide in units of the PSF and of their distance,
#: how parallel [rad].
_PATTERN_LINES = 3
_PATTERN_FWHM, _PATTERN_WIDTH = 2.0, 0.25
_PARALLEL = 0.07


@dataclass(frozen=True)
class Binned:
    """A frame in bins of unit noise, padded to a square whose side is a power of two.

    Attributes
    ----------
    pulls : NDArray[float32], shape (side, side)
        Zero where nothing is known.
    step : int
        Pixels of the frame per bin, each axis.
    """

    pulls: FloatArray
    step: int


@dataclass(frozen=True)
class Pattern:
    """A background that repeats itself: fringes of a thin detector, electric interference.

    Attributes
    ----------
    n_lines : int
        Lines that were found of it.
    period_pix : float
        Distance from one line to the next [pix].
    height : float
        Of a line over what lies beside it [data units].
    """

    n_lines: int
    period_pix: float
    height: float

    def in_words(self) -> str:
        """What the log of a frame says of it."""
        return (
            f"a background pattern: {self.n_lines} parallel lines, one every "
            f"{self.period_pix:.0f} pixels, {self.height:.2g} high (fringes?); not masked, not "
            "taken off"
        )


def find_trails(
    data: FloatArray, *, bad: BoolArray, noise: float, fwhm_pix: float
) -> tuple[Trail, ...]:
    """Find the satellite trails of a background-subtracted frame.

    Parameters
    ----------
    data : NDArray[float32], shape (ny, nx)
        Background-subtracted pixels.
    bad : NDArray[bool], shape (ny, nx)
        Unusable pixels.
    noise : float
        Standard deviation of a typical sky pixel.
    fwhm_pix : float
        Width of the PSF: nothing narrower is light from the sky.

    Returns
    -------
    tuple of Trail
        Most significant first; empty where there is none.

    Notes
    -----
    Sums along all lines of the binned, clipped frame point to candidates; each is fitted to the
    pixels themselves, where it must be seen in most of its length and not in a few sources that
    happen to lie in line (``fit_trail``). A fitted trail is taken out before the next search.
    """
    if not noise > 0 or min(data.shape) < 2 * _SMOOTH_BINS:
        return ()
    found: list[Trail] = []
    hidden = bad
    while len(found) < _MAX_TRAILS:
        binned = bin_frame(data, hidden, noise=noise)
        fits = (
            fit_trail(data, hidden, line, noise=noise, fwhm_pix=fwhm_pix)
            for line in candidate_lines(binned)
        )
        trail = next((fit for fit in fits if fit is not None), None)
        if trail is None:
            break
        found.append(trail)
        hidden = hidden | trail_pixels(trail, data.shape)
    return tuple(found)


def split_pattern(
    trails: Sequence[Trail], *, fwhm_pix: float
) -> tuple[tuple[Trail, ...], Pattern | None]:
    """Tell the lines of a periodic background (fringes, interference) from satellites.

    Parameters
    ----------
    trails : sequence of Trail
        What was found on a frame.
    fwhm_pix : float
        Width of the PSF.

    Returns
    -------
    tuple
        The trails that are none of its lines, and the pattern, or None.

    Notes
    -----
    At least three parallel lines, each wider than 2 FWHM and than a quarter of the least distance
    between two, all distances multiples of one. Satellites in a row are as narrow as the stars.
    """
    wide = [trail for trail in trails if trail.fwhm_pix > _PATTERN_FWHM * fwhm_pix]
    groups = ([t for t in wide if _angle_between(t.line, first.line) < _PARALLEL] for first in wide)
    group = max(groups, key=len, default=[])
    if len(group) < _PATTERN_LINES:
        return tuple(trails), None
    ux, uy = group[0].line.direction
    middles = [((t.line.x0 + t.line.x1) / 2, (t.line.y0 + t.line.y1) / 2) for t in group]
    places = np.sort([y * ux - x * uy for x, y in middles])
    period = _period(np.diff(places))
    width = float(np.median([trail.fwhm_pix for trail in group]))
    if period is None or width < _PATTERN_WIDTH * period:
        return tuple(trails), None
    height = float(np.median([trail.peak for trail in group]))
    left = tuple(trail for trail in trails if trail not in group)
    return left, Pattern(n_lines=len(group), period_pix=period, height=height)


def _angle_between(one: Line, other: Line) -> float:
    """Angle of two lines, whichever way they run [rad]."""
    (ax, ay), (bx, by) = one.direction, other.direction
    return float(np.arcsin(min(1.0, abs(ax * by - ay * bx))))


def _period(steps: Float64) -> float | None:
    """The distance of which all steps are multiples, to a quarter of it; None if there is none."""
    least = float(steps.min())
    if least < 1.0:
        return None
    counts = np.rint(steps / least)
    period = float(steps.sum() / counts.sum())
    return period if bool((np.abs(steps - counts * period) < 0.25 * period).all()) else None


def mask_trails(mask: MaskArray, trails: Sequence[Trail]) -> MaskArray:
    """The mask with ``TRAIL`` over the fitted width of every trail."""
    if not trails:
        return mask
    flagged = mask.copy()
    for trail in trails:
        flagged[trail_pixels(trail, mask.shape)] |= np.uint16(MaskPlane.TRAIL)
    return flagged


def describe_trails(trails: Sequence[Trail]) -> list[dict[str, float]]:
    """End points, widths [pix], height [data units] and significance of each, for the record."""
    return [
        {
            **{name: round(value, 2) for name, value in asdict(trail.line).items()},
            "fwhm_pix": round(trail.fwhm_pix, 2),
            "half_width_pix": round(trail.half_width_pix, 2),
            "peak": float(f"{trail.peak:.4g}"),
            "significance": round(trail.significance, 1),
        }
        for trail in trails
    ]


def bin_frame(data: FloatArray, bad: BoolArray, *, noise: float) -> Binned:
    """Clip, bin and flatten a frame until lines stand out as much as stars do.

    Clipping each pixel at 3 sigma and each bin at 2.5 leaves a star no more than a bin of a
    bright trail; what is smooth over 31 bins (halos, large galaxies) is taken out.
    """
    ny, nx = data.shape
    step = max(1, -(-max(ny, nx) // _MAX_BINS))
    rows, columns = ny // step, nx // step
    sums = np.empty((rows, columns), dtype=np.float32)
    limit = np.float32(_PIXEL_CLIP * noise)
    # blocks of rows stay in the processor's cache
    block = max(1, 65_536 // (step * nx))
    for first in range(0, rows, block):
        last = min(first + block, rows)
        part = np.s_[first * step : last * step, : columns * step]
        values = np.clip(data[part], -limit, limit)
        values[bad[part]] = 0.0
        tall = values.reshape(last - first, step, columns * step).sum(axis=1)
        wide = tall[:, ::step].copy()
        for offset in range(1, step):
            wide += tall[:, offset::step]
        sums[first:last] = wide
    pulls = sums / np.float32(noise * step)
    pulls -= ndimage.uniform_filter(pulls, _SMOOTH_BINS, mode="nearest")
    sigma = 1.4826 * float(np.median(np.abs(pulls[::3, ::3])))
    side = 1 << (max(rows, columns) - 1).bit_length()
    square = np.zeros((side, side), dtype=np.float32)
    if sigma > 0:
        square[:rows, :columns] = np.clip(pulls / np.float32(sigma), -_BIN_CLIP, _BIN_CLIP)
    return Binned(square, step)


def candidate_lines(binned: Binned) -> list[Line]:
    """Lines of bins that together stand out by 7 sigma, best first; at most ten."""
    side = binned.pulls.shape[0]
    ends: list[Float64] = []
    scores: list[Float64] = []
    for lines in sum_along_lines(binned.pulls, shortest=side // _SHORTEST_SHARE):
        flat = lines.sums.ravel()
        sample = flat[::101]
        sample = sample[sample != 0]
        # stars make neighbouring bins alike: the sums themselves say how they scatter
        sigma = 1.4826 * float(np.median(np.abs(sample))) if sample.size else 0.0
        sigma = max(sigma, float(np.sqrt(lines.length)))
        above = np.flatnonzero(flat > np.float32(_LEAST_SCORE * sigma))
        if above.size > _MAX_PEAKS:
            above = above[np.argpartition(-flat[above], _MAX_PEAKS)[:_MAX_PEAKS]]
        ends.append(lines.ends(above))
        scores.append((flat[above] / sigma).astype(np.float64))
    distinct = _distinct(np.concatenate(ends), np.concatenate(scores))
    return [_to_pixels(line, binned.step) for line in distinct]


def _distinct(ends: Float64, scores: Float64) -> list[Float64]:
    """The best of each bundle of lines that lie on each other."""
    order = np.argsort(-scores, kind="stable")
    left = ends[order]
    chosen: list[Float64] = []
    while len(left) and len(chosen) < _MAX_TRIES:
        best = left[0]
        chosen.append(best)
        left = left[_distances(left, best) > _SAME_LINE]
    return chosen


def _distances(ends: Float64, line: Float64) -> Float64:
    """Greater distance of the ends of lines from another, infinitely long line."""
    along = line[2:] - line[:2]
    normal = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-9)
    first, second = ((ends[:, part] - line[:2]) @ normal for part in (slice(0, 2), slice(2, 4)))
    return np.asarray(np.maximum(np.abs(first), np.abs(second)))


def _to_pixels(ends: Float64, step: int) -> Line:
    """A line of bins in pixels of the frame."""
    x0, y0, x1, y1 = (float(value) for value in ends * step + 0.5 * (step - 1))
    return Line(x0, y0, x1, y1)
