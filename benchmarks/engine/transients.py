"""New sources of known S/N, half of them on galaxies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine import ideal
from benchmarks.engine.detector import GAIN
from benchmarks.engine.exposure import Exposed
from benchmarks.engine.regimes import Regime
from benchmarks.engine.sky import Geometry, Sky

Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

EDGE_PIX = 30
_SEPARATION_PIX = 24.0


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


def draw_transients(
    regime: Regime,
    geometry: Geometry,
    sky: Sky,
    *,
    still: Exposed,
    reference: Exposed,
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
        inside &= (x > EDGE_PIX) & (x < nx - EDGE_PIX) & (y > EDGE_PIX) & (y < ny - EDGE_PIX)
    return inside
