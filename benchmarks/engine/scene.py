"""A seeded pair of frames with the whole truth about it. Shares no code with what it judges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt
from scipy.signal import fftconvolve

from benchmarks.engine import detector, ideal
from benchmarks.engine.detector import GAIN, READ_NOISE, Frame
from benchmarks.engine.light import MoffatField, add_points
from benchmarks.engine.regimes import Epoch, Regime
from benchmarks.engine.sky import Geometry, Sky, draw_sky, place_frames

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

SATURATED_PIX = 30.0
_EDGE_PIX = 30
_MASK_PIX = 5.0
_SEPARATION_PIX = 24.0
#: Light per pixel left out of the wings, in units of the sky's noise.
_WING_LEVEL = 0.01
_BLANK_SIGMA = 0.5
_STAR_SNR = 50.0


@dataclass(frozen=True)
class Transients:
    """New sources; arrays of shape (n,), fluxes [adu of the science frame].

    ``sigma`` is the least standard error of the flux, so that ``flux / sigma`` is ``snr``;
    ``sigma_still`` is the same without its own photons, the noise of a score image there;
    ``usable`` is False near masked pixels, the frame's edge, and outside the reference.
    """

    x: Float64
    y: Float64
    snr: Float64
    flux: Float64
    sigma: Float64
    sigma_still: Float64
    on_galaxy: Bool
    usable: Bool


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


@dataclass(frozen=True)
class _Exposed:
    """One frame with what was drawn on it [electrons]."""

    psf: MoffatField
    light: Float64
    sky: Float64
    frame: Frame

    @property
    def variance(self) -> Float64:
        """Expected variance per pixel without transients [electrons^2]."""
        return self.light + self.sky + READ_NOISE**2


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
    science_psf = _draw_psf(regime.science, geometry.science_shape, rng)
    reference_psf = _draw_psf(regime.reference, geometry.reference_shape, rng)
    reference = _expose(regime.reference, reference_psf, sky, where=geometry.reference, rng=rng)
    light = _light(regime.science, science_psf, sky, where=geometry.science)
    background = _background(regime.science, geometry.science_shape)
    still = _Exposed(science_psf, light, background, _empty_frame(geometry.science_shape))
    drawn = _draw_transients(regime, geometry, sky, still=still, reference=reference, rng=rng)
    scene = light + background
    level = np.full(len(drawn.x), _WING_LEVEL * np.sqrt(background.mean()))
    add_points(scene, science_psf, x=drawn.x, y=drawn.y, flux=drawn.flux * GAIN, level=level)
    science = _Exposed(science_psf, light, background, detector.expose(scene, rng))
    error = rng.normal(0.0, regime.astrometric_error_pix, (2, 2))
    return Scene(
        regime=regime,
        geometry=geometry,
        reference=reference.frame,
        science=science.frame,
        header_error_pix=((error[0, 0], error[0, 1]), (error[1, 0], error[1, 1])),
        truth=_judge(regime, geometry, sky, drawn=drawn, science=science, reference=reference),
    )


def _empty_frame(shape: tuple[int, int]) -> Frame:
    nothing = np.zeros(shape, dtype=bool)
    return Frame(data=np.zeros(shape, dtype=np.float32), bad=nothing, saturated=nothing)


def _draw_psf(epoch: Epoch, shape: tuple[int, int], rng: np.random.Generator) -> MoffatField:
    """Width changes by a few per cent over the frame, shear by a few hundredths."""
    growth = rng.normal(0.0, 0.015, 3)
    turn = np.exp(1j * rng.uniform(0.0, 2.0 * np.pi))
    return MoffatField(
        shape=shape,
        fwhm_pix=epoch.fwhm_arcsec / epoch.pixel_arcsec,
        beta=epoch.beta,
        shear=epoch.shear,
        growth=(float(growth[0]), float(growth[1]), float(abs(growth[2]))),
        shear_growth=complex(0.015 * turn),
    )


def _background(epoch: Epoch, shape: tuple[int, int]) -> Float64:
    ny, nx = shape
    v, u = np.meshgrid(np.linspace(-1, 1, ny), np.linspace(-1, 1, nx), indexing="ij")
    a, b, bowl = epoch.gradient
    level = epoch.sky_rate * epoch.exposure_s * epoch.pixel_arcsec**2
    return np.asarray(level * (1.0 + a * u + b * v + bowl * (u**2 + v**2)))


def _light(epoch: Epoch, psf: MoffatField, sky: Sky, *, where: object) -> Float64:
    """Electrons of stars and galaxies."""
    scene = np.zeros(psf.shape)
    level = _WING_LEVEL * np.sqrt(epoch.sky_rate * epoch.exposure_s) * epoch.pixel_arcsec
    to_pixel = where.to_pixel  # type: ignore[attr-defined]
    for east, north, rate, share in (
        (sky.star_east, sky.star_north, sky.star_rate, np.ones(len(sky.star_east))),
        (sky.cloud_east, sky.cloud_north, sky.cloud_rate, sky.cloud_share),
    ):
        x, y = to_pixel(east, north)
        add_points(scene, psf, x=x, y=y, flux=rate * epoch.response, level=level * share)
    return scene


def _expose(
    epoch: Epoch, psf: MoffatField, sky: Sky, *, where: object, rng: np.random.Generator
) -> _Exposed:
    light = _light(epoch, psf, sky, where=where)
    background = _background(epoch, psf.shape)
    return _Exposed(psf, light, background, detector.expose(light + background, rng))


def _draw_transients(
    regime: Regime,
    geometry: Geometry,
    sky: Sky,
    *,
    still: _Exposed,
    reference: _Exposed,
    rng: np.random.Generator,
) -> Transients:
    """Positions, half of them on galaxies, and fluxes that give each its S/N there."""
    x, y, on_galaxy = _draw_positions(regime, geometry, sky, rng)
    snr = rng.permutation(np.resize(np.array(regime.bins), len(x)))
    science_variance = ideal.local_variance(still.variance, still.psf, x=x, y=y)
    column, row = geometry.on_reference(x, y)
    area = abs(float(np.linalg.det(geometry.jacobian)))
    reference_variance = (
        ideal.local_variance(reference.variance, reference.psf, x=column, y=row)
        * area
        * regime.flux_ratio**2
    )
    flux, sigma, still_sigma = np.zeros((3, len(x)))
    for i in range(len(x)):
        best = ideal.best_filters(
            ideal.science_profile(still.psf, x[i], y[i]),
            ideal.reference_profile(reference.psf, geometry, x[i], y[i]),
            science_variance=float(science_variance[i]),
            reference_variance=float(reference_variance[i]),
        )
        flux[i] = best.flux_for(float(snr[i]))
        sigma[i], still_sigma[i] = best.sigma_with(float(flux[i])), best.sigma
    return Transients(
        x=x,
        y=y,
        snr=snr,
        flux=flux / GAIN,
        sigma=sigma / GAIN,
        sigma_still=still_sigma / GAIN,
        on_galaxy=on_galaxy,
        usable=np.zeros(len(x), dtype=bool),
    )


def _draw_positions(
    regime: Regime, geometry: Geometry, sky: Sky, rng: np.random.Generator
) -> tuple[Float64, Float64, Bool]:
    """Places apart from each other and from the border, where both frames look."""
    ny, nx = geometry.science_shape
    wanted = round(regime.transients_per_mpix * regime.overlap * nx * ny / 1e6)
    order = rng.permutation(len(sky.galaxy_east))
    away, angle = rng.uniform(0.2, 1.2, len(order)), rng.uniform(0.0, 2.0 * np.pi, len(order))
    shift = away * sky.galaxy_size[order] * np.stack([np.cos(angle), np.sin(angle)])
    hosted = geometry.science.to_pixel(
        sky.galaxy_east[order] + shift[0], sky.galaxy_north[order] + shift[1]
    )
    bare = rng.uniform(0.0, 1.0, (2, 60 * wanted + 60)) * np.array([[nx], [ny]])
    kept: list[tuple[float, float]] = []
    n_hosted = 0
    for places, limit in ((np.stack(hosted), wanted // 2), (bare, wanted)):
        for x, y in places[:, _inside_both(places, geometry)].T:
            if len(kept) >= limit:
                break
            if all(abs(x - u) > _SEPARATION_PIX or abs(y - v) > _SEPARATION_PIX for u, v in kept):
                kept.append((float(x), float(y)))
        n_hosted = n_hosted or len(kept)
    places = np.array(kept).reshape(-1, 2)
    return places[:, 0], places[:, 1], np.arange(len(kept)) < n_hosted


def _inside_both(places: Float64, geometry: Geometry) -> Bool:
    inside = np.ones(places.shape[1], dtype=bool)
    column, row = geometry.on_reference(places[0], places[1])
    for x, y, (ny, nx) in (
        (places[0], places[1], geometry.science_shape),
        (column, row, geometry.reference_shape),
    ):
        inside &= (x > _EDGE_PIX) & (x < nx - _EDGE_PIX) & (y > _EDGE_PIX) & (y < ny - _EDGE_PIX)
    return inside


def _judge(
    regime: Regime,
    geometry: Geometry,
    sky: Sky,
    *,
    drawn: Transients,
    science: _Exposed,
    reference: _Exposed,
) -> Truth:
    """Planes and star lists on the science grid."""
    ny, nx = geometry.science_shape
    under = _Under(geometry)
    bad = science.frame.bad | under.take(reference.frame.bad, outside=True)
    saturated = science.frame.saturated | under.take(reference.frame.saturated, outside=False)
    covered = under.inside
    excluded = distance_transform_edt(~bad) <= _MASK_PIX
    edge = np.ones((ny, nx), dtype=bool)
    edge[_EDGE_PIX:-_EDGE_PIX, _EDGE_PIX:-_EDGE_PIX] = False
    edge |= distance_transform_edt(covered) <= _EDGE_PIX if not covered.all() else False
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
    regime: Regime, geometry: Geometry, under: _Under, *, science: _Exposed, reference: _Exposed
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
    regime: Regime, under: _Under, *, science: _Exposed, reference: _Exposed, drawn: Transients
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
    science: _Exposed,
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
