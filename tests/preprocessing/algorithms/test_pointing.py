"""Finding a frame on another by its pixels: when it is found, how well, and when it is not."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from astrid_site.imaging.moffat import moffat_of_fwhm
from preprocessing.algorithms.pointing import (
    format_offset,
    measure_pointing,
    refuse_wrong_pointing,
)
from preprocessing.algorithms.preprocess import preprocess_image
from preprocessing.algorithms.registration import register

RA, DEC = 150.0, 40.0


def tan_wcs(shape, *, scale=1.0, turn=0.0, flipped=False, east=0.0, north=0.0):
    """World coordinates whose frame centre lies (east, north) arcsec from the field's."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [RA + east / 3600.0 / np.cos(np.radians(DEC)), DEC + north / 3600.0]
    wcs.wcs.crpix = [(shape[1] + 1) / 2.0, (shape[0] + 1) / 2.0]
    cosine, sine = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    matrix = np.array([[-cosine, sine], [sine, cosine]]) * scale / 3600.0
    wcs.wcs.cd = matrix @ np.diag([-1.0, 1.0]) if flipped else matrix
    return wcs


def sky_of(seed, *, n=120, n_extended=40, radius=160.0):
    """Places (east, north) [arcsec], fluxes and widths [arcsec] of the sources of a field."""
    rng = np.random.default_rng(seed)
    total = n + n_extended
    east, north = rng.uniform(-radius, radius, (2, total))
    flux = 10 ** rng.uniform(2.8, 4.5, total)
    width = np.where(np.arange(total) < n, 0.0, rng.uniform(2.0, 6.0, total))
    return east, north, flux, width


def observe(sky, *, seed, shape=(192, 192), fwhm=3.0, sky_noise=8.0, told=None, **true):
    """A calibrated frame of a field; ``told`` are the world coordinates its header claims."""
    wcs = tan_wcs(shape, **true)
    east, north, flux, width = sky
    ra = RA + east / 3600.0 / np.cos(np.radians(DEC))
    x, y = wcs.all_world2pix(ra, DEC + north / 3600.0, 0)
    rng = np.random.default_rng(seed)
    data = rng.normal(0.0, sky_noise, shape)
    scale = true.get("scale", 1.0)
    for i in np.flatnonzero((x > -20) & (x < shape[1] + 20) & (y > -20) & (y < shape[0] + 20)):
        profile = moffat_of_fwhm(float(np.hypot(fwhm, width[i] / scale)))
        left, low = (max(0, int(value) - 24) for value in (x[i], y[i]))
        part = np.s_[low : max(0, int(y[i]) + 25), left : max(0, int(x[i]) + 25)]
        rows, columns = np.indices(data[part].shape)
        data[part] += flux[i] * profile.image(columns + left - x[i], rows + low - y[i])
    return Image(
        data=data.astype(np.float32),
        mask=np.zeros(shape, dtype=np.uint16),
        variance=np.full(shape, sky_noise**2, dtype=np.float32),
        wcs=wcs if told is None else tan_wcs(shape, **told),
    )


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"turn": 90.0},
        {"turn": 37.0},
        {"flipped": True},
        {"turn": 270.0, "flipped": True},
        {"scale": 2.0, "shape": (128, 128)},
        {"scale": 0.5, "shape": (300, 280)},
    ],
    ids=str,
)
def test_a_shifted_frame_is_found_to_a_fraction_of_a_pixel(how):
    sky = sky_of(1)
    reference = observe(sky, seed=2)
    science = observe(sky, seed=3, east=13.3, north=-21.7, **how)
    found = measure_pointing(reference, science)
    assert found.is_found
    # the true WCS is right: what is left is the centring error, a tenth of the coarser pixel
    assert found.offset_arcsec < 0.15 * max(1.0, how.get("scale", 1.0))
    assert not found.is_wrong
    x, y = reference.wcs.all_world2pix(*science.wcs.wcs.crval, 0)
    assert found.shift == pytest.approx((float(x), float(y)), abs=0.25)


@pytest.mark.parametrize("turn", [0.0, 90.0])
def test_a_lie_of_arcminutes_is_measured_to_the_arcsecond(turn):
    sky = sky_of(4)
    reference = observe(sky, seed=5)
    science = observe(
        sky, seed=6, east=8.0, turn=turn, told={"east": 308.0, "north": -40.0, "turn": turn}
    )
    found = measure_pointing(reference, science)
    assert found.is_wrong
    assert found.offset_arcsec == pytest.approx(np.hypot(300.0, 40.0), abs=0.5)
    with pytest.raises(AlgorithmError, match=r"wrong by 5.0 arcmin") as caught:
        refuse_wrong_pointing(reference, science)
    assert caught.value.numbers["offset_arcsec"] == found.offset_arcsec


def test_unrelated_fields_are_never_found():
    # 90 pairs without a match bound the false rate to 3.3 % at 95 % confidence; 1281 pairs of
    # larger simulated fields gave none either, which bounds it to 0.23 %
    rng = np.random.default_rng(7)
    frames = [
        observe(
            sky_of(100 + i, n=int(rng.integers(0, 200)), n_extended=int(rng.integers(0, 60))),
            seed=i,
            shape=(128, 128),
            fwhm=float(rng.uniform(2.0, 4.0)),
            turn=float(rng.choice([0.0, 90.0])),
        )
        for i in range(10)
    ]
    found = [measure_pointing(a, b) for a, b in permutations(frames, 2)]
    assert not any(pointing.is_found for pointing in found)
    # and the threshold is not only just out of reach
    assert np.median([pointing.significance for pointing in found]) < 6.0


def test_pure_noise_is_never_found():
    empty = sky_of(0, n=0, n_extended=0)
    frames = [observe(empty, seed=seed, shape=(128, 128)) for seed in range(6)]
    assert not any(measure_pointing(a, b).is_found for a, b in permutations(frames, 2))


def test_one_bright_star_in_each_of_two_fields_is_no_match():
    first = (np.array([10.0]), np.array([-5.0]), np.array([3e5]), np.zeros(1))
    second = (np.array([-30.0]), np.array([22.0]), np.array([8e5]), np.zeros(1))
    found = measure_pointing(observe(first, seed=1), observe(second, seed=2))
    assert not found.is_found


def test_the_nuclei_of_two_galaxies_are_no_match():
    def galaxy(seed):
        rng = np.random.default_rng(seed)
        arms = rng.normal(0.0, 20.0, (2, 30))
        east, north = np.append(arms[0], 0.0), np.append(arms[1], 0.0)
        flux = np.append(10 ** rng.uniform(3.0, 4.0, 30), 1e5)
        return east, north, flux, np.append(rng.uniform(1.0, 6.0, 30), 8.0)

    same = measure_pointing(observe(galaxy(1), seed=3), observe(galaxy(1), seed=4, east=5.5))
    other = measure_pointing(observe(galaxy(1), seed=3), observe(galaxy(2), seed=4))
    assert not other.is_found
    assert same.significance > 1.5 * other.significance


def test_a_pattern_of_the_detector_does_not_convict_the_wcs():
    pattern = sky_of(8)
    science = observe(pattern, seed=10, told={"east": 300.0})
    found = measure_pointing(observe(pattern, seed=9), science)
    assert found.significance > 9.0
    assert not found.is_wrong


def test_large_frames_are_found_on_a_coarser_grid():
    sky = sky_of(11, n=600, n_extended=0, radius=600.0)
    reference = observe(sky, seed=12, shape=(1100, 1100))
    science = observe(sky, seed=13, shape=(1100, 1101), east=40.0, told={"east": 340.0})
    assert measure_pointing(reference, science).offset_arcsec == pytest.approx(300.0, abs=1.0)


def test_frames_without_world_coordinates_or_variance_are_a_mistake():
    frame = observe(sky_of(1), seed=1)
    with pytest.raises(ValueError, match="science"):
        measure_pointing(frame, frame.with_(wcs=None))
    with pytest.raises(ValueError, match="reference"):
        measure_pointing(frame.with_(variance=None), frame)


def test_offsets_are_said_as_people_say_them():
    assert format_offset(12.4) == "12 arcsec"
    assert format_offset(301.0) == "5.0 arcmin"


def plain_image(path):
    """A frame known to be harmless, without the reader's child process."""
    with fits.open(path) as opened:
        data = opened[0].data.astype(np.float32)
        return Image(data, np.zeros(data.shape, dtype=np.uint16), wcs=WCS(opened[0].header))


@pytest.fixture(scope="module")
def spiral(test_data):
    folder = test_data / "spiral_3surveys"
    return {
        (survey, band): preprocess_image(plain_image(folder / f"{survey}_{band}.fits"))
        for survey in ("PS1", "DES", "SDSS")
        for band in "griz"
    }


@pytest.mark.real_data
@pytest.mark.parametrize("band", list("griz"))
def test_the_galaxy_with_the_wrong_wcs_is_convicted_and_the_others_are_not(spiral, band):
    for witness in ("PS1", "DES"):
        lie = measure_pointing(spiral[witness, band].image, spiral["SDSS", band].image)
        assert lie.is_wrong
        # each SDSS cut-out has its own wrong WCS: 345.8 to 349.2 arcsec
        assert lie.offset_arcsec == pytest.approx(347.5, abs=2.5)
    honest = measure_pointing(spiral["PS1", band].image, spiral["DES", band].image)
    # centroids of nucleus and knot put the two WCS 0.276 arcsec apart (PS1 pixel: 0.25)
    assert honest.offset_arcsec == pytest.approx(0.276, abs=0.03)
    assert not honest.is_wrong


@pytest.mark.real_data
def test_another_galaxy_of_the_same_kind_is_not_taken_for_it(spiral):
    image = spiral["SDSS", "r"].image
    for turn in (60.0, 90.0, 180.0):
        cosine, sine = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        wcs = image.wcs.celestial.deepcopy()
        wcs.wcs.cd = wcs.pixel_scale_matrix @ np.array([[cosine, -sine], [sine, cosine]])
        turned = image.with_(wcs=wcs)
        assert not measure_pointing(spiral["DES", "r"].image, turned).is_found


@pytest.mark.real_data
def test_registration_refuses_the_wrong_wcs_where_stars_are_too_few(spiral):
    reference, science = spiral["PS1", "r"], spiral["SDSS", "r"]
    with pytest.raises(AlgorithmError, match=r"wrong by 5.8 arcmin"):
        register(reference.image, reference.stars, science.image, science_stars=science.stars)
    trusted = spiral["DES", "r"]
    found = register(reference.image, reference.stars, trusted.image, science_stars=trusted.stars)
    assert found.overlap > 0.8


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (np.s_[:, ::-1], "mirrored left to right"),
        (np.s_[::-1, :], "mirrored top to bottom"),
        (np.s_[::-1, ::-1], "upside down"),
    ],
)
def test_pixels_turned_against_their_header_are_refused_where_stars_are_few(test_data, turn, words):
    folder = test_data / "decam_2018_transient" / "input_data"
    reference = preprocess_image(plain_image(folder / "DEC-OBS04a.mini.fits"))
    honest = plain_image(folder / "DEC-OBS04b.mini.fits")
    science = preprocess_image(honest.with_(data=honest.data[turn].copy()))
    with pytest.raises(AlgorithmError, match=words):
        register(reference.image, reference.stars, science.image, science_stars=science.stars)
