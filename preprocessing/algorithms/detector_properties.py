"""Gain, read noise, linearity and saturation as the frames themselves tell them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import is_bad
from preprocessing.algorithms.readout import clipped_width, sorted_median

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]

_TILE = 32
# rounding to whole adu adds the variance of a uniform distribution of width 1
_ROUNDING_VARIANCE = 1.0 / 12.0
_MIN_TILES = 16
_MIN_LINEARITY_LEVELS = 4
_MIN_LINEARITY_RANGE = 4.0
_MAX_LINEARITY_RMS = 0.005
#: Ratio of measured to stated gain beyond which somebody must be told.
GAIN_TOLERANCE = 1.4
_MIN_SKY_SIGMA = 3.0
_MIN_WHITENESS = 0.75
_SKY_TILE = 64
_MIN_SIDE = 32
_MIN_SKY_TILES = 4
_PATCH = 256


@dataclass(frozen=True)
class Measured:
    """A number and its standard error."""

    value: float
    error: float


def measure_read_noise(first: FloatArray, second: FloatArray) -> Measured:
    """Read noise [data units] from two bias frames of whole numbers.

    Parameters
    ----------
    first, second : NDArray[float32], shape (ny, nx)
        Bias frames; their pedestals may differ.

    Returns
    -------
    Measured
        Without the noise of rounding.

    References
    ----------
    .. [1] Janesick 2001, Scientific Charge-Coupled Devices, section 2.2.
    """
    tiles = _tiles((first - second) * np.float32(np.sqrt(0.5)), _TILE)
    variance = np.median(clipped_width(tiles) ** 2)
    value = float(np.sqrt(max(variance - _ROUNDING_VARIANCE, 0.0)))
    return Measured(value, value * float(np.sqrt(1.57 / (2.0 * first.size))))


def measure_gain(first: FloatArray, second: FloatArray, *, read_noise_adu: float) -> Measured:
    """Gain [electrons per data unit] from two flats: photon transfer.

    Parameters
    ----------
    first, second : NDArray[float32], shape (ny, nx)
        Flats without bias and dark, made linear; of any, also different, levels.
    read_noise_adu : float
        Read noise [data units].

    Returns
    -------
    Measured

    Raises
    ------
    AlgorithmError
        If the flats hold too little light, or are the same frame.

    Notes
    -----
    In each tile the second flat is scaled by r to the level m of the first; the variance of the
    difference is ``m (1 + r) / g + (1 + r^2) R^2``: neither vignetting nor the pattern of the
    response enters. Sums over tiles are divided, so that no tile's noise biases the quotient.

    References
    ----------
    .. [1] Janesick 2001, Scientific Charge-Coupled Devices, eq. 2.11.
    """
    ones, twos = _tiles(first, _TILE), _tiles(second, _TILE)
    level, other = sorted_median(ones, axis=1), sorted_median(twos, axis=1)
    lit = (level > 10.0 * read_noise_adu) & (other > 10.0 * read_noise_adu)
    if lit.sum() < _MIN_TILES:
        msg = "too little light in the flats to measure the gain"
        raise AlgorithmError(msg, n_tiles=int(lit.sum()), n_required=_MIN_TILES)
    ones, twos, level, other = ones[lit], twos[lit], level[lit], other[lit]
    ratio = level / other
    variance = clipped_width(ones - twos * ratio[:, None].astype(np.float32)) ** 2
    noise = (1.0 + ratio**2) * (read_noise_adu**2 + _ROUNDING_VARIANCE)
    photons, signal = variance - noise, level * (1.0 + ratio)
    if np.median(photons) <= 0:
        msg = "the flats differ by less than their read noise: they are one frame, or smoothed"
        raise AlgorithmError(msg, n_tiles=len(level))
    quotient = photons / signal
    middle = np.median(quotient)
    width = 1.4826 * np.median(np.abs(quotient - middle))
    kept = np.abs(quotient - middle) <= 4.0 * max(width, 1e-30)
    value = float(signal[kept].sum() / photons[kept].sum())
    error = value * float(np.sqrt(2.0 / (kept.sum() * _TILE**2)))
    return Measured(value, error)


@dataclass(frozen=True)
class Linearity:
    """How recorded signal becomes true signal: ``m (1 + a m + b m^2)``.

    Attributes
    ----------
    quadratic, cubic : float
        a [1 / data units] and b [1 / data units^2].
    max_level : float
        Highest signal it was measured at [data units].
    rms : float
        Scatter of the levels about the fit, as a fraction.
    """

    quadratic: float
    cubic: float
    max_level: float
    rms: float

    def correct(self, data: FloatArray) -> FloatArray:
        """Signal [data units] as a linear detector would record it; nothing below 0 changes."""
        signal = np.clip(data, 0.0, self.max_level)
        factor = 1.0 + signal * (self.quadratic + self.cubic * signal)
        return np.asarray(data * factor, dtype=np.float32)

    def slope(self, data: FloatArray) -> FloatArray:
        """Derivative of the corrected signal: what errors are multiplied by."""
        signal = np.clip(data, 0.0, self.max_level)
        slope = 1.0 + signal * (2.0 * self.quadratic + 3.0 * self.cubic * signal)
        return np.asarray(slope, dtype=np.float32)


def fit_linearity(exposure_s: Float64, level: Float64) -> Linearity:
    """Linearity of a detector from flats of several exposure times under a steady lamp.

    Parameters
    ----------
    exposure_s, level : NDArray[float64], shape (n,)
        Exposure times [s] and signals [data units] of unsaturated flats.

    Raises
    ------
    AlgorithmError
        If there are fewer than 4 different exposures, they span less than a factor of 4, or the
        levels scatter by more than 0.5 % about the fit: the lamp was not steady.

    Notes
    -----
    ``k t / m - a m - b m^2 = 1`` is linear in k, a and b and weighs all levels alike.
    """
    times, signals = np.asarray(exposure_s, float), np.asarray(level, float)
    n_levels = len(np.unique(np.round(times, 3)))
    span = float(times.max() / times.min()) if len(times) and times.min() > 0 else 0.0
    if n_levels < _MIN_LINEARITY_LEVELS or span < _MIN_LINEARITY_RANGE:
        msg = "linearity needs flats of 4 exposure times that span a factor of 4"
        raise AlgorithmError(msg, n_levels=n_levels, span=span)
    top = float(signals.max())
    scaled = signals / top
    design = np.column_stack([times / signals, -scaled, -(scaled**2)])
    solution = np.linalg.lstsq(design, np.ones(len(times)), rcond=None)[0]
    residual = design @ solution - 1.0
    rms = float(np.sqrt((residual**2).mean()))
    if rms > _MAX_LINEARITY_RMS:
        msg = "the levels of the flats scatter too much for a linearity curve: no steady lamp"
        raise AlgorithmError(msg, rms=rms, rms_allowed=_MAX_LINEARITY_RMS)
    return Linearity(float(solution[1]) / top, float(solution[2]) / top**2, top, rms)


def find_saturation(exposure_s: Float64, level: Float64) -> float | None:
    """Signal [data units] at which longer exposures record no more; None where none does.

    Parameters
    ----------
    exposure_s, level : NDArray[float64], shape (n,)
        Exposure times [s] and signals [data units] of flats under a steady lamp.
    """
    order = np.argsort(exposure_s)
    times, signals = np.asarray(exposure_s)[order], np.asarray(level)[order]
    if len(times) < _MIN_LINEARITY_LEVELS:
        return None
    rate = float(np.median((signals / times)[: max(len(times) // 2, 2)]))
    flat = signals < 0.85 * rate * times
    return float(signals[flat].min()) if flat.any() else None


@dataclass(frozen=True)
class GainCheck:
    """Whether the sky's noise is what gain and read noise say.

    Attributes
    ----------
    verdict : str
        "pass", "suspect" or "not_checked".
    reason : str
        Why, with numbers; empty where it passes.
    measured : float or None
        Gain that explains the sky's noise [electrons per data unit].
    noise_ratio : float or None
        Measured sky variance over the predicted one.
    """

    verdict: str
    reason: str
    measured: float | None = None
    noise_ratio: float | None = None


def check_gain(image: Image, *, has_pedestal: bool) -> GainCheck:
    """Compare the variance of the sky with what gain and read noise predict.

    Parameters
    ----------
    image : Image
        Frame with its sky; gain [electrons per data unit] and read noise [electrons] as stated.
    has_pedestal : bool
        Whether a bias may still be in the frame, which makes the gain seem larger than it is.

    Notes
    -----
    The variance is that of the Laplacian of each tile, blind to sky gradients and to most of the
    light of stars; medians over tiles pass over the rest. Pixels that were resampled have too
    little of it: where the Laplacian finds less than differences of distant pixels do, nothing is
    said.

    References
    ----------
    .. [1] Immerkaer 1996, Computer Vision and Image Understanding 64, 300 (the operator).
    """
    gain, read_noise = image.gain, image.read_noise
    if gain is None or not np.isfinite(gain) or gain <= 0:
        return GainCheck("not_checked", "no gain is stated")
    sky = _measure_sky(image)
    if sky is None or sky.variance <= 0:
        return GainCheck("not_checked", "too few usable pixels")
    if sky.level < _MIN_SKY_SIGMA * np.sqrt(sky.variance):
        return GainCheck("not_checked", "the sky was subtracted")
    if sky.whiteness < _MIN_WHITENESS:
        return GainCheck("not_checked", "neighbouring pixels are correlated, or the field crowded")
    noise = read_noise or 0.0
    predicted = sky.level / gain + (noise / gain) ** 2 + _ROUNDING_VARIANCE
    variance = max(sky.variance - _ROUNDING_VARIANCE, 1e-6)
    root = np.sqrt(sky.level**2 + 4.0 * variance * noise**2)
    measured = float((sky.level + root) / (2.0 * variance))
    ratio = float(sky.variance / predicted)
    if measured > GAIN_TOLERANCE * gain:
        reason = _mismatch(gain, measured, ratio)
        reason += ", or a bias that is still in the frame" if has_pedestal else ""
        return GainCheck("suspect", reason, measured, ratio)
    if measured * GAIN_TOLERANCE < gain:
        if read_noise is None:
            reason = "no read noise is stated, and the sky's noise exceeds its photons'"
            return GainCheck("not_checked", reason, measured, ratio)
        return GainCheck("suspect", _mismatch(gain, measured, ratio), measured, ratio)
    return GainCheck("pass", "", measured, ratio)


def _mismatch(gain: float, measured: float, ratio: float) -> str:
    return (
        f"the sky's variance is {ratio:.2f} times what the stated gain of {gain:.3g} e/adu "
        f"predicts; {measured:.3g} e/adu would explain it"
    )


@dataclass(frozen=True)
class _Sky:
    level: float
    variance: float
    whiteness: float


def _measure_sky(image: Image) -> _Sky | None:
    """Level, variance and whiteness of the sky: medians over tiles of patches of the frame."""
    if min(image.shape) < _MIN_SIDE:
        return None
    tile = int(np.clip(min(image.shape) // 4, _TILE // 2, _SKY_TILE))
    parts = [_measure_patch(image, window, tile=tile) for window in _patches(image.shape)]
    level, sharp, near, distant = (np.concatenate(column) for column in zip(*parts, strict=True))
    if len(level) < _MIN_SKY_TILES:
        return None
    # stars widen the one more than the other; correlated noise narrows all tiles alike
    ratios = near[distant > 0] / distant[distant > 0]
    whiteness = float(np.percentile(ratios, 90.0)) if ratios.size else 0.0
    return _Sky(float(np.median(level)), float(np.median(sharp)), whiteness)


def _patches(shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """The whole of a small frame, 4 x 4 patches spread over a large one: they tell as much."""
    ny, nx = shape
    if ny * nx <= (4 * _PATCH) ** 2:
        return [(slice(0, ny), slice(0, nx))]
    tall, wide = min(_PATCH, ny), min(_PATCH, nx)
    rows = np.unique(np.linspace(0, ny - tall, 4).astype(int))
    columns = np.unique(np.linspace(0, nx - wide, 4).astype(int))
    return [(slice(y, y + tall), slice(x, x + wide)) for y in rows for x in columns]


def _measure_patch(
    image: Image, window: tuple[slice, slice], *, tile: int
) -> tuple[Float64, Float64, Float64, Float64]:
    """Per tile: level and variance of the Laplacian; that and the one of distant pixels."""
    data = np.where(is_bad(image.mask[window]), np.float32(np.nan), image.data[window])
    inner = data[1:-1, 1:-1]
    cross = data[:-2, 1:-1] + data[2:, 1:-1] + data[1:-1, :-2] + data[1:-1, 2:]
    corners = data[:-2, :-2] + data[:-2, 2:] + data[2:, :-2] + data[2:, 2:]
    laplacian = (4.0 * inner - 2.0 * cross + corners) / np.float32(6.0)
    far = (data[1:-1, 1:-5] - data[1:-1, 5:-1]) * np.float32(np.sqrt(0.5))
    levels = _tiles(inner, tile)
    known = np.isfinite(levels).mean(axis=1) > 0.5
    return (
        sorted_median(levels[known], axis=1),
        clipped_width(_tiles(laplacian, tile)[known]) ** 2,
        clipped_width(_tiles(laplacian[:, 2:-2], tile)) ** 2,
        clipped_width(_tiles(far, tile)) ** 2,
    )


def _tiles(data: FloatArray, tile: int) -> FloatArray:
    """Whole tiles as rows, shape (n, tile * tile); what is left at the far edges is dropped."""
    tile = min(tile, *data.shape)
    ny, nx = data.shape[0] // tile, data.shape[1] // tile
    cut = data[: ny * tile, : nx * tile].reshape(ny, tile, nx, tile)
    return np.ascontiguousarray(cut.transpose(0, 2, 1, 3)).reshape(ny * nx, tile * tile)
