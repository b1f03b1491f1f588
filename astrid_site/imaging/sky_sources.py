"""What does not move in a simulated field: power-law stars and Sersic galaxies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, j0

from astrid_site.imaging.sky_psf import Float64

SERSIC_INDICES = (1.0, 2.0, 4.0)
_INDEX_SHARES = (0.6, 0.2, 0.2)


@dataclass(frozen=True)
class StaticSky:
    """Stars and galaxies of a field on its tangent plane.

    Attributes
    ----------
    star_xi, star_eta, star_mag : NDArray[float64], shape (n_stars,)
        Positions [arcsec] and AB magnitudes.
    galaxy_xi, galaxy_eta, galaxy_mag, galaxy_index : NDArray[float64], shape (n_galaxies,)
        Positions [arcsec], AB magnitudes and Sersic indices.
    galaxy_shape : NDArray[float64], shape (n_galaxies, 2, 2)
        Matrices R diag(a^2, b^2) R^T of the half-light ellipses [arcsec^2].
    """

    star_xi: Float64
    star_eta: Float64
    star_mag: Float64
    galaxy_xi: Float64
    galaxy_eta: Float64
    galaxy_mag: Float64
    galaxy_index: Float64
    galaxy_shape: Float64


@dataclass(frozen=True)
class SkyPopulation:
    """How many stars and galaxies a field has, and how bright they are.

    Attributes
    ----------
    half_width_arcsec : tuple of float
        Half extent of the field in xi and eta.
    n_stars, n_galaxies : int
        Numbers inside that extent.
    star_mag_range, galaxy_mag_range : tuple of float
        Bright and faint limits [AB mag].
    star_slope, galaxy_slope : float
        d log10 N / d mag; a power law in flux of exponent -(1 + 2.5 slope).
    half_light_arcsec : float
        Median half-light radius of a galaxy 2.5 mag above the faint limit.
    """

    half_width_arcsec: tuple[float, float]
    n_stars: int
    n_galaxies: int
    star_mag_range: tuple[float, float] = (9.5, 20.4)
    galaxy_mag_range: tuple[float, float] = (14.5, 20.3)
    star_slope: float = 0.24
    galaxy_slope: float = 0.35
    half_light_arcsec: float = 1.8


def draw_static_sky(rng: np.random.Generator, population: SkyPopulation) -> StaticSky:
    """Scatter stars and galaxies over a field, uniform in place and power-law in flux."""
    n_stars, n_galaxies = population.n_stars, population.n_galaxies
    wide, high = population.half_width_arcsec
    star_mag = _power_law_mags(
        rng, n_stars, limits=population.star_mag_range, slope=population.star_slope
    )
    galaxy_mag = _power_law_mags(
        rng, n_galaxies, limits=population.galaxy_mag_range, slope=population.galaxy_slope
    )
    brightness = population.galaxy_mag_range[1] - 2.5 - galaxy_mag
    # sizes grow slowly with flux (about F^0.3), with the log-normal scatter of real samples
    major = population.half_light_arcsec * 10 ** (
        0.12 * brightness + rng.normal(0, 0.16, n_galaxies)
    )
    major = np.clip(major, 0.5, 7.0)
    return StaticSky(
        star_xi=rng.uniform(-wide, wide, n_stars),
        star_eta=rng.uniform(-high, high, n_stars),
        star_mag=star_mag,
        galaxy_xi=rng.uniform(-wide, wide, n_galaxies),
        galaxy_eta=rng.uniform(-high, high, n_galaxies),
        galaxy_mag=galaxy_mag,
        galaxy_index=rng.choice(SERSIC_INDICES, size=n_galaxies, p=_INDEX_SHARES),
        galaxy_shape=_ellipses(
            major,
            axis_ratio=rng.uniform(0.25, 1.0, n_galaxies),
            angle=rng.uniform(0.0, np.pi, n_galaxies),
        ),
    )


def _power_law_mags(
    rng: np.random.Generator, n: int, *, limits: tuple[float, float], slope: float
) -> Float64:
    bright, faint = limits
    lowest = 10 ** (slope * (bright - faint))
    return faint + np.log10(rng.uniform(lowest, 1.0, n)) / slope


def _ellipses(major: Float64, *, axis_ratio: Float64, angle: Float64) -> Float64:
    c, s = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)
    axes = np.zeros((len(major), 2, 2))
    axes[:, 0, 0], axes[:, 1, 1] = major**2, (major * axis_ratio) ** 2
    return np.asarray(turn @ axes @ turn.transpose(0, 2, 1), dtype=np.float64)


def truncation_radii(index: NDArray[np.float64] | float) -> tuple[Float64, Float64]:
    """Radii, in half-light radii, where the profile starts to fade and where it ends.

    As the Sloan survey cuts its models: disks from 3 to 4, de Vaucouleurs from 7 to 8.
    """
    end = np.interp(index, [1.0, 4.0], [4.0, 8.0])
    return np.asarray(end - 1.0), np.asarray(end)


@lru_cache(maxsize=8)
def sersic_transform(index: float) -> tuple[Float64, Float64]:
    """Hankel transform of the unit-flux Sersic profile of half-light radius 1.

    Returns
    -------
    tuple of NDArray[float64], shape (n_k,)
        Wave number times half-light radius, and the transform (1 at 0).

    References
    ----------
    .. [1] Sersic 1963, BAAA 6, 41; b_n from the incomplete gamma function as in Graham & Driver
       2005, PASA 22, 118, eq. 4. The outer cut is that of Sloan's photometric models.
    """
    scale = float(gammaincinv(2 * index, 0.5))
    start, end = (float(radius) for radius in truncation_radii(index))
    # r = t^4 resolves the cusp at the centre
    t = np.linspace(0.0, end**0.25, 1501)
    r = t**4
    fade = np.where(r > start, np.maximum(1 - ((r - start) / (end - start)) ** 2, 0.0) ** 2, 1.0)
    weight = np.exp(-scale * r ** (1 / index)) * fade * r * 4 * t**3
    k = np.concatenate([np.linspace(0, 12, 481), np.geomspace(12.05, 150, 420)])
    values = j0(k[:, None] * r[None, :]) @ weight
    return k, values / values[0]
