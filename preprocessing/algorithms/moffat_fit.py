"""Fit one Moffat to many stars where their pixels are, and render their neighbours with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial import cKDTree

from astrid_site.imaging.moffat import Moffat
from preprocessing.algorithms.star_cutouts import Cutouts, soften
from preprocessing.algorithms.stars import StarList

Float64 = NDArray[np.float64]


def fit_moffat(cutouts: Cutouts, dx: Float64, dy: Float64, *, core: Moffat) -> Moffat:
    """Fit the four parameters of a Moffat shared by the brightest stars; fluxes are linear."""
    rank = np.argsort(-(cutouts.data * cutouts.weight).sum(axis=(1, 2)))[:60]
    reach = min(cutouts.half, max(4, round(2.5 * core.fwhm)))
    inner = slice(cutouts.half - reach, cutouts.half + reach + 1)
    data = cutouts.data[rank][:, inner, inner]
    weight = cutouts.weight[rank][:, inner, inner]

    def residuals(parameters: Float64) -> Float64:
        trial = _core_of(parameters)
        model = trial.cutouts(dx[rank], dy[rank], half=reach)
        norm = np.maximum((model**2 * weight).sum(axis=(1, 2)), 1e-30)
        flux = ((model * data * weight).sum(axis=(1, 2)) / norm)[:, None, None]
        sigma = np.abs(flux) * model * 0.05
        return np.asarray(((data - flux * model) * np.sqrt(soften(weight, sigma))).ravel())

    start = np.array([np.log(core.width), np.log(core.beta - 1.0), core.e1, core.e2])
    # beta below 1.8 is no seeing disc but light of neighbours and sky
    lower = [np.log(0.3), np.log(0.8), -0.7, -0.7]
    upper = [np.log(30.0), np.log(30.0), 0.7, 0.7]
    found = least_squares(
        residuals,
        np.clip(start, lower, upper),
        bounds=(lower, upper),
        loss="soft_l1",
        # looser ones stop short of the core of crowded frames; the default of 1e-8 gains nothing
        ftol=1e-7,
        xtol=1e-6,
        max_nfev=25,
    )
    return _core_of(found.x)


def _core_of(parameters: Float64) -> Moffat:
    """Moffat of (log width, log (beta - 1), e1, e2)."""
    width, excess, e1, e2 = parameters
    return Moffat(float(np.exp(width)), 1.0 + float(np.exp(excess)), float(e1), float(e2))


def neighbour_images(
    cutouts: Cutouts, stars: StarList, *, chosen: NDArray[np.intp], core: Moffat
) -> Float64:
    """Light of all other sources in the cutouts of the chosen stars."""
    half = cutouts.half
    light = np.zeros_like(cutouts.data)
    tree = cKDTree(np.column_stack([stars.x, stars.y]))
    centres = np.column_stack([stars.x[chosen], stars.y[chosen]])
    near = tree.query_ball_point(centres, r=1.5 * half + 2.0)
    star = np.repeat(np.arange(chosen.size), [len(found) for found in near])
    other = np.concatenate([np.asarray(found, dtype=np.intp) for found in near])
    apart = other != chosen[star]
    star, other = star[apart], other[apart]
    flux = np.maximum(stars.flux[other], 0.0)
    dx, dy = stars.x[other] - cutouts.column[star], stars.y[other] - cutouts.row[star]
    for first in range(0, star.size, 2000):
        part = slice(first, first + 2000)
        images = core.cutouts(dx[part], dy[part], half=half) * flux[part, None, None]
        np.add.at(light, star[part], images)
    return light
