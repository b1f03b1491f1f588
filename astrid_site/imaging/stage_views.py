"""What people are shown of a stage's images: which layers, how rounded, and the small pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging import display
from astrid_site.imaging.image import Image
from astrid_site.imaging.inspection import grid_positions
from astrid_site.imaging.masks import UNUSABLE, MaskPlane, is_bad
from astrid_site.imaging.psf import PsfField
from astrid_site.imaging.pyramid import STEPS_PER_NOISE, Layer
from astrid_site.imaging.tangent_grid import fit_tangent_grid

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: A score is shown on this scale everywhere [sigma].
SCORE_REACH = 10.0
#: Rounding of a plane that is positive and smooth, relative to its median.
_SMOOTH_STEPS = 512.0
#: Steps in a typical noise: signal-to-noise ratios are shown to a percent, no more is kept.
_NOISE_STEPS = 64.0
#: Longest side of the small pictures [pix].
_PICTURE_SIDE = 512
_BACKGROUND_SIDE = 256
_MAX_STARS = 400
#: A PSF is shown to so many widths from its middle.
_PSF_REACH = 2.5
_STRETCHES: tuple[display.StretchName, ...] = ("zscale", "percentile", "asinh", "linear")
#: No pixel looks at more of a frame than this to learn its noise.
_SAMPLE = 200_000


def science_layers(
    image: Image, *, raw: Image | None = None, background: FloatArray | None = None
) -> Iterator[Layer]:
    """The calibrated frame, as it came in, the sky taken out of it and its noise, one by one."""
    data = _hide(image.data, image, MaskPlane.NO_DATA)
    yield _value_layer("science", data, of=image, noise_in="noise")
    if raw is not None:
        yield _raw_layer(raw, of=image)
    if background is not None:
        yield _smooth_layer("background", _hide(background, image, MaskPlane.NO_DATA), image.unit)
    if image.variance is not None:
        yield _noise_layer("noise", image, image.variance)


def difference_layers(difference: Image, template: Image, score: FloatArray) -> Iterator[Layer]:
    """Template, difference, score, and the noise of the first two, one by one."""
    shown = _hide(template.data, template, MaskPlane.NO_DATA)
    yield _value_layer("template", shown, of=template, noise_in="template-noise")
    yield _difference_layer(difference)
    facts = {
        "unit": "sigma",
        "limits": {name: [-SCORE_REACH, SCORE_REACH] for name in _STRETCHES},
        "is_signed": True,
        "noise": None,
    }
    yield Layer("score", _hide(score, difference, UNUSABLE), 1.0 / STEPS_PER_NOISE, facts)
    if template.variance is not None:
        yield _noise_layer("template-noise", template, template.variance)
    if difference.variance is not None:
        yield _noise_layer("difference-noise", difference, difference.variance)


def _difference_layer(difference: Image) -> Layer:
    data = _hide(difference.data, difference, UNUSABLE)
    facts = {
        "unit": difference.unit,
        "limits": _signed_limits(data),
        "is_signed": True,
        "noise": "difference-noise" if difference.variance is not None else None,
    }
    return Layer("difference", data, _noise(difference) / STEPS_PER_NOISE, facts)


def _hide(data: FloatArray, image: Image, planes: MaskPlane) -> FloatArray:
    """Data with NaN where the planes say that there is nothing to see."""
    return np.where(is_bad(image.mask, planes), np.float32(np.nan), data).astype(np.float32)


def _raw_layer(raw: Image, *, of: Image) -> Layer:
    """Pixels before calibration: without a noise of their own, rounded as finely as after it."""
    data = _hide(raw.data, raw, MaskPlane.NO_DATA)
    facts = {"unit": raw.unit, "limits": _limits(data), "is_signed": False, "noise": None}
    return Layer("raw", data, _noise(of) / STEPS_PER_NOISE, facts)


def _value_layer(name: str, data: FloatArray, *, of: Image, noise_in: str) -> Layer:
    facts = {
        "unit": of.unit,
        "limits": _limits(data),
        "is_signed": False,
        "noise": noise_in if of.variance is not None else None,
    }
    return Layer(name, data, _noise(of) / STEPS_PER_NOISE, facts)


def _smooth_layer(name: str, data: FloatArray, unit: str) -> Layer:
    sample = _sample(data)
    size = float(np.median(np.abs(sample))) if sample.size else 0.0
    spread = float(np.ptp(sample)) if sample.size else 0.0
    step = max(size / _SMOOTH_STEPS / 16, spread / _SMOOTH_STEPS) or 1.0
    facts = {"unit": unit, "limits": _limits(data), "is_signed": False, "noise": None}
    return Layer(name, data, step, facts)


def _noise_layer(name: str, image: Image, variance: FloatArray) -> Layer:
    sigma = np.sqrt(np.where(variance > 0, variance, np.float32(np.nan)))
    noise = _hide(sigma.astype(np.float32), image, MaskPlane.NO_DATA)
    sample = _sample(noise)
    middle = float(np.median(sample)) if sample.size else 1.0
    facts = {"unit": image.unit, "limits": _limits(noise), "is_signed": False, "noise": None}
    return Layer(name, noise, middle / _NOISE_STEPS, facts)


def _sample(data: FloatArray) -> Float64:
    flat = data.ravel()[:: max(1, data.size // _SAMPLE)]
    return flat[np.isfinite(flat)].astype(np.float64)


def _noise(image: Image) -> float:
    """Typical noise of a pixel: of its variance, else of its values."""
    good = ~is_bad(image.mask)
    if image.variance is not None:
        values = _sample(np.where(good & (image.variance > 0), image.variance, np.float32(np.nan)))
        if values.size:
            return float(np.sqrt(np.median(values)))
    values = _sample(np.where(good, image.data, np.float32(np.nan)))
    width = float(1.4826 * np.median(np.abs(values - np.median(values)))) if values.size else 0.0
    return width or 1.0


def _limits(data: FloatArray) -> dict[str, list[float]]:
    """Values of the first and the last colour at every stretch."""
    found: dict[str, list[float]] = {}
    for stretch in _STRETCHES:
        limits = display.shared_limits([data], stretch=stretch)
        found[stretch] = [limits.low, limits.high]
    return found


def _signed_limits(data: FloatArray) -> dict[str, list[float]]:
    """The same around zero; linear reaches to the largest value."""
    reach = {"zscale": 99.0, "percentile": 99.5, "asinh": 99.9, "linear": 100.0}
    limits = {name: display.symmetric_limits([data], percentile=p) for name, p in reach.items()}
    return {name: [one.low, one.high] for name, one in limits.items()}


def science_pictures(
    raw: Image, image: Image, *, background: FloatArray | None
) -> dict[str, bytes]:
    """The frame as it came, the sky in it, and its PSF across the field, as PNG."""
    pictures = {
        "before": display.render_frame_png(
            _hide(raw.data, raw, MaskPlane.NO_DATA), max_size=_PICTURE_SIDE
        )
    }
    if background is not None:
        pictures["background"] = display.render_frame_png(
            _hide(background, image, MaskPlane.NO_DATA),
            max_size=_BACKGROUND_SIDE,
            stretch="percentile",
            colormap="cividis",
        )
    if image.psf is not None:
        pictures["psf"] = psf_picture(image.psf)
    return pictures


def psf_picture(psf: PsfField, *, n: int = 3) -> bytes:
    """The PSF at n x n places of the field, as they lie on the frame."""
    images = psf.at(*grid_positions(psf.shape, n=n))
    middle, reach = psf.size // 2, int(np.ceil(_PSF_REACH * psf.fwhm_pix))
    shown = slice(max(0, middle - reach), middle + reach + 1)
    images = images[:, shown, shown]
    return display.render_montage_png(images, columns=n, stretch="asinh", colormap="cividis")


def residual_picture(images: FloatArray) -> bytes:
    """What the PSF leaves of stars in n x n parts of the frame; blue is negative."""
    return display.render_montage_png(
        images,
        columns=math.isqrt(len(images)),
        stretch="linear",
        colormap="diverging",
        is_signed=True,
    )


def kernel_picture(kernels: FloatArray, *, columns: int) -> bytes:
    """Kernels at places of the field; blue is negative."""
    return display.render_montage_png(
        kernels, columns=columns, stretch="linear", colormap="diverging", is_signed=True
    )


def sky_facts(image: Image) -> dict[str, Any] | None:
    """World coordinates as a table that a browser can read; None without any."""
    grid = fit_tangent_grid(image.wcs, image.shape) if image.wcs is not None else None
    return grid.as_json() if grid is not None else None


def star_facts(x: Float64, y: Float64, is_star: NDArray[np.bool_]) -> list[list[float]]:
    """The brightest sources of a list that is sorted by brightness: x, y, and 1 for clean stars."""
    rows = zip(x[:_MAX_STARS], y[:_MAX_STARS], is_star[:_MAX_STARS], strict=True)
    return [[round(float(a), 1), round(float(b), 1), int(c)] for a, b, c in rows]


def rounded(rows: Sequence[Sequence[float]], *, decimals: int = 2) -> list[list[float]]:
    """Plain numbers for an index that is read over a network."""
    return [[round(float(value), decimals) for value in row] for row in rows]


def range_of(data: FloatArray) -> Mapping[str, float]:
    """Values of the first and the last colour of a percentile stretch, and the median."""
    sample = _sample(data)
    if sample.size == 0:
        return {}
    low, middle, high = np.percentile(sample, [1.0, 50.0, 99.5])
    return {"low": float(low), "median": float(middle), "high": float(high)}
