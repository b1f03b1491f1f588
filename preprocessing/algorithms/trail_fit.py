"""One line on a frame: is it a trail, where does it lie, how wide is it, where does it end?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.masks import BoolArray
from preprocessing.algorithms.trail_strip import (
    SEGMENT,
    Line,
    Strip,
    across_frame,
    cut_strip,
    mean_profile,
)

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]

_REACH_FWHM = 8.0
_LEAST_REACH = 20
_MINSEGMENTS = 8
_MIN_LENGTH_FWHM = 30.0
_MIN_SIGNIFICANCE = 9.0
#: A segment shows the trail at half to twice the typical significance. Of n segments 65 % and
#: 1.3 must: in simulated fields trails reach 80 to 100 % and stars in line 20 to 60 %.
_SEEN_RANGE = (0.5, 2.0)
_SEEN_SHARE, _SEEN_MORE = 0.65, 1.3
#: Their scatter in units of the typical one, for 21 segments and more; few must agree better, for
#: few stars in line agree by chance more often than many.
_MAX_SCATTER = 0.65
_FEW_SCATTER, _FEW_SEGMENTS = 0.3, 30.0
#: A line narrower than this share of the PSF is a detector's.
_MIN_WIDTH_FWHM = 0.6
#: Sky left and right of a trail may differ by this share of its height.
_MAX_STEP = 0.4
#: The mask reaches to where the profile falls below this [sigma].
_MASK_LEVEL = 0.15
_MEDIAN_LOSS = 1.2533
#: Least distance between the places beside a line that are compared with it [pix].
_SIDE_STEP = 4
#: The middle of a trail by which its ends are told reaches this far [pix].
_END_CORE = 1.0


@dataclass(frozen=True)
class Trail:
    """A fitted trail.

    Attributes
    ----------
    line : Line
        Its axis between its ends; an end at the border of the frame is where it leaves it.
    fwhm_pix : float
        Full width at half maximum of its cross profile [pix].
    half_width_pix : float
        Distance from the axis to which it is masked [pix].
    peak : float
        Height of the cross profile [data units per pixel].
    significance : float
        Of all its segments together, over what the sky beside it shows by chance.
    """

    line: Line
    fwhm_pix: float
    half_width_pix: float
    peak: float
    significance: float

    def in_words(self) -> str:
        """What the log of a frame says of it."""
        line = self.line
        x0, y0, x1, y1 = (round(value) for value in (line.x0, line.y0, line.x1, line.y1))
        return (
            f"satellite trail from ({x0}, {y0}) to ({x1}, {y1}), "
            f"masked over {2 * self.half_width_pix:.0f} pixels"
        )


def fit_trail(
    data: FloatArray, bad: BoolArray, line: Line, *, noise: float, fwhm_pix: float
) -> Trail | None:
    """Fit a trail to the pixels around a line, or None where no trail is there.

    Parameters
    ----------
    data : NDArray[float32], shape (ny, nx)
        Background-subtracted pixels.
    bad : NDArray[bool], shape (ny, nx)
        Pixels to leave out.
    line : Line
        A part of the trail, good to a few pixels.
    noise : float
        Standard deviation of the sky.
    fwhm_pix : float
        Width of the PSF [pix].

    Returns
    -------
    Trail or None

    Notes
    -----
    The strip along the line is cut into segments of 24 pixels; the median along each leaves a
    trail and takes out a star, which fills a few of those pixels. A trail is a profile at least
    as wide as a star that most of the segments between its ends show alike. Stars in
    line, galaxies, spikes and steps of the background show in some, unlike, or on one side.
    """
    reach = int(max(_LEAST_REACH, round(_REACH_FWHM * fwhm_pix)))
    trail = None
    # what the search saw is a part; the whole trail tells its own direction better
    for rounds in (3, 1, 1):
        for _ in range(rounds):
            moved = _centre(data, bad, line, noise=noise, reach=reach, fwhm_pix=fwhm_pix)
            if moved is None:
                return None
            line = moved
        trail = _measure(data, bad, line, noise=noise, reach=reach, fwhm_pix=fwhm_pix)
        if trail is None:
            return None
        line = trail.line
    if trail is None:
        return None
    ends = _find_ends(data, bad, trail, noise=noise, reach=reach)
    return replace(trail, line=ends)


def _find_ends(data: FloatArray, bad: BoolArray, trail: Trail, *, noise: float, reach: int) -> Line:
    """The trail's axis up to the pixels where its light ends, a segment and a half away at most.

    Segments tell an end to 24 pixels; what a mask leaves of it would be a source.
    """
    margin = 1.5 * SEGMENT
    whole, start, _ = across_frame(trail.line, data.shape)
    low, high = start, start + trail.line.length
    ends = []
    for end, sign in ((low, -1.0), (high, 1.0)):
        along = end + sign * np.arange(-margin, margin + 0.5)
        light = _light_along(data, bad, whole, along, reach=reach) / noise
        height = float(np.nanmedian(light[: len(light) // 3])) if np.isfinite(light).any() else 0.0
        if not height > 0:
            ends.append(end)
            continue
        # a star weighs no more than two pixels of the trail, an unknown pixel nothing
        gain = np.clip(np.where(np.isfinite(light), light / height, 0.5), -1.0, 2.0) - 0.5
        ends.append(float(along[int(np.cumsum(gain).argmax())] + 0.5 * sign))
    return whole.part(max(ends[0], 0.0), min(ends[1], whole.length))


def _light_along(
    data: FloatArray, bad: BoolArray, line: Line, along: Float64, *, reach: int
) -> Float64:
    """Mean light of the middle of a line over that beside it, pixel by pixel; NaN if not known."""
    ny, nx = data.shape
    across = np.arange(-reach, reach + 1, dtype=np.float64)
    x, y = line.at(along[:, None], across[None, :])
    columns, rows = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    inside = (columns >= 0) & (columns < nx) & (rows >= 0) & (rows < ny)
    at = np.where(inside, rows * nx + columns, 0)
    values = np.where(inside & ~bad.ravel()[at], data.ravel()[at], np.nan)
    core, wing = np.abs(across) <= _END_CORE, np.abs(across) > 0.5 * reach
    known = np.isfinite(values[:, core]).all(axis=1) & np.isfinite(values[:, wing]).any(axis=1)
    light = np.full(len(along), np.nan)
    light[known] = values[known][:, core].mean(axis=1)
    light[known] -= np.nanmedian(values[known][:, wing], axis=1)
    return light


def _measure(
    data: FloatArray, bad: BoolArray, line: Line, *, noise: float, reach: int, fwhm_pix: float
) -> Trail | None:
    """The trail along the line that a piece of it gives, from end to end."""
    whole, start, end = across_frame(line, data.shape)
    strip = cut_strip(data, bad, whole, noise=noise, reach=reach)
    n = len(strip.rows)
    seed = slice(max(0, int(start // SEGMENT)), min(n, int(end // SEGMENT) + 1))
    profile = mean_profile(strip.rows[seed])
    if profile is None or not _is_ridge(profile, fwhm_pix=fwhm_pix):
        return None
    seen = _significances(strip, profile)
    typical = float(np.nanmedian(seen[seed])) if np.isfinite(seen[seed]).any() else 0.0
    if not typical > 0:
        return None
    run = slice(*_extent(seen / typical))
    # where stars are dense, they and not the noise make segments differ
    seen = seen / _side_scatter(strip, profile)
    return _judge(strip, seen, whole, run, noise=noise, fwhm_pix=fwhm_pix)


def _judge(
    strip: Strip,
    seen: Float64,
    whole: Line,
    run: slice,
    *,
    noise: float,
    fwhm_pix: float,
) -> Trail | None:
    """The trail between two segments, if it is one."""
    values = seen[run][np.isfinite(seen[run])]
    n = run.stop - run.start
    if len(values) < _MINSEGMENTS or n * SEGMENT < _MIN_LENGTH_FWHM * fwhm_pix:
        return None
    middle = float(np.median(values))
    low, high = _SEEN_RANGE
    n_seen = int(((values > low * middle) & (values < high * middle)).sum())
    scatter = 1.4826 * float(np.median(np.abs(values - middle))) / middle
    most = _MAX_SCATTER * min(1.0, _FEW_SCATTER + len(values) / _FEW_SEGMENTS)
    is_even = n_seen >= _SEEN_SHARE * len(values) + _SEEN_MORE and scatter < most
    significance = middle * float(np.sqrt(len(values)))
    profile = mean_profile(strip.rows[run])
    if profile is None or not is_even or significance < _MIN_SIGNIFICANCE:
        return None
    if not _is_ridge(profile, fwhm_pix=fwhm_pix):
        return None
    width = _width(profile)
    line = whole.part(run.start * SEGMENT, min(run.stop * SEGMENT, whole.length))
    return Trail(
        line=line,
        fwhm_pix=width,
        half_width_pix=_mask_reach(profile, n_segments=len(values)),
        peak=float(profile.max()) * noise,
        significance=significance,
    )


def _centre(
    data: FloatArray, bad: BoolArray, line: Line, *, noise: float, reach: int, fwhm_pix: float
) -> Line | None:
    """The line moved and turned onto the ridge that its two halves show."""
    strip = cut_strip(data, bad, line, noise=noise, reach=reach)
    n = len(strip.rows)
    if n < 2:
        return None
    offsets = []
    for part in (strip.rows[: n // 2], strip.rows[n // 2 :]):
        profile = mean_profile(part)
        if profile is None:
            return None
        offsets.append(_ridge_position(profile, strip.across, fwhm_pix=fwhm_pix))
    slope = (offsets[1] - offsets[0]) / (0.5 * line.length)
    shift0 = offsets[0] - 0.25 * line.length * slope
    shift1 = shift0 + line.length * slope
    x, y = line.at(np.array([0.0, line.length]), np.array([shift0, shift1]))
    return Line(float(x[0]), float(y[0]), float(x[1]), float(y[1]))


def _ridge_position(profile: Float64, across: Float64, *, fwhm_pix: float) -> float:
    """Where a cross profile peaks after smoothing by the PSF: its centroid there."""
    sigma = max(fwhm_pix / 2.355, 0.8)
    offset = np.arange(-int(np.ceil(3 * sigma)), int(np.ceil(3 * sigma)) + 1)
    kernel = np.exp(-0.5 * (offset / sigma) ** 2)
    smooth = np.convolve(profile, kernel, mode="same")
    # a ridge near the middle is the one the search saw
    smooth = smooth * np.exp(-0.5 * (across / (0.5 * across[-1])) ** 2)
    peak = int(smooth.argmax())
    near = slice(max(0, peak - len(offset) // 2), peak + len(offset) // 2 + 1)
    weight = np.maximum(profile[near], 0.0)
    return float((weight * across[near]).sum() / weight.sum()) if weight.any() else 0.0


def _is_ridge(profile: Float64, *, fwhm_pix: float) -> bool:
    """Whether a profile is a peak in the middle, as wide as the PSF, on level ground."""
    middle = len(profile) // 2
    peak = int(profile.argmax())
    height = float(profile[peak])
    if height <= 0 or abs(peak - middle) > max(3.0, 1.5 * fwhm_pix):
        return False
    left, right = (float(np.median(side)) for side in np.array_split(_wings(profile), 2))
    return abs(left - right) < _MAX_STEP * height and _width(profile) > _MIN_WIDTH_FWHM * fwhm_pix


def _wings(profile: Float64) -> Float64:
    """The outer quarters of a profile, left then right."""
    quarter = len(profile) // 4
    return np.concatenate([profile[:quarter], profile[-quarter:]])


def _width(profile: Float64) -> float:
    """Full width at half maximum, straight lines between pixels."""
    peak = int(profile.argmax())
    half = 0.5 * float(profile[peak])
    return _fall(profile[peak:], half) + _fall(profile[peak::-1], half)


def _fall(values: Float64, level: float) -> float:
    """Distance at which values first fall to a level."""
    below = np.flatnonzero(values <= level)
    if below.size == 0:
        return float(len(values))
    i = int(below[0])
    return i - 1 + float((values[i - 1] - level) / max(values[i - 1] - values[i], 1e-12))


def _significances(strip: Strip, profile: Float64) -> Float64:
    """Significance of the profile in each segment; NaN where it cannot be told."""
    core = np.where(profile > 0.1 * profile.max(), profile, 0.0)
    known = np.isfinite(strip.rows)
    weight = np.where(known, core, 0.0)
    power = np.square(weight).sum(axis=1)
    signal = (weight * np.where(known, strip.rows, 0.0)).sum(axis=1)
    enough = power > 0.5 * np.square(core).sum()
    error = _MEDIAN_LOSS / np.sqrt(SEGMENT) * np.sqrt(np.where(enough, power, 1.0))
    return np.where(enough, signal / error, np.nan)


def _side_scatter(strip: Strip, profile: Float64) -> float:
    """Scatter of the same profile's significance beside the line, at least 1."""
    width = max(_SIDE_STEP, round(_width(profile)))
    reach = len(strip.across) // 2
    beside = [
        _significances(strip, _shifted(profile, sign * shift))
        for shift in range(2 * width, reach - width + 1, width)
        for sign in (-1, 1)
    ]
    values = np.concatenate(beside) if beside else np.zeros(0)
    values = values[np.isfinite(values)]
    if len(values) < _MINSEGMENTS:
        return 1.0
    return max(1.0, 1.4826 * float(np.median(np.abs(values - np.median(values)))))


def _shifted(profile: Float64, shift: int) -> Float64:
    """A profile moved along itself, its core only."""
    core = np.where(profile > 0.1 * profile.max(), profile, 0.0)
    moved = np.zeros_like(core)
    if shift >= 0:
        moved[shift:] = core[: len(core) - shift]
    else:
        moved[:shift] = core[-shift:]
    return moved


def _extent(relative: Float64) -> tuple[int, int]:
    """First and last-plus-one segment of the run that holds the most light over half of typical."""
    gain = np.clip(np.where(np.isfinite(relative), relative, 0.5), -0.5, 1.5) - 0.5
    best, first, last, total, start = 0.0, 0, 0, 0.0, 0
    for number, value in enumerate(gain):
        if total <= 0:
            total, start = 0.0, number
        total += float(value)
        if total > best:
            best, first, last = total, start, number + 1
    return first, last


def _mask_reach(profile: Float64, *, n_segments: int) -> float:
    """Distance from the axis at which a trail is lost in the noise [pix], one pixel more."""
    noise = _MEDIAN_LOSS**2 / np.sqrt(SEGMENT * n_segments)
    level = max(_MASK_LEVEL, 2.0 * noise)
    peak = int(profile.argmax())
    middle = len(profile) // 2
    reach = max(_fall(profile[peak:], level), _fall(profile[peak::-1], level))
    return float(reach + abs(peak - middle) + 1.0)


def trail_pixels(trail: Trail, shape: tuple[int, ...]) -> BoolArray:
    """Pixels that a trail covers over its masked width, ends included."""
    ny, nx = shape
    reach = trail.half_width_pix
    along = np.arange(-reach, trail.line.length + reach + 0.5, 0.5)
    across = np.arange(-reach, reach + 0.25, 0.5)
    x, y = trail.line.at(along[:, None], across[None, :])
    columns, rows = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    inside = (columns >= 0) & (columns < nx) & (rows >= 0) & (rows < ny)
    flags = np.zeros(shape, dtype=np.bool_)
    flags[rows[inside], columns[inside]] = True
    return flags
