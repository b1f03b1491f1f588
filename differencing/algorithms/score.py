"""The score image: significance of a point source at every pixel, true to blank sky."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from differencing.algorithms.tiles import Filtered

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

#: A pixel is blank sky where the template's own signal is below this many sigma. A closer cut
#: would select low template noise, which is part of the difference: at 1.5 sigma its width came
#: out 4 % too small where the template is the noisier image.
_BLANK_SIGMA = 3.0
_MIN_BLANK = 500
_SAMPLE = 2**21
_BANDS = 32
#: Fewer rows than this in a band would leave few pairs of neighbours along y.
_MIN_BAND = 4
_BATCH = 64
#: Less significant light hardly changes the variance; sky is judged in cells of this side [pix].
_STANDS_OUT = 3.5
_CELL_PIX = 64
#: An empirical rescale outside this range means the noise model is wrong, not just coarse.
RESCALE_RANGE = (0.5, 2.0)


@dataclass(frozen=True)
class ModelError:
    """How well the static sky is known where there is light.

    Attributes
    ----------
    flux_fraction : float
        Standard error of a subtracted source's flux, as a share of that flux.
    shift_pix : float
        Standard error of a source's position between the two images, per axis [pix].
    """

    flux_fraction: float = 0.0
    shift_pix: float = 0.0


@dataclass(frozen=True)
class NoiseTruth:
    """The noise measured on blank sky, against the noise propagated.

    Attributes
    ----------
    pull_width : float
        Width of difference / sqrt(propagated variance) on blank sky.
    score_width : float
        Width of the propagated score on blank sky.
    lag1 : float
        Correlation of neighbouring blank-sky pixels of the difference, larger of the two axes.
    n_blank : int
        Blank-sky pixels measured; 0 where there were too few. The widths are then 1, which
        leaves the propagated noise as it is, and nothing is reported as measured.
    """

    pull_width: float
    score_width: float
    lag1: float
    n_blank: int


@dataclass(frozen=True)
class ScoreTruth:
    """What the score is on all usable pixels, chosen by nothing; None without any.

    Attributes
    ----------
    width : float or None
        Robust width of the score, 1 where nothing but noise is left.
    over_3_sigma, over_5_sigma : float or None
        Share of the pixels beyond, of either sign; Gaussian noise has 0.27 % and 6e-7.
    """

    width: float | None
    over_3_sigma: float | None
    over_5_sigma: float | None


def measure_score(score: FloatArray, bad: BoolArray) -> ScoreTruth:
    """Measure the score on every usable pixel, where a PSF that is wrong cannot hide.

    Blank sky tells of the noise alone, and the score is scaled to it: light that a wrong PSF
    leaves around sources lies beside it.

    Parameters
    ----------
    score : NDArray[float32], shape (ny, nx)
        Significance [sigma]; 0 where bad.
    bad : NDArray[bool], shape (ny, nx)
        Pixels that are not usable.
    """
    n_used = int(bad.size - np.count_nonzero(bad))
    bands = sample_bands(score.shape)
    sampled = score[bands][~bad[bands]]
    if n_used == 0 or len(sampled) == 0:
        return ScoreTruth(None, None, None)
    over_3 = over_5 = 0
    for rows in row_batches(len(score)):
        size = np.abs(score[rows])
        size[bad[rows]] = 0.0
        over_3 += int(np.count_nonzero(size > 3.0))
        over_5 += int(np.count_nonzero(size > 5.0))
    return ScoreTruth(
        width=robust_width(sampled), over_3_sigma=over_3 / n_used, over_5_sigma=over_5 / n_used
    )


def row_batches(n_rows: int) -> Iterator[slice]:
    """Rows of a frame, so many at a time that what is made of them stays in the cache."""
    for first in range(0, n_rows, _BATCH):
        yield slice(first, min(first + _BATCH, n_rows))


def blank_sky(filtered: Filtered) -> BoolArray:
    """Good pixels on which neither image shows light."""
    blank = np.empty(filtered.bad.shape, dtype=np.bool_)
    least = np.finfo(np.float32).tiny
    for rows in row_batches(len(blank)):
        limit = np.maximum(filtered.signal_variance[rows], least)
        np.sqrt(limit, out=limit)
        limit *= np.float32(_BLANK_SIGMA)
        np.less(np.abs(filtered.static_signal[rows]), limit, out=blank[rows])
        blank[rows] &= ~filtered.bad[rows]
    return blank


def measure_noise(filtered: Filtered, blank: BoolArray) -> NoiseTruth:
    """Measure on blank sky what the propagated variances claim.

    Widths are 1.4826 times the median absolute value about the median, so that transients and
    residuals do not count.
    """
    n_blank = int(np.count_nonzero(blank))
    if n_blank < _MIN_BLANK:
        return NoiseTruth(pull_width=1.0, score_width=1.0, lag1=0.0, n_blank=0)
    bands = sample_bands(blank.shape)
    used = blank[bands]
    pull = _ratio(filtered.difference[bands], filtered.variance[bands])
    score = _ratio(filtered.signal[bands], filtered.signal_variance[bands])
    pull_width = robust_width(pull[used])
    lags = [_lag1(pull, used, axis=axis, limit=4.0 * pull_width) for axis in (1, 2)]
    return NoiseTruth(
        pull_width=pull_width,
        score_width=robust_width(score[used]),
        lag1=max(lags, key=abs),
        n_blank=n_blank,
    )


def sample_bands(shape: tuple[int, ...]) -> NDArray[np.intp]:
    """Rows (n_bands, height) that stand for a frame: all of a small one, else 32 bands of 2 Mpix.

    Two million pixels tell a width or a correlation to 0.001.
    """
    height = _SAMPLE // (_BANDS * shape[1])
    if height * _BANDS >= shape[0] or height < _MIN_BAND:
        return np.arange(shape[0])[None]
    starts = np.linspace(0, shape[0] - height, _BANDS).astype(np.intp)
    return starts[:, None] + np.arange(height)


def pulls(filtered: Filtered, box: tuple[slice, slice]) -> FloatArray:
    """The difference in units of its propagated noise in a box; 0 where that is not positive."""
    return _ratio(filtered.difference[box], filtered.variance[box])


def robust_width(values: NDArray[np.floating]) -> float:
    """1.4826 times the median absolute deviation from the median."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _ratio(value: FloatArray, variance: FloatArray) -> FloatArray:
    ratio = np.zeros(value.shape, dtype=np.float32)
    # a batch of rows at a time, so that what lies between stays in the cache
    for rows in row_batches(len(value)):
        positive = variance[rows] > 0
        sigma = np.sqrt(variance[rows], where=positive, out=np.ones_like(ratio[rows]))
        np.divide(value[rows], sigma, where=positive, out=ratio[rows])
    return ratio


def _lag1(pull: FloatArray, blank: BoolArray, *, axis: int, limit: float) -> float:
    """Correlation coefficient of neighbouring blank pixels along one axis, clipped."""
    first, second = [slice(None)] * 3, [slice(None)] * 3
    first[axis], second[axis] = slice(None, -1), slice(1, None)
    both = blank[tuple(first)] & blank[tuple(second)]
    a, b = pull[tuple(first)][both], pull[tuple(second)][both]
    if len(a) < 2:
        return 0.0
    a, b = np.clip(a, -limit, limit), np.clip(b, -limit, limit)
    return float(np.mean((a - a.mean()) * (b - b.mean())) / max(a.std() * b.std(), 1e-30))


def make_score(
    filtered: Filtered,
    *,
    error: ModelError,
    noise: NoiseTruth,
    own_variance: float = 0.0,
    in_place: bool = False,
) -> FloatArray:
    """Matched-filter score corrected for source noise, registration and PSF-model error.

    Parameters
    ----------
    filtered : Filtered
        Signal and propagated variances.
    error : ModelError
        Errors of the static sky's subtraction.
    noise : NoiseTruth
        Its ``score_width`` rescales the propagated noise.
    own_variance : float
        What a new source's own photons add to the variance of its signal, per unit flux.
    in_place : bool
        Whether the score takes the place of the signal's variance, which saves a plane.

    Returns
    -------
    NDArray[float32], shape (ny, nx)
        Significance [sigma] of the claim that something is new: over the noise of the sky on
        which nothing is.

    Notes
    -----
    ``S / sqrt(w^2 V + (e T)^2 + s^2 |grad T|^2)`` with signal S, propagated variance V less what
    the source itself adds, blank-sky width w, static signal T, flux error e and shift s: the
    S_corr of [1]_ eqs. 25-33, in which the flux term is ours. It stands for the error of the PSF
    match, which grows with the light subtracted: without it a 0.3 % error on a star of S/N 3000
    is a 9 sigma transient.

    References
    ----------
    .. [1] Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27.
    """
    score = still_variance(filtered, own_variance, in_place=in_place)
    scale = np.float32(_bounded(noise.score_width) ** 2)
    for rows in row_batches(len(score)):
        variance = score[rows]
        variance *= scale
        static = filtered.static_signal[rows]
        if error.flux_fraction > 0:
            variance += np.float32(error.flux_fraction**2) * np.square(static)
        if error.shift_pix > 0:
            variance += np.float32(error.shift_pix**2) * _slope(filtered.static_signal, rows)
        value = _ratio(filtered.signal[rows], variance)
        value[filtered.bad[rows]] = 0.0
        score[rows] = value
    return score


def _slope(plane: FloatArray, rows: slice) -> FloatArray:
    """Squared gradient of some rows of a plane."""
    above, below = max(rows.start - 1, 0), min(rows.stop + 1, len(plane))
    along_y, along_x = np.gradient(plane[above:below])
    squared = np.square(along_y) + np.square(along_x)
    return np.asarray(squared[rows.start - above : rows.stop - above])


def still_variance(
    filtered: Filtered, own_variance: float, *, in_place: bool = False
) -> FloatArray:
    """Variance of the signal were the brightening sources not there, a new array or the same.

    The variance of the science image is that of the light it shows, and with it the noise of a
    source of S/N 15 is 15 % more than that against which it stands out, one of S/N 5 by 4 %. A
    peak of noise raises its own variance as well: taken off, too, positive peaks are as frequent
    as noise makes them. Nothing is taken off below the darker quarter of the neighbourhood, which
    is sky. A fading source has its photons in the template.
    """
    still = filtered.signal_variance if in_place else filtered.signal_variance.copy()
    if own_variance <= 0:
        return still
    ny, nx = filtered.psf.shape
    norm = float(np.square(filtered.psf.at((nx - 1) / 2, (ny - 1) / 2)[0]).sum())
    for first in range(0, len(still), _CELL_PIX):
        rows = slice(first, first + _CELL_PIX)
        signal, value, good = filtered.signal[rows], still[rows], ~filtered.bad[rows]
        standing = (signal > 0) & (signal**2 > np.float32(_STANDS_OUT**2) * value) & good
        index = np.nonzero(standing)
        if len(index[0]):
            sky = np.minimum(_darker_quarter(value, good)[index[1] // _CELL_PIX], value[index])
            own = signal[index] * np.float32(own_variance / norm)
            value[index] = np.maximum(value[index] - own, sky)
    return still


def _darker_quarter(variance: FloatArray, good: BoolArray) -> FloatArray:
    """Lower quartile of the good pixels in each cell along a band; infinite without any."""
    # one pixel in four: the map is smooth over the PSF
    known = np.where(good[::2, ::2], variance[::2, ::2], np.float32(np.inf))
    side = _CELL_PIX // 2
    quarters = np.full(-(-known.shape[1] // side), np.inf, dtype=np.float32)
    for cell in range(len(quarters)):
        values = np.sort(known[:, cell * side : (cell + 1) * side], axis=None)
        count = int(np.searchsorted(values, np.inf))
        if count:
            quarters[cell] = values[count // 4]
    return quarters


def scaled_variance(filtered: Filtered, *, error: ModelError, noise: NoiseTruth) -> FloatArray:
    """Per-pixel variance of the difference, in two of the score's three terms; made in place.

    They are the noise, scaled to that of blank sky, and the error of the subtracted flux; that of
    the position is in the score alone. The static light of a pixel is approximated by the static
    signal times the PSF's peak over its squared norm.
    """
    variance = filtered.variance
    variance *= np.float32(_bounded(noise.pull_width) ** 2)
    if error.flux_fraction > 0:
        ny, nx = filtered.psf.shape
        central = filtered.psf.at((nx - 1) / 2, (ny - 1) / 2)[0]
        share = error.flux_fraction * float(central.max()) / float(np.square(central).sum())
        for rows in row_batches(len(variance)):
            variance[rows] += np.square(np.float32(share) * filtered.static_signal[rows])
    return variance


def _bounded(width: float) -> float:
    """A width by which it is honest to rescale."""
    return float(np.clip(width, *RESCALE_RANGE))
