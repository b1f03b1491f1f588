"""The injected limit against sources exposed with the sky and calibrated with the frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import ndimage, optimize, stats

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.photometry import cut_psf_stamps, fit_stamp_fluxes
from astrid_site.imaging.sky_detector import Camera, expose
from astrid_site.imaging.sky_geometry import plane_map
from astrid_site.imaging.sky_psf import draw_moffat_field
from astrid_site.imaging.sky_scene import add_points, add_stars, sky_surface
from astrid_site.imaging.sky_sources import SkyPopulation, draw_static_sky
from preprocessing.algorithms.completeness import find_crossing
from preprocessing.algorithms.limiting_magnitude import inject_into_frame
from preprocessing.algorithms.preprocess import preprocess_image

SIDE = 640
ZERO_POINT = 26.5


@dataclass(frozen=True)
class Regime:
    """What a frame is like."""

    density: float = 1000.0
    gradient: tuple[float, float] = (0.02, 0.01)
    bowl: float = 0.0
    is_smoothed: bool = False
    gain: float = 1.7
    sky: float = 300.0


REGIMES = {
    "sparse": Regime(),
    "crowded": Regime(density=8000.0),
    "gradient": Regime(gradient=(0.35, -0.25), bowl=0.15),
    "correlated": Regime(is_smoothed=True),
    "few photons": Regime(sky=30.0, gain=1.0),
}


class Sky:
    """A field without noise, and exposures of it."""

    def __init__(self, regime, seed):
        rng = np.random.default_rng([seed, 5])
        self.regime = regime
        self.camera = Camera(gain=regime.gain, bad_columns_per_mpix=0.0)
        self.psf = draw_moffat_field(
            rng, shape=(SIDE, SIDE), fwhm_pix=3.0, beta=3.5, variation=0.04, ellipticity=0.03
        )
        half = SIDE / 2 + 40
        sky = draw_static_sky(
            rng,
            SkyPopulation(
                half_width_arcsec=(half, half),
                n_stars=int(regime.density * (2 * half) ** 2 / 1e6),
                n_galaxies=0,
                star_mag_range=(14.0, 22.0),
                half_light_arcsec=2.0,
            ),
        )
        middle = (SIDE - 1) / 2
        where = plane_map(1.0, rotation_deg=0.0, origin=(middle, middle))
        self.light = np.zeros((SIDE, SIDE))
        add_stars(self.light, self.psf, sky, where=where, zero_point=ZERO_POINT)
        # stars that could be seen one by one: those of five sigma on this sky
        self.sigma = float(np.sqrt(self.camera.variance_of(np.array([regime.sky]))[0]))
        image = self.psf.cutouts(np.array([middle]), np.array([middle]), half=12)[0]
        least = 5.0 * self.sigma / np.sqrt((image**2).sum())
        seen = sky.star_mag < ZERO_POINT - 2.5 * np.log10(least)
        visible = replace(
            sky,
            star_xi=sky.star_xi[seen],
            star_eta=sky.star_eta[seen],
            star_mag=sky.star_mag[seen],
        )
        self.visible = np.zeros((SIDE, SIDE))
        add_stars(self.visible, self.psf, visible, where=where, zero_point=ZERO_POINT)
        self.level = sky_surface(
            (SIDE, SIDE), level=regime.sky, gradient=regime.gradient, bowl=regime.bowl
        )

    def exposed(self, rng, sources=None):
        """A raw frame, with point sources (x, y, flux) in the sky that is exposed."""
        scene = self.light + self.level
        if sources is not None:
            x, y, flux = sources
            add_points(scene, self.psf, x=x, y=y, flux=flux, level=0.01)
        exposure = expose(
            scene, self.camera, exposure_s=60.0, bad_columns=np.zeros(scene.shape, bool), rng=rng
        )
        data = exposure.data
        if self.regime.is_smoothed:
            kernel = np.outer([1.0, 2.0, 1.0], [1.0, 2.0, 1.0]) / 16
            data = ndimage.convolve(data, kernel.astype(np.float32))
        return Image(
            data=data,
            mask=np.zeros(data.shape, np.uint16),
            gain=self.regime.gain,
            read_noise=self.camera.read_noise,
            saturation=self.camera.saturation,
            zero_point=ZERO_POINT,
        )

    def blank_places(self, rng, spacing):
        """Sub-pixel places about so far from each other where no star can be seen."""
        cells = np.arange(20, SIDE - 20, spacing)
        y, x = (part.ravel() + rng.uniform(-3, 3, part.size) for part in np.meshgrid(cells, cells))
        dark = self.visible[np.rint(y).astype(int), np.rint(x).astype(int)] < 0.3 * self.sigma
        return x[dark], y[dark]


def claimed_limit(sky, seed=11):
    """What the function under test says, and the noise-based limit."""
    done = preprocess_image(sky.exposed(np.random.default_rng(seed)))
    return done, inject_into_frame(
        done.image,
        done.stars,
        gain=done.metrics["gain_used"],
        rng=np.random.default_rng(seed),
    )


def true_limit(sky, *, around, seed=21, n_frames=2):
    """Flux at which half of the sources exposed with the sky are found after calibration."""
    rng = np.random.default_rng(seed)
    low, high = np.nanpercentile(
        np.concatenate([pulls_at(sky.exposed(rng), *sky.blank_places(rng, 8)) for _ in range(2)]),
        [15.865, 84.135],
    )
    flux, found = [], []
    for _ in range(n_frames):
        x, y = sky.blank_places(rng, 22)
        tried = around * rng.choice([0.6, 0.8, 1.0, 1.25, 1.6], x.size)
        pulls = pulls_at(sky.exposed(rng, (x, y, tried)), x, y)
        flux.append(tried[np.isfinite(pulls)])
        found.append(pulls[np.isfinite(pulls)] >= 5.0 * (high - low) / 2)
    return fit_half(np.concatenate(flux), np.concatenate(found))


def pulls_at(raw, x, y):
    """Forced flux over its error at places of a frame that goes through the whole calibration."""
    image = preprocess_image(raw).image
    stamps = cut_psf_stamps(image.data, image.variance, image.psf, mask=image.mask, x=x, y=y)
    fit = fit_stamp_fluxes(stamps)
    return fit.flux / fit.flux_error


def fit_half(flux, found):
    """Flux of 50 % by maximum likelihood of a normal distribution in its logarithm."""

    def loss(parameters):
        share = stats.norm.cdf((np.log(flux) - parameters[0]) / np.exp(parameters[1]))
        share = np.clip(share, 1e-6, 1 - 1e-6)
        return -np.log(np.where(found, share, 1 - share)).sum()

    start = [np.log(np.median(flux)), np.log(0.2)]
    return float(np.exp(optimize.minimize(loss, start, method="Nelder-Mead").x[0]))


@pytest.mark.parametrize("name", REGIMES)
def test_half_of_the_sources_in_the_raw_sky_are_found_at_the_limit(name):
    sky = Sky(REGIMES[name], seed=3)
    _, depth = claimed_limit(sky)
    true = true_limit(sky, around=depth.half.flux)
    # 500 sources fix the truth to 0.03 mag, 1500 places the width of the noise to 0.03 mag
    assert 2.5 * np.log10(depth.half.flux / true) == pytest.approx(0.0, abs=0.1)


@pytest.fixture(scope="module")
def sparse():
    return claimed_limit(Sky(REGIMES["sparse"], seed=3))


def test_the_limit_of_plain_noise_is_that_of_the_noise(sparse):
    done, depth = sparse
    assert depth.noise_flux == pytest.approx(done.metrics["limiting_flux_5sigma"], rel=0.02)
    # 1500 places tell the width to 3 %, 400 the share to 2.5 %; photons add 3 %
    assert depth.half.flux == pytest.approx(depth.noise_flux, rel=0.12)
    assert depth.half.low < depth.half.flux < depth.half.high
    # from 50 to 90 % it takes 1.28 sigma more
    assert depth.most.flux / depth.half.flux == pytest.approx(1 + 1.28 / 5, abs=0.06)


def test_the_same_seed_gives_the_same_limit_and_magnitudes_follow_the_zero_point(sparse):
    done, depth = sparse
    again = inject_into_frame(
        done.image, done.stars, gain=done.metrics["gain_used"], rng=np.random.default_rng(11)
    )
    assert np.array_equal(again.n_found, depth.n_found)
    assert again.half == depth.half
    told = depth.as_json(zero_point=26.5)
    assert told["magnitude_50"] == pytest.approx(26.5 - 2.5 * np.log10(depth.half.flux))
    assert told["magnitude_50_low"] < told["magnitude_50"] < told["magnitude_50_high"]
    assert told["magnitude_90"] < told["magnitude_50"]
    assert depth.as_json(zero_point=None)["magnitude_50"] is None


def test_a_frame_full_of_stars_has_too_few_places_and_says_so(sparse):
    done, _ = sparse
    mask = np.full(done.image.shape, MaskPlane.BAD_PIXEL, np.uint16)
    with pytest.raises(AlgorithmError, match="too few blank places") as caught:
        inject_into_frame(
            done.image.with_(mask=mask), done.stars, gain=1.0, rng=np.random.default_rng(1)
        )
    assert caught.value.numbers == {"n_places": 0, "n_required": 100}
    with pytest.raises(ValueError, match="PSF"):
        inject_into_frame(
            done.image.with_(psf=None), done.stars, gain=1.0, rng=np.random.default_rng(1)
        )


def test_an_absurd_gain_or_no_noise_at_all_ends_in_no_crash(sparse):
    done, depth = sparse
    # so many photons have no noise of their own: the sky's alone is left
    many = inject_into_frame(done.image, done.stars, gain=1e20, rng=np.random.default_rng(11))
    assert many.half.flux == pytest.approx(depth.half.flux, rel=0.1)
    flat = done.image.with_(data=np.zeros_like(done.image.data))
    with pytest.raises(AlgorithmError, match="no noise"):
        inject_into_frame(flat, done.stars, gain=1.0, rng=np.random.default_rng(11))


def test_the_completeness_is_made_to_rise_and_crossings_outside_are_none():
    flux = np.array([1.0, 2.0, 3.0, 4.0])
    crossing = find_crossing(flux, np.array([10, 60, 50, 95]), 100, share=0.5)
    # 60 and 50 of 100 are pooled to 55
    assert crossing.flux == pytest.approx(2 ** ((0.5 - 0.1) / (0.55 - 0.1)))
    assert find_crossing(flux, np.array([60, 70, 80, 85]), 100, share=0.5) is None
    assert find_crossing(flux, np.array([10, 20, 30, 40]), 100, share=0.5) is None
