"""The sky under a pair: stars, galaxies, and where both frames lie on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from benchmarks.engine.light import sersic_points
from benchmarks.engine.regimes import Epoch, Regime

Float64 = NDArray[np.float64]

#: Electrons per second of a source of magnitude 20.
_RATE_AT_20 = 60.0
_CENTRE = (150.1, 2.2)
_MARGIN_ARCSEC = 60.0
_GALAXY_MAGNITUDES = (17.0, 22.5)
_GALAXY_SLOPE = 0.3


@dataclass(frozen=True)
class PixelMap:
    """From the tangent plane [arcsec east, north] to a frame's pixels: origin + matrix @ plane."""

    matrix: Float64
    origin: Float64

    def to_pixel(self, east: Float64, north: Float64) -> tuple[Float64, Float64]:
        """Pixels of points of the plane."""
        x, y = self.matrix @ np.stack([east.ravel(), north.ravel()]) + self.origin[:, None]
        return x.reshape(east.shape), y.reshape(north.shape)

    def to_plane(self, x: Float64, y: Float64) -> tuple[Float64, Float64]:
        """Points of the plane under pixels."""
        offset = np.stack([x.ravel(), y.ravel()]) - self.origin[:, None]
        east, north = np.linalg.inv(self.matrix) @ offset
        return east.reshape(x.shape), north.reshape(y.shape)

    def wcs(self) -> WCS:
        """The same as a tangential projection about the field's centre."""
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval = list(_CENTRE)
        wcs.wcs.crpix = list(self.origin + 1.0)
        wcs.wcs.cd = np.linalg.inv(self.matrix) / 3600.0
        wcs.wcs.set()
        return wcs


@dataclass(frozen=True)
class Geometry:
    """Where the two frames lie."""

    reference: PixelMap
    science: PixelMap
    reference_shape: tuple[int, int]
    science_shape: tuple[int, int]

    def on_reference(self, x: Float64, y: Float64) -> tuple[Float64, Float64]:
        """Reference pixels under science pixels."""
        return self.reference.to_pixel(*self.science.to_plane(x, y))

    @property
    def jacobian(self) -> Float64:
        """Reference pixels per science pixel, (2, 2)."""
        return np.asarray(self.reference.matrix @ np.linalg.inv(self.science.matrix))


@dataclass(frozen=True)
class Sky:
    """Sources; arrays of shape (n,), [arcsec] on the tangent plane and electrons per second.

    The light of a galaxy is in ``cloud_*``, point by point.
    """

    star_east: Float64
    star_north: Float64
    star_rate: Float64
    galaxy_east: Float64
    galaxy_north: Float64
    galaxy_size: Float64
    cloud_east: Float64
    cloud_north: Float64
    cloud_rate: Float64
    cloud_share: Float64


def place_frames(regime: Regime, size: int) -> Geometry:
    """Both frames on the plane: the reference turned, scaled, dithered, and moved off."""
    return Geometry(
        reference=_map(
            regime.reference,
            _reference_size(regime, size),
            turn_deg=regime.rotation_deg,
            scale=regime.scale,
            shift=(
                regime.dither_arcsec[0] + (1.0 - regime.overlap) * size,
                regime.dither_arcsec[1],
            ),
        ),
        science=_map(regime.science, size, turn_deg=0.0, scale=1.0, shift=(0.0, 0.0)),
        reference_shape=(_reference_size(regime, size),) * 2,
        science_shape=(size, size),
    )


def _reference_size(regime: Regime, size: int) -> int:
    return round(size / regime.pixel_ratio)


def _map(
    epoch: Epoch, size: int, *, turn_deg: float, scale: float, shift: tuple[float, float]
) -> PixelMap:
    """North up and east left, then turned; ``shift`` [arcsec] moves the frame's centre."""
    angle = np.deg2rad(turn_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag([-1.0, 1.0]) / (epoch.pixel_arcsec * scale)
    centre = np.full(2, (size - 1) / 2.0)
    return PixelMap(matrix, centre - matrix @ np.array(shift))


def draw_sky(regime: Regime, geometry: Geometry, rng: np.random.Generator) -> Sky:
    """Stars and galaxies over both frames."""
    east, north, area = _draw_places(regime, geometry, rng)
    n_stars = rng.poisson(regime.stars_per_mpix * area / 1e6)
    if regime.n_stars is not None:
        return _sky_of_few(regime, geometry, rng, corner=(east, north), area=area)
    place = rng.uniform(0.0, 1.0, (2, n_stars))
    return _sky(
        regime,
        rng,
        star_east=east[0] + place[0] * (east[1] - east[0]),
        star_north=north[0] + place[1] * (north[1] - north[0]),
        corner=(east, north),
        area=area,
    )


def _sky_of_few(
    regime: Regime,
    geometry: Geometry,
    rng: np.random.Generator,
    *,
    corner: tuple[tuple[float, float], tuple[float, float]],
    area: float,
) -> Sky:
    """The few stars spread over the inner frame, well inside it."""
    ny, nx = geometry.science_shape
    n = int(regime.n_stars or 0)
    # one to each of n cells of a 4 x n/4 grid, so that no draw leaves half a frame bare
    rows = -(-n // 4)
    cell_x, cell_y = np.arange(n) % 4, np.arange(n) // 4
    x = (cell_x + rng.uniform(0.2, 0.8, n)) * nx / 4.0
    y = (cell_y + rng.uniform(0.2, 0.8, n)) * ny / rows
    star_east, star_north = geometry.science.to_plane(x, y)
    return _sky(regime, rng, star_east=star_east, star_north=star_north, corner=corner, area=area)


def _draw_places(
    regime: Regime, geometry: Geometry, rng: np.random.Generator
) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Corners of the rectangle that holds both frames [arcsec], and its area."""
    corners = []
    for where, (ny, nx) in (
        (geometry.reference, geometry.reference_shape),
        (geometry.science, geometry.science_shape),
    ):
        x, y = np.meshgrid([0.0, nx - 1.0], [0.0, ny - 1.0])
        corners.append(np.stack(where.to_plane(x, y)).reshape(2, -1))
    low = np.min([c.min(axis=1) for c in corners], axis=0) - _MARGIN_ARCSEC
    high = np.max([c.max(axis=1) for c in corners], axis=0) + _MARGIN_ARCSEC
    area = float(np.prod(high - low))
    return (float(low[0]), float(high[0])), (float(low[1]), float(high[1])), area


def _sky(
    regime: Regime,
    rng: np.random.Generator,
    *,
    star_east: Float64,
    star_north: Float64,
    corner: tuple[tuple[float, float], tuple[float, float]],
    area: float,
) -> Sky:
    (east0, east1), (north0, north1) = corner
    n = rng.poisson(regime.galaxies_per_mpix * area / 1e6)
    galaxy_east, galaxy_north = rng.uniform(east0, east1, n), rng.uniform(north0, north1, n)
    size = rng.lognormal(np.log(1.8), 0.35, n)
    rate = _rate(_magnitudes(rng, n, limits=_GALAXY_MAGNITUDES, slope=_GALAXY_SLOPE))
    cloud = [_cloud(rng, float(s)) for s in size]
    counts = np.array([len(c[0]) for c in cloud], dtype=int)
    owner = np.repeat(np.arange(n), counts)
    offset = np.concatenate([np.stack(c) for c in cloud], axis=1) if n else np.zeros((2, 0))
    stars = _magnitudes(rng, len(star_east), limits=regime.star_magnitudes, slope=regime.star_slope)
    return Sky(
        star_east=star_east,
        star_north=star_north,
        star_rate=_rate(stars),
        galaxy_east=galaxy_east,
        galaxy_north=galaxy_north,
        galaxy_size=size,
        cloud_east=galaxy_east[owner] + offset[0],
        cloud_north=galaxy_north[owner] + offset[1],
        cloud_rate=rate[owner] / counts[owner],
        cloud_share=1.0 / counts[owner],
    )


def _cloud(rng: np.random.Generator, half_light: float) -> tuple[Float64, Float64]:
    """Points of one galaxy; enough that they lie closer than any PSF is wide."""
    return sersic_points(
        half_light=half_light,
        index=float(rng.uniform(0.7, 3.5)),
        axis_ratio=float(rng.uniform(0.35, 1.0)),
        angle=float(rng.uniform(0.0, np.pi)),
        n=int(np.clip(24.0 * half_light**2, 40, 200)),
    )


def _magnitudes(
    rng: np.random.Generator, n: int, *, limits: tuple[float, float], slope: float
) -> Float64:
    """Magnitudes whose cumulative counts go as 10^(slope m)."""
    low, high = 10.0 ** (slope * np.array(limits))
    return np.asarray(np.log10(rng.uniform(low, high, n)) / slope)


def _rate(magnitude: Float64) -> Float64:
    return np.asarray(_RATE_AT_20 * 10.0 ** (-0.4 * (magnitude - 20.0)))
