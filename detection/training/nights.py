"""Nights drawn at random: camera, weather, treatment and faults all follow from one seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.sky_detector import Camera
from astrid_site.imaging.sky_pair import PairConfig
from detection.training.pair_chain import RawPair, Treatment
from detection.training.pair_faults import simulate_raw_pair, spoil, vary_stars
from differencing.algorithms.subtraction import SubtractionConfig

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Night:
    """How one simulated pair was taken and treated.

    Attributes
    ----------
    pair : PairConfig
        The two exposures.
    treatment : Treatment
        How they are worked on.
    is_swapped : bool
        Whether the transients are in the earlier frame and fade.
    n_variables, n_hot_pixels, n_warm_columns : int
        Stars that change, and faults that no mask knows of.
    """

    pair: PairConfig
    treatment: Treatment
    is_swapped: bool
    n_variables: int
    n_hot_pixels: int
    n_warm_columns: int


def draw_night(seed: int) -> Night:
    """One camera, one night and one choice of treatment, all drawn from the seed."""
    rng = np.random.default_rng([seed, 63])
    science_fwhm = float(np.exp(rng.uniform(np.log(1.8), np.log(5.5))))
    camera = Camera(
        gain=float(rng.uniform(0.8, 3.0)),
        read_noise=float(rng.uniform(3.0, 12.0)),
        cosmic_rays_per_mpix_100s=float(rng.choice([5.0, 30.0, 90.0])),
        bad_columns_per_mpix=float(rng.uniform(0.0, 8.0)),
    )
    is_aligned = bool(rng.random() < 0.3)
    shift = rng.uniform(-0.35, 0.35, 2) if is_aligned else rng.uniform(-6.0, 6.0, 2)
    pair = PairConfig(
        seed=seed,
        shape=(512, 512),
        star_density_per_mpix=float(np.exp(rng.uniform(np.log(600.0), np.log(9000.0)))),
        galaxy_density_per_mpix=float(rng.uniform(100.0, 500.0)),
        transient_density_per_mpix=260.0,
        star_mag_range=(float(rng.uniform(9.5, 13.0)), 21.0),
        science_fwhm_pix=science_fwhm,
        reference_fwhm_pix=float(np.clip(science_fwhm * rng.uniform(0.7, 1.35), 1.8, 6.0)),
        psf_variation=float(rng.uniform(0.0, 0.1)),
        ellipticity=float(rng.uniform(0.0, 0.12)),
        reference_sky=float(np.exp(rng.uniform(np.log(60.0), np.log(1500.0)))),
        science_sky=float(np.exp(rng.uniform(np.log(100.0), np.log(2500.0)))),
        flux_ratio=float(rng.uniform(0.4, 1.6)),
        rotation_deg=float(rng.uniform(-0.15, 0.15)),
        shift_pix=(float(shift[0]), float(shift[1])),
        transient_snr=(4.0, 60.0),
        host_fraction=0.6,
        camera=camera,
    )
    coarse = SubtractionConfig(method="kernel", spatial_order=0, halo_growth=0.0)
    # drawn in this order: a seed keeps its night
    subtraction = coarse if is_aligned or rng.random() < 0.4 else SubtractionConfig()
    finds_cosmic_rays = bool(rng.random() < 0.5)
    return Night(
        pair=pair,
        treatment=Treatment(finds_cosmic_rays, is_aligned, subtraction),
        is_swapped=bool(rng.random() < 0.25),
        n_variables=int(rng.integers(0, 30)),
        n_hot_pixels=int(rng.integers(0, 40)),
        n_warm_columns=int(rng.integers(0, 5)),
    )


def simulate_night(night: Night, rng: np.random.Generator) -> RawPair:
    """Two raw frames with the night's faults and changes put in."""
    pair, psf = simulate_raw_pair(night.pair, is_swapped=night.is_swapped)
    pair = vary_stars(pair, psf, rng, n_stars=night.n_variables, draw=_draw_changes)
    later = spoil(pair.later, rng, n_columns=night.n_warm_columns, n_pixels=night.n_hot_pixels)
    return replace(pair, later=later)


def _draw_changes(rng: np.random.Generator, n_stars: int) -> Values:
    """By a twentieth to a half, up or down."""
    sign = rng.choice([-1.0, 1.0], n_stars)
    return sign * np.exp(rng.uniform(np.log(0.05), np.log(0.5), n_stars))
