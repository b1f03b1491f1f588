"""A seeded pair of frames with the whole truth about it. Shares no code with what it judges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt
from scipy.signal import fftconvolve

from benchmarks.engine import detector, ideal
from benchmarks.engine.detector import GAIN, Frame
from benchmarks.engine.exposure import (
    WING_LEVEL,
    Exposed,
    draw_background,
    draw_light,
    draw_psf,
    empty_frame,
    expose,
)
from benchmarks.engine.light import add_points
from benchmarks.engine.regimes import Regime
from benchmarks.engine.sky import Geometry, Sky, draw_sky, place_frames
from benchmarks.engine.transients import EDGE_PIX, Transients, draw_transients

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

SATURATED_PIX = 30.0
_MASK_PIX = 5.0
_BLANK_SIGMA = 0.5
_STAR_SNR = 50.0


@dataclass(frozen=True)
class Truth:
    """What an evaluation needs; planes on the science grid.

    Attributes
    ----------
    excluded : NDArray[bool]
        Within 5 pixels of a masked pixel of either frame, 30 of an edge, or off the reference.
    covered : NDArray[bool]
        Seen by both frames.
    saturated_pix : NDArray[float32]
        Distance to the nearest saturated or bled pixel of either frame.
    blank : NDArray[bool]
        Neither frame has light of a source, and no transient is near.
    variance_white, variance_plain : NDArray[float32]
        True variance, but for a factor, of the whitened difference and of science minus
        convolved reference [adu^2].
    star_x, star_y, star_snr : NDArray[float64]
        Bright unsaturated stars, nothing masked and no transient near.
    """

    transients: Transients
    excluded: Bool
    covered: Bool
    saturated_pix: Float32
    blank: Bool
    variance_white: Float32
    variance_plain: Float32
    star_x: Float64
    star_y: Float64
    star_snr: Float64
    science_profile: Float64


@dataclass(frozen=True)
class Scene:
    """Two frames, where they lie, and the truth."""

    regime: Regime
    geometry: Geometry
    reference: Frame
    science: Frame
    header_error_pix: tuple[tuple[float, float], tuple[float, float]]
    truth: Truth


def make_scene(regime: Regime, *, size: int, seed: int) -> Scene:
    """Draw a sky, expose it twice, and put transients into the second exposure.

    Parameters
    ----------
    regime : Regime
        What is seen and how.
    size : int
        Width and height of the science frame [pix].
    seed : int
        The same seed gives the same scene.
    """
    rng = np.random.default_rng([seed, size])
    geometry = place_frames(regime, size)
    sky = draw_sky(regime, geometry, rng)
    science_psf = draw_psf(regime.science, geometry.science_shape, rng)
    reference_psf = draw_psf(regime.reference, geometry.reference_shape, rng)
    reference = expose(regime.reference, reference_psf, sky, where=geometry.reference, rng=rng)
    light = draw_light(regime.science, science_psf, sky, where=geometry.science)
    background = draw_background(regime.science, geometry.science_shape)
    still = Exposed(science_psf, light, background, empty_frame(geometry.science_shape))
    drawn = draw_transients(regime, geometry, sky, still=still, reference=reference, rng=rng)
    scene = light + background
    level = np.full(len(drawn.x), WING_LEVEL * np.sqrt(background.mean()))
    add_points(scene, science_psf, x=drawn.x, y=drawn.y, flux=drawn.flux * GAIN, level=level)
    science = Exposed(science_psf, light, background, detector.expose(scene, rng))
    error = rng.normal(0.0, regime.astrometric_error_pix, (2, 2))
    return Scene(
        regime=regime,
        geometry=geometry,
        reference=reference.frame,
        science=science.frame,
        header_error_pix=((error[0, 0], error[0, 1]), (error[1, 0], error[1, 1])),
        truth=_judge(regime, geometry, sky, drawn=drawn, science=science, reference=reference),
    )


def _judge(
    regime: Regime,
    geometry: Geometry,
    sky: Sky,
    *,
    drawn: Transients,
    science: Exposed,
    reference: Exposed,
) -> Truth:
    """Planes and star lists on the science grid."""
    ny, nx = geometry.science_shape
    under = _Under(geometry)
    bad = science.frame.bad | under.take(reference.frame.bad, outside=True)
    saturated = science.frame.saturated | under.take(reference.frame.saturated, outside=False)
    covered = under.inside
    excluded = distance_transform_edt(~bad) <= _MASK_PIX
    edge = np.ones((ny, nx), dtype=bool)
    edge[EDGE_PIX:-EDGE_PIX, EDGE_PIX:-EDGE_PIX] = False
    edge |= distance_transform_edt(covered) <= EDGE_PIX if not covered.all() else False
    excluded |= edge
    away = distance_transform_edt(~saturated) if saturated.any() else np.full((ny, nx), np.inf)
    column, row = np.rint(drawn.x).astype(int), np.rint(drawn.y).astype(int)
    drawn = Transients(**{**vars(drawn), "usable": ~excluded[row, column]})
    white, plain = _variances(regime, geometry, under, science=science, reference=reference)
    blank = _blank_sky(regime, under, science=science, reference=reference, drawn=drawn)
    x, y, snr = _bright_stars(
        geometry, sky, regime, science=science, excluded=excluded, drawn=drawn
    )
    return Truth(
        transients=drawn,
        excluded=excluded,
        covered=covered,
        saturated_pix=away.astype(np.float32),
        blank=blank & ~excluded,
        variance_white=white,
        variance_plain=plain,
        star_x=x,
        star_y=y,
        star_snr=snr,
        science_profile=ideal.science_profile(science.psf, nx / 2.0, ny / 2.0),
    )


class _Under:
    """The reference pixel under each science pixel."""

    def __init__(self, geometry: Geometry) -> None:
        ny, nx = geometry.science_shape
        y, x = np.indices((ny, nx), dtype=np.float64)
        column, row = geometry.on_reference(x, y)
        height, width = geometry.reference_shape
        self.inside: Bool = (
            (column > -0.5) & (column < width - 0.5) & (row > -0.5) & (row < height - 0.5)
        )
        self._column = np.clip(np.rint(column), 0, width - 1).astype(np.int32)
        self._row = np.clip(np.rint(row), 0, height - 1).astype(np.int32)
        #: Science pixels may be wider than the reference's: a bad one between the centres counts.
        self._reach = int(np.ceil(np.abs(geometry.jacobian).max() / 2.0 - 0.51))

    def take(self, plane: Bool, *, outside: bool) -> Bool:
        """A flag of the reference on the science grid."""
        if self._reach > 0:
            plane = binary_dilation(plane, np.ones((2 * self._reach + 1,) * 2))
        return np.asarray(np.where(self.inside, plane[self._row, self._column], outside))

    def sample(self, plane: Float64) -> Float64:
        """Values of the reference's pixels on the science grid, 0 outside."""
        return np.asarray(np.where(self.inside, plane[self._row, self._column], 0.0))


def _variances(
    regime: Regime, geometry: Geometry, under: _Under, *, science: Exposed, reference: Exposed
) -> tuple[Float32, Float32]:
    """Pixel variances carried into both kinds of difference [adu^2]."""
    ny, nx = geometry.science_shape
    area = abs(float(np.linalg.det(geometry.jacobian)))
    theirs = under.sample(reference.variance) * area * regime.flux_ratio**2
    x, y = (nx - 1) / 2.0, (ny - 1) / 2.0
    kernels = ideal.difference_kernels(
        ideal.science_profile(science.psf, x, y),
        ideal.reference_profile(reference.psf, geometry, x, y),
        science_variance=float(np.median(science.variance)),
        reference_variance=float(np.median(theirs[under.inside])),
    )
    white, plain = (
        fftconvolve(science.variance, ours, mode="same") + fftconvolve(theirs, other, mode="same")
        for ours, other in kernels
    )
    return (white / GAIN**2).astype(np.float32), (plain / GAIN**2).astype(np.float32)


def _blank_sky(
    regime: Regime, under: _Under, *, science: Exposed, reference: Exposed, drawn: Transients
) -> Bool:
    """Pixels with neither a source's light in either frame nor a transient near."""
    theirs = under.sample(reference.light / np.sqrt(reference.variance))
    blank = (science.light / np.sqrt(science.variance) < _BLANK_SIGMA) & (theirs < _BLANK_SIGMA)
    y, x = np.rint(drawn.y).astype(int), np.rint(drawn.x).astype(int)
    for row, column in zip(y, x, strict=True):
        blank[max(row - 14, 0) : row + 15, max(column - 14, 0) : column + 15] = False
    return np.asarray(blank & under.inside)


def _bright_stars(
    geometry: Geometry,
    sky: Sky,
    regime: Regime,
    *,
    science: Exposed,
    excluded: Bool,
    drawn: Transients,
) -> tuple[Float64, Float64, Float64]:
    """Stars of S/N 50 and more, with nothing masked within 9 pixels and no transient within 12."""
    ny, nx = geometry.science_shape
    x, y = geometry.science.to_pixel(sky.star_east, sky.star_north)
    flux = sky.star_rate * regime.science.response
    inside = (x > 10) & (x < nx - 11) & (y > 10) & (y < ny - 11)
    # the faintest cannot reach the S/N: leave them before the stamps are made
    inside &= flux > _STAR_SNR * np.sqrt(float(np.median(science.variance)))
    x, y, flux = x[inside], y[inside], flux[inside]
    variance = ideal.local_variance(science.variance, science.psf, x=x, y=y)
    weight = (science.psf.stamps(x, y, 9).astype(np.float64) ** 2).sum(axis=(1, 2))
    snr = flux * np.sqrt(weight / variance)
    keep = (snr >= _STAR_SNR) & ~_touches(excluded, x=x, y=y, half=4)
    for u, v in zip(drawn.x, drawn.y, strict=True):
        keep &= np.hypot(x - u, y - v) > 12.0
    return x[keep], y[keep], snr[keep]


def _touches(plane: Bool, *, x: Float64, y: Float64, half: int) -> Bool:
    offset = np.arange(-half, half + 1)
    row = np.rint(y).astype(int)[:, None] + offset
    column = np.rint(x).astype(int)[:, None] + offset
    return np.asarray(plane[row[:, :, None], column[:, None, :]].any(axis=(1, 2)))
