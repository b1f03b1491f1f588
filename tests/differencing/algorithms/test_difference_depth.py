"""The injected limit of a difference against sources exposed with the sky of the science frame."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.spatial import cKDTree

from astrid_site.imaging.simulation import PairConfig, simulate_pair
from detection.algorithms.candidates import find_candidates
from differencing.algorithms.photons import new_source_variance
from differencing.algorithms.subtract import subtract
from preprocessing.algorithms.limiting_magnitude import inject_into_difference
from preprocessing.algorithms.preprocess import preprocess_image
from preprocessing.algorithms.registration import register
from preprocessing.algorithms.warp import warp

REGIMES = {
    "sparse": {},
    "crowded": {"star_density_per_mpix": 8000.0},
    "sharper science": {"reference_fwhm_pix": 3.4, "science_fwhm_pix": 2.4},
    "resampled": {"rotation_deg": 0.5, "reference_sky": 900.0},
}


def processed(config):
    """Both raw frames through the whole chain."""
    pair = simulate_pair(config)
    reference, science = (
        preprocess_image(raw.with_(mask=np.zeros_like(raw.mask)))
        for raw in (pair.reference, pair.science)
    )
    found = register(reference.image, reference.stars, science.image, science_stars=science.stars)
    template = warp(reference.image, found, shape=science.image.shape)
    scale = found.flux_ratio
    template = template.with_(data=template.data * scale, variance=template.variance * scale**2)
    return pair, science, subtract(template, science.image, stars=science.stars)


def limits(name, *, seed):
    """The claimed limit of a difference, and the flux of half completeness of its candidates."""
    config = PairConfig(
        seed=seed,
        shape=(480, 480),
        galaxy_density_per_mpix=0.0,
        transient_density_per_mpix=1000.0,
        transient_snr=(3.0, 13.0),
        host_fraction=0.0,
        **REGIMES[name],
    )
    pair, science, done = processed(config)
    own = new_source_variance(science.image.psf, done.psf) / science.metrics["gain_used"]
    depth = inject_into_difference(done, photon_variance=own, rng=np.random.default_rng(seed))
    truth = pair.truth[~np.asarray(pair.truth["masked"])]
    usable = done.score[np.rint(truth["y"]).astype(int), np.rint(truth["x"]).astype(int)] != 0
    truth = truth[usable]
    candidates = find_candidates(done, threshold=5.0)
    up = candidates.sign > 0
    tree = cKDTree(np.column_stack([candidates.x[up], candidates.y[up]]))
    distance, _ = tree.query(np.column_stack([truth["x"], truth["y"]]))
    return depth, fit_half(np.asarray(truth["flux_adu"]), distance < 2.0)


def fit_half(flux, found):
    def loss(parameters):
        share = stats.norm.cdf((np.log(flux) - parameters[0]) / np.exp(parameters[1]))
        share = np.clip(share, 1e-3, 1 - 1e-3)
        return -np.log(np.where(found, share, 1 - share)).sum()

    start = [np.log(np.median(flux)), np.log(0.25)]
    return float(np.exp(optimize.minimize(loss, start, method="Nelder-Mead").x[0]))


@pytest.mark.parametrize("name", REGIMES)
def test_half_of_the_transients_in_the_raw_sky_become_candidates_at_the_limit(name):
    depth, true = limits(name, seed=5)
    # 200 transients spread over 1.6 mag fix the truth to 0.04 mag, 400 places the claim to 0.02
    assert 2.5 * np.log10(depth.half.flux / true) == pytest.approx(0.0, abs=0.1)
