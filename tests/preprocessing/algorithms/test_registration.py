"""Registration against known maps: by WCS and stars, by stars alone, and the refusals."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS

from astrid_site.imaging.errors import AlgorithmError, NoWorkError
from astrid_site.imaging.image import Image
from preprocessing.algorithms.asterisms import match_asterisms
from preprocessing.algorithms.flux_ratio import fit_flux_ratio
from preprocessing.algorithms.registration import register
from preprocessing.algorithms.stars import StarList

SHAPE = (500, 500)


def sky(n=220, seed=1):
    rng = np.random.default_rng(seed)
    flux = 500.0 * (400.0 ** (rng.uniform(0, 1, n) ** 2))
    return rng.uniform(-150, 650, n), rng.uniform(-150, 650, n), flux


def star_list(x, y, flux, *, seed=2, noise=20.0):
    rng = np.random.default_rng(seed)
    inside = (x > 3) & (x < SHAPE[1] - 4) & (y > 3) & (y < SHAPE[0] - 4)
    x, y, flux = x[inside], y[inside], flux[inside]
    order = np.argsort(-flux)
    x, y, flux = x[order], y[order], flux[order]
    error = np.hypot(noise, np.sqrt(flux / 2.0))
    scatter = 1.3 * error / flux
    return StarList(
        x + rng.normal(0, scatter),
        y + rng.normal(0, scatter),
        flux + rng.normal(0, error),
        error,
        flux / 10,
        np.ones(x.size, dtype=np.bool_),
    )


def frame(wcs=None):
    return Image(
        data=np.zeros(SHAPE, dtype=np.float32), mask=np.zeros(SHAPE, dtype=np.uint16), wcs=wcs
    )


def tan_wcs(*, ra=150.0, dec=2.0, scale=1.0, angle=0.0, flip=False):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [SHAPE[1] / 2 + 0.5, SHAPE[0] / 2 + 0.5]
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    parity = np.diag([1.0 if flip else -1.0, 1.0])
    wcs.wcs.cd = parity @ turn * scale / 3600.0
    return wcs


def transformed(x, y, *, angle=0.0, scale=1.0, flip=False, shift=(0.0, 0.0)):
    centre = np.array([(SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2])
    c, s = np.cos(angle), np.sin(angle)
    matrix = scale * np.array([[c, -s], [s, c]])
    if flip:
        matrix = matrix @ np.diag([-1.0, 1.0])
    moved = (np.column_stack([x, y]) - centre) @ matrix.T + centre + np.array(shift)
    return moved[:, 0], moved[:, 1]


def worst_error(found, **transform):
    x, y = (v.ravel() for v in np.meshgrid(np.linspace(60, 440, 5), np.linspace(60, 440, 5)))
    true_x, true_y = transformed(x, y, **transform)
    got_x, got_y = found.to_reference(x, y)
    inside = (np.abs(true_x - 250) < 230) & (np.abs(true_y - 250) < 230)
    assert inside.any()
    return float(np.hypot(got_x - true_x, got_y - true_y)[inside].max())


@pytest.mark.parametrize(
    "transform",
    [
        {"angle": 0.003, "scale": 1.0002, "shift": (37.3, -21.7)},
        {"angle": np.pi, "shift": (4.0, 5.5)},
        {"angle": 0.7, "flip": True},
        {"angle": 0.2, "scale": 2.5},
        {"angle": 1.6, "scale": 1 / 3.0, "flip": True},
    ],
    ids=["dither", "upside down", "mirrored", "finer pixels", "coarser, mirrored"],
)
def test_stars_alone_register_any_turn_parity_and_scale(transform):
    x, y, flux = sky(n=220 if transform.get("scale", 1) < 2 else 600)
    science = star_list(x, y, 0.7 * flux, seed=3)
    reference = star_list(*transformed(x, y, **transform), flux, seed=4)
    found = register(frame(), reference, frame(), science_stars=science)
    assert found.method == "stars"
    assert found.rms_pix is not None
    assert found.rms_pix < 0.05
    assert worst_error(found, **transform) < 0.1
    assert found.flux_ratio == pytest.approx(0.7, abs=4 * found.flux_ratio_error)


def test_wcs_and_stars_together_correct_an_erring_wcs():
    x, y, flux = sky()
    truth = {"shift": (6.0, -4.0)}
    science = star_list(x, y, flux, seed=5)
    reference = star_list(*transformed(x, y, **truth), flux, seed=6)
    found = register(frame(tan_wcs()), reference, frame(tan_wcs()), science_stars=science)
    assert found.method == "wcs+stars"
    assert found.wcs_offset_arcsec == pytest.approx(np.hypot(6, 4), abs=0.1)
    assert found.rms_pix is not None
    assert found.rms_pix < 0.05
    assert worst_error(found, **truth) < 0.06


def distorted(x, y, *, corner_pix):
    """Positions moved outwards by the cube of their distance from the middle."""
    u, v = (x - 249.5) / 249.5, (y - 249.5) / 249.5
    radial = corner_pix / 2.0**1.5 * (u**2 + v**2)
    return x + radial * u, y + radial * v


@pytest.mark.parametrize("wcs", [None, tan_wcs()], ids=["stars alone", "plain WCS"])
def test_a_distortion_that_no_header_tells_of_is_taken_from_the_stars(wcs):
    # 80 of these lie on the frame, half of them of S/N > 50
    x, y, flux = sky(n=205, seed=31)
    flux = flux * 4.0
    science = star_list(x, y, flux, seed=5)
    reference = star_list(*distorted(x, y, corner_pix=2.5), flux, seed=6)
    assert len(science) < 90
    found = register(frame(wcs), reference, frame(wcs), science_stars=science)
    assert found.rms_pix is not None
    assert found.rms_pix < 0.03
    # all but what the moved edge loses
    assert found.n_matched > 0.85 * len(science)
    grid = (v.ravel() for v in np.meshgrid(np.linspace(40, 460, 7), np.linspace(40, 460, 7)))
    at_x, at_y = grid
    got, true = found.to_reference(at_x, at_y), distorted(at_x, at_y, corner_pix=2.5)
    assert np.hypot(got[0] - true[0], got[1] - true[1]).max() < 0.15


def test_no_order_is_added_where_the_stars_do_not_ask_for_it():
    x, y, flux = sky(n=205, seed=31)
    stars = star_list(x, y, flux, seed=5), star_list(x, y, flux, seed=6)
    found = register(frame(), stars[1], frame(), science_stars=stars[0])
    assert max(step.order for step in found.maps) == 2


def test_flipped_parity_and_other_pixel_scale_in_the_wcs_are_followed():
    x, y, flux = sky(n=600)
    # the reference's pixels are half as large and its x axis runs the other way
    reference = star_list(*transformed(x, y, scale=2.0, flip=True), flux, seed=7)
    wcs = tan_wcs(scale=0.5, flip=True)
    found = register(
        frame(wcs), reference, frame(tan_wcs()), science_stars=star_list(x, y, flux, seed=8)
    )
    assert found.method == "wcs+stars"
    assert worst_error(found, scale=2.0, flip=True) < 0.1
    assert found.overlap == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("arcmin", [2.0, 4.0, 12.0])
def test_stars_are_believed_where_the_wcs_is_off_by_minutes_of_arc(arcmin):
    x, y, flux = sky()
    truth = {"shift": (6.0, -4.0)}
    science = star_list(x, y, flux, seed=9)
    reference = star_list(*transformed(x, y, **truth), flux, seed=10)
    wrong = tan_wcs(dec=2.0 + arcmin / 60)
    found = register(frame(tan_wcs()), reference, frame(wrong), science_stars=science)
    assert found.method == "stars"
    assert worst_error(found, **truth) < 0.06
    # the shift adds 4 rows to or takes them from what the header is off by
    assert found.wcs_offset_arcsec == pytest.approx(60.0 * arcmin, abs=8.0)


@pytest.mark.parametrize(
    "truth",
    [{"angle": np.pi, "shift": (200.0, 40.0)}, {"flip": True}, {"scale": 1.3}],
    ids=["upside down and 200 pixels off", "mirrored", "other scale"],
)
def test_stars_are_believed_where_the_wcs_does_not_know_of_a_turn(truth):
    x, y, flux = sky(n=400)
    science = star_list(x, y, flux, seed=9)
    reference = star_list(*transformed(x, y, **truth), flux, seed=10)
    found = register(frame(tan_wcs()), reference, frame(tan_wcs()), science_stars=science)
    assert found.method == "stars"
    assert worst_error(found, **truth) < 0.1


def test_a_pattern_of_few_stars_is_not_believed_against_the_wcs():
    x, y, flux = sky(n=28)
    science, reference = star_list(x, y, flux, seed=9), star_list(x, y, flux, seed=10)
    assert len(science) < 12
    with pytest.raises(AlgorithmError, match="too few to go by") as caught:
        register(frame(tan_wcs()), reference, frame(tan_wcs(dec=2.05)), science_stars=science)
    assert caught.value.numbers["offset_arcsec"] == pytest.approx(180.0, abs=1.0)


def test_a_wcs_off_by_degrees_is_that_of_another_frame():
    x, y, flux = sky()
    science, reference = star_list(x, y, flux, seed=9), star_list(x, y, flux, seed=10)
    with pytest.raises(AlgorithmError, match="too far to be an error of pointing") as caught:
        register(frame(tan_wcs()), reference, frame(tan_wcs(dec=7.0)), science_stars=science)
    assert caught.value.numbers["offset_arcsec"] == pytest.approx(18000.0, abs=1.0)


def test_no_unrelated_field_is_accepted_whatever_the_wcs_says():
    for seed in range(32):
        # every eighth as crowded as 8,000 stars per million pixels
        n = 5120 if seed % 8 == 0 else 300
        science, reference = star_list(*sky(n, seed)), star_list(*sky(n, seed + 500))
        with pytest.raises(AlgorithmError):
            register(frame(tan_wcs()), reference, frame(tan_wcs()), science_stars=science)


def test_frames_of_different_sky_are_no_work():
    science = star_list(*sky(seed=11))
    reference = star_list(*sky(seed=12))
    with pytest.raises(NoWorkError) as caught:
        register(frame(tan_wcs()), reference, frame(tan_wcs(dec=3.0)), science_stars=science)
    assert caught.value.numbers["overlap"] == 0.0


def test_a_wcs_that_no_star_confirms_is_refused():
    science, reference = star_list(*sky(seed=13)), star_list(*sky(seed=14))
    with pytest.raises(AlgorithmError, match="no star on a star"):
        register(frame(tan_wcs()), reference, frame(tan_wcs()), science_stars=science)


def test_a_wcs_is_trusted_where_there_are_no_stars_to_test_it():
    nothing = star_list(*sky(n=1))
    found = register(frame(tan_wcs()), nothing, frame(tan_wcs()), science_stars=nothing)
    assert found.method == "wcs"
    assert found.n_matched == 0
    assert found.rms_pix is None
    assert worst_error(found) < 0.01


def test_unrelated_star_fields_without_wcs_are_refused():
    science, reference = star_list(*sky(seed=15)), star_list(*sky(seed=16))
    with pytest.raises(AlgorithmError, match="do not match") as caught:
        register(frame(), reference, frame(), science_stars=science)
    assert caught.value.numbers["n_required"] == 4


def test_aligned_frames_keep_their_grid_and_get_a_flux_ratio():
    x, y, flux = sky()
    found = register(
        frame(),
        star_list(x, y, flux, seed=17),
        frame(),
        science_stars=star_list(x, y, 1.4 * flux, seed=18),
        aligned=True,
    )
    assert found.method == "identity"
    assert worst_error(found) < 1e-9
    assert found.flux_ratio == pytest.approx(1.4, abs=4 * found.flux_ratio_error)


def test_aligned_frames_of_different_shape_are_refused():
    stars = star_list(*sky())
    small = Image(
        data=np.zeros((80, 80), dtype=np.float32), mask=np.zeros((80, 80), dtype=np.uint16)
    )
    with pytest.raises(AlgorithmError, match="differ in shape"):
        register(frame(), stars, small, science_stars=stars, aligned=True)


def test_half_of_the_stars_missing_on_either_side_does_not_matter():
    x, y, flux = sky(n=300)
    rng = np.random.default_rng(19)
    ours, theirs = rng.uniform(size=300) < 0.6, rng.uniform(size=300) < 0.6
    truth = {"angle": 2.0, "shift": (20.0, 10.0)}
    moved = transformed(x, y, **truth)
    found = register(
        frame(),
        star_list(moved[0][theirs], moved[1][theirs], flux[theirs], seed=20),
        frame(),
        science_stars=star_list(x[ours], y[ours], flux[ours], seed=21),
    )
    assert worst_error(found, **truth) < 0.1


def test_chance_patterns_of_unrelated_stars_are_not_believed():
    rng = np.random.default_rng(22)
    for _ in range(10):
        ours = rng.uniform(0, 500, 60) + 1j * rng.uniform(0, 500, 60)
        theirs = rng.uniform(0, 500, 60) + 1j * rng.uniform(0, 500, 60)
        assert match_asterisms(ours, theirs) is None


def test_variable_stars_do_not_bias_the_flux_ratio():
    x, y, flux = sky(n=120)
    reference = star_list(x, y, flux, seed=23)
    science = star_list(x, y, 0.5 * flux, seed=24)
    science.flux[:10] *= 4.0
    ratio = fit_flux_ratio(science, reference)
    assert ratio.value is not None
    assert ratio.value == pytest.approx(0.5, rel=0.01)


def test_a_flux_ratio_needs_positive_fluxes():
    stars = star_list(*sky(n=40))
    negative = StarList(stars.x, stars.y, -stars.flux, stars.flux_error, stars.peak, stars.is_star)
    assert fit_flux_ratio(negative, stars).value is None
