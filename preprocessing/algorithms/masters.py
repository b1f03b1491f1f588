"""Master bias, dark and flat: what many frames say together, with variance and bad pixels."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import BoolArray, MaskPlane, is_bad
from preprocessing.algorithms.combine import Combined, combine_frames

FloatArray = NDArray[np.float32]

_TILE = 32
# a pixel is hot when its dark current adds this many times the noise of one dark frame
_HOT_SIGMA = 5.0
# a pixel is dead, or too bright, when its response is this far from its neighbourhood's
_RESPONSE_LIMIT = 0.2
_RESPONSE_SIGMA = 6.0
# pixels below this response cannot be divided by
_LEAST_RESPONSE = 0.05
# median change of a master, in units of one frame's noise (bias, dark) or of 1 (flat)
_LEVEL_LIMITS = {"bias": 1.0, "dark": 1.0, "flat": 0.01}
_WIDTH_LIMIT = 2.0
_CHANGED_SIGMA = 6.0
_CHANGED_LIMIT = 0.01


@dataclass(frozen=True)
class Master:
    """A combined calibration frame.

    Attributes
    ----------
    image : Image
        Its data with variance; ``BAD_PIXEL`` and ``NO_DATA`` in the mask. Bias and dark in data
        units, the dark's ``exposure_s`` saying for how long; the flat around 1.
    noise : float
        Median standard deviation of a pixel of one of its frames, in the master's units.
    level : float
        Median of the master; of the flat, the median signal of its frames [data units].
    n_frames, n_clipped, n_bad : int
        Frames combined, values left out as outliers, pixels found bad.
    """

    image: Image
    noise: float
    level: float
    n_frames: int
    n_clipped: int
    n_bad: int


def build_bias(stack: FloatArray) -> Master:
    """Combine bias frames, overscan removed where there is one.

    Parameters
    ----------
    stack : NDArray[float32], shape (n, ny, nx)
        Frames [data units]; NaN is no value.

    Raises
    ------
    AlgorithmError
        If there are fewer than 3 frames.
    """
    combined = combine_frames(stack)
    return _master(combined, bad=combined.noisy, n_frames=len(stack))


def build_dark(stack: FloatArray, *, exposure_s: float) -> Master:
    """Combine dark frames of one exposure time; hot pixels become bad pixels.

    Its variance is that of bias and dark together: the bias cancels where both are subtracted.

    Parameters
    ----------
    stack : NDArray[float32], shape (n, ny, nx)
        Frames [data units], bias removed.
    exposure_s : float
        Their exposure time [s].

    Raises
    ------
    AlgorithmError
        If there are fewer than 3 frames.
    """
    combined = combine_frames(stack)
    typical = float(np.median(combined.noise))
    excess = combined.mean - neighbourhood(combined.mean)
    hot = np.abs(excess) > _HOT_SIGMA * np.maximum(combined.noise, np.float32(typical))
    master = _master(combined, bad=combined.noisy | hot, n_frames=len(stack))
    image = master.image.with_(exposure_s=exposure_s)
    return Master(image, master.noise, master.level, master.n_frames, master.n_clipped,
                  master.n_bad)  # fmt: skip


def build_flat(stack: FloatArray, *, levels: NDArray[np.float64]) -> Master:
    """Combine flats, each divided by its own level; dead and odd pixels become bad pixels.

    Parameters
    ----------
    stack : NDArray[float32], shape (n, ny, nx)
        Frames divided by ``levels``; bias and dark removed.
    levels : NDArray[float64], shape (n,)
        Signal of each frame [data units].

    Returns
    -------
    Master
        With a median of 1 over good pixels.

    Raises
    ------
    AlgorithmError
        If there are fewer than 3 frames.
    """
    combined = combine_frames(stack)
    local = neighbourhood(combined.mean)
    error = np.sqrt(combined.noise**2 / np.maximum(combined.n_used, 1))
    off = np.abs(combined.mean - local)
    dead = off > np.maximum(_RESPONSE_LIMIT * local, _RESPONSE_SIGMA * error)
    # the scatter of a bright pixel in flats is photons, not a fault: noisy pixels are not told here
    bad = grow_columns(dead | (combined.mean < _LEAST_RESPONSE))
    master = _master(combined, bad=bad, n_frames=len(stack))
    good = ~is_bad(master.image.mask)
    if not good.any():
        msg = "no pixel of the flats sees light"
        raise AlgorithmError(msg, n_frames=len(stack))
    unit = np.float32(np.median(master.image.data[good]))
    image = master.image.with_(
        data=master.image.data / unit, variance=combined.variance / unit**2, unit=""
    )
    return Master(
        image=image,
        noise=master.noise / float(unit),
        level=float(np.median(levels)),
        n_frames=master.n_frames,
        n_clipped=master.n_clipped,
        n_bad=master.n_bad,
    )


def _master(combined: Combined, *, bad: BoolArray, n_frames: int) -> Master:
    mask = np.zeros(combined.mean.shape, dtype=np.uint16)
    mask[bad] |= np.uint16(MaskPlane.BAD_PIXEL)
    mask[combined.n_used == 0] |= np.uint16(MaskPlane.BAD_PIXEL | MaskPlane.NO_DATA)
    good = mask == 0
    return Master(
        image=Image(data=combined.mean, mask=mask, variance=combined.variance),
        noise=float(np.median(combined.noise)),
        level=float(np.median(combined.mean[good])) if good.any() else 0.0,
        n_frames=n_frames,
        n_clipped=combined.n_clipped,
        n_bad=int((mask != 0).sum()),
    )


def neighbourhood(data: FloatArray, *, tile: int = _TILE) -> FloatArray:
    """Level around each pixel: medians of tiles, joined by straight lines between their centres.

    Parameters
    ----------
    data : NDArray[float32], shape (ny, nx)
        Frame.
    tile : int
        Width of a tile [pix].
    """
    ny, nx = data.shape
    tall, wide = max(ny // tile, 1), max(nx // tile, 1)
    edges_y = np.linspace(0, ny, tall + 1).astype(int)
    edges_x = np.linspace(0, nx, wide + 1).astype(int)
    medians = np.array(
        [
            [np.median(data[y0:y1, x0:x1]) for x0, x1 in itertools.pairwise(edges_x)]
            for y0, y1 in itertools.pairwise(edges_y)
        ]
    )
    rows = (np.arange(ny) + 0.5) / ny * tall - 0.5
    columns = (np.arange(nx) + 0.5) / nx * wide - 0.5
    y_weights = _line_weights(rows, tall)
    x_weights = _line_weights(columns, wide)
    return np.asarray(y_weights @ medians @ x_weights.T, dtype=np.float32)


def _line_weights(places: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Weights of n nodes at places between them; the slope goes on beyond the first and last."""
    weights = np.zeros((len(places), n))
    if n == 1:
        weights[:, 0] = 1.0
        return weights
    low = np.clip(np.floor(places).astype(int), 0, n - 2)
    share = places - low
    rows = np.arange(len(places))
    weights[rows, low] = 1.0 - share
    weights[rows, low + 1] = share
    return weights


@dataclass(frozen=True)
class Comparison:
    """A master against the one before it.

    Attributes
    ----------
    verdict : str
        "first" without a predecessor, "pass", or "changed".
    reasons : tuple of str
        What changed, with numbers.
    numbers : dict
        ``level_change`` (median, in units of one frame's noise, or of 1 for flats), ``width``
        (robust width of the differences in units of their errors; 1 is pure noise),
        ``changed_fraction`` (pixels off by more than 6 sigma), ``new_bad`` and ``lost_bad``
        (pixels), ``noise_ratio``.
    """

    verdict: str
    reasons: tuple[str, ...] = ()
    numbers: dict[str, float | int] = field(default_factory=dict)


def compare_masters(new: Master, last: Master | None, *, kind: str) -> Comparison:
    """Say whether a master is like the last one of its kind.

    Parameters
    ----------
    new, last : Master
        Masters of one camera and one kind (band, exposure).
    kind : str
        "bias", "dark" or "flat".
    """
    if last is None:
        return Comparison("first")
    if new.image.shape != last.image.shape:
        return Comparison("changed", ("the geometry is another",))
    both = ~is_bad(new.image.mask) & ~is_bad(last.image.mask)
    difference = (new.image.data - last.image.data)[both].astype(np.float64)
    variance = _variance(new)[both] + _variance(last)[both]
    pulls = difference / np.sqrt(np.maximum(variance, 1e-30))
    shift = float(np.median(difference))
    centred = pulls - np.median(pulls)
    level_unit = 1.0 if kind == "flat" else max(new.noise, 1e-30)
    was_bad, is_now = is_bad(last.image.mask), is_bad(new.image.mask)
    numbers: dict[str, float | int] = {
        "level_change": shift / level_unit,
        "width": float(1.4826 * np.median(np.abs(centred))),
        "changed_fraction": float((np.abs(centred) > _CHANGED_SIGMA).mean()),
        "new_bad": int((is_now & ~was_bad).sum()),
        "lost_bad": int((was_bad & ~is_now).sum()),
        "noise_ratio": new.noise / last.noise if last.noise > 0 else 1.0,
    }
    reasons = _reasons(numbers, level_limit=_LEVEL_LIMITS[kind])
    return Comparison("changed" if reasons else "pass", reasons, numbers)


def _variance(master: Master) -> FloatArray:
    if master.image.variance is None:
        msg = "master: has no variance"
        raise ValueError(msg)
    return master.image.variance


def _reasons(numbers: dict[str, float | int], *, level_limit: float) -> tuple[str, ...]:
    found = []
    if abs(numbers["level_change"]) > level_limit:
        found.append(f"its level moved by {numbers['level_change']:.3g} (limit {level_limit:g})")
    if numbers["width"] > _WIDTH_LIMIT:
        found.append(
            f"its pattern differs {numbers['width']:.2f} times as much as noise explains "
            f"(limit {_WIDTH_LIMIT:g})"
        )
    if numbers["changed_fraction"] > _CHANGED_LIMIT:
        found.append(
            f"{100 * numbers['changed_fraction']:.2g} % of its pixels changed "
            f"(limit {100 * _CHANGED_LIMIT:g} %)"
        )
    if not 0.67 < numbers["noise_ratio"] < 1.5:
        found.append(f"its frames are {numbers['noise_ratio']:.2f} times as noisy as the last ones")
    return tuple(found)


def grow_columns(bad: BoolArray, *, share: float = 0.4) -> BoolArray:
    """Columns of which a large part is bad, filled between their first and last bad pixel.

    Parameters
    ----------
    bad : NDArray[bool], shape (ny, nx)
        Bad pixels.
    share : float
        Part of the span that must be bad.
    """
    grown = bad.copy()
    counts = bad.sum(axis=0)
    for column in np.flatnonzero(counts >= max(8, _TILE)):
        rows = np.flatnonzero(bad[:, column])
        span = int(rows[-1] - rows[0]) + 1
        if counts[column] >= share * span:
            grown[rows[0] : rows[-1] + 1, column] = True
    return grown
