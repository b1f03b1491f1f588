"""World coordinates of unknown quality: rebuilt exactly, or refused with a reason."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from astrid_site.imaging.fits_io import read_header, read_image
from astrid_site.imaging.wcs_header import build_wcs, rebuild_wcs
from astrid_site.imaging.wcs_proof import prove_wcs
from tests.imaging import fits_samples as samples

SHAPE = (100, 120)
TAN = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.0,
    "CRVAL2": 2.2,
    "CRPIX1": 60.5,
    "CRPIX2": 50.5,
}
CD = {"CD1_1": -2e-4, "CD1_2": 3e-5, "CD2_1": 2e-5, "CD2_2": 2.1e-4}
CORNERS = np.array([[0.0, 0.0], [119.0, 0.0], [119.0, 99.0], [0.0, 99.0]])
SIP = {
    "A_ORDER": 3, "A_2_0": 1e-5, "A_0_3": -2e-8, "B_ORDER": 2, "B_1_1": 3e-6,
    "AP_ORDER": 2, "AP_2_0": -1e-5, "BP_ORDER": 2, "BP_1_1": -3e-6,
}  # fmt: skip


def sky(cards: dict[str, object]) -> np.ndarray:
    rebuilt = rebuild_wcs(cards)
    assert rebuilt.problem is None
    assert rebuilt.header is not None
    assert prove_wcs(rebuilt.header, shape=SHAPE) is None
    return build_wcs(rebuilt.header).all_pix2world(CORNERS, 0)


def astropy_sky(cards: dict[str, object]) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return WCS(fits.Header(cards)).all_pix2world(CORNERS, 0)


DIALECTS = {
    "CD": CD,
    "PC and CDELT": {
        "CDELT1": -2e-4, "CDELT2": 2e-4, "PC1_1": 0.8, "PC1_2": -0.6, "PC2_1": 0.6, "PC2_2": 0.8,
    },
    "CDELT alone": {"CDELT1": -2e-4, "CDELT2": 2e-4},
    "CDELT and CROTA2": {"CDELT1": -2e-4, "CDELT2": 2.5e-4, "CROTA2": 33.0},
    "SIP": CD | SIP | {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"},
    "TPV": CD | {"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_1": 1.0, "PV2_1": 1.0,
                 "PV1_4": 0.3, "PV2_7": 5.0},
    "TPV labelled TAN": CD | {"PV1_1": 1.0, "PV2_1": 1.0, "PV1_4": 0.3, "PV1_7": 4.0, "PV2_7": 5.0},
    "LONPOLE": CD | {"LONPOLE": 170.0, "LATPOLE": 2.2},
    "SIN": CD | {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN"},
    "ZPN": CD | {"CTYPE1": "RA---ZPN", "CTYPE2": "DEC--ZPN", "PV2_1": 1.0, "PV2_3": 40.0},
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_sound_header_keeps_its_sky(dialect: str) -> None:
    cards = TAN | DIALECTS[dialect]
    # 1e-10 deg is 0.4 micro-arcsec: rounding of the matrix product only
    np.testing.assert_allclose(sky(cards), astropy_sky(cards), rtol=0, atol=1e-10)


def test_the_deprecated_matrix_keywords_mean_the_same_as_the_new_ones() -> None:
    step = {"CDELT1": 2e-4, "CDELT2": 2e-4}
    old = {"PC001001": -0.8, "PC001002": 0.6, "PC002001": 0.6, "PC002002": 0.8}
    new = {"PC1_1": -0.8, "PC1_2": 0.6, "PC2_1": 0.6, "PC2_2": 0.8}
    np.testing.assert_array_equal(sky(TAN | step | old), sky(TAN | step | new))


def test_a_declination_first_header_is_turned_round() -> None:
    swapped = {
        "CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": 2.2, "CRVAL2": 150.0,
        "CRPIX1": 60.5, "CRPIX2": 50.5,
        "CD1_1": CD["CD2_1"], "CD1_2": CD["CD2_2"], "CD2_1": CD["CD1_1"], "CD2_2": CD["CD1_2"],
    }  # fmt: skip
    np.testing.assert_allclose(sky(swapped), sky(TAN | CD), rtol=0, atol=1e-12)


def test_sip_without_its_suffix_is_applied_and_said() -> None:
    rebuilt = rebuild_wcs(TAN | CD | SIP)
    assert rebuilt.header is not None
    assert rebuilt.header["CTYPE1"] == "RA---TAN-SIP"
    assert any("without -SIP" in note for note in rebuilt.notes)


def test_lookup_tables_are_left_out_and_said() -> None:
    rebuilt = rebuild_wcs(TAN | CD | {"CPDIS1": "LOOKUP", "D2IMDIS1": "LOOKUP"})
    assert rebuilt.header is not None
    assert not any(key.startswith(("CPDIS", "D2IM")) for key in rebuilt.header)
    assert any("lookup" in note for note in rebuilt.notes)


BROKEN = {
    "no coordinates": ({}, "no world coordinates"),
    "pixel axes": ({"CTYPE1": "PIXEL", "CTYPE2": "PIXEL"}, "CTYPE1"),
    "galactic": (TAN | CD | {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}, "CTYPE1"),
    "two right ascensions": (TAN | CD | {"CTYPE2": "RA---TAN"}, "belong together"),
    "unknown projection": (TAN | CD | {"CTYPE1": "RA---XXX", "CTYPE2": "DEC--XXX"}, "XXX"),
    "TNX": (TAN | CD | {"CTYPE1": "RA---TNX", "CTYPE2": "DEC--TNX"}, "TNX"),
    "WCSAXES = 1e9": (TAN | CD | {"WCSAXES": 10**9}, "WCSAXES"),
    "WCSAXES as text": (TAN | CD | {"WCSAXES": "2"}, "WCSAXES"),
    "A_ORDER = 20000": (TAN | CD | SIP | {"A_ORDER": 20_000}, "A_ORDER"),
    "A_ORDER = -1": (TAN | CD | SIP | {"A_ORDER": -1}, "A_ORDER"),
    "A_ORDER = 2.5": (TAN | CD | SIP | {"A_ORDER": 2.5}, "A_ORDER"),
    "A_2_0 as text": (TAN | CD | SIP | {"A_2_0": "x"}, "A_2_0"),
    "PV1_40": (TAN | CD | {"PV1_40": 1.0, "PV1_5": 1.0}, "PV1_40"),
    "PV as text": (TAN | CD | {"PV1_1": "abc"}, "PV1_1"),
    "CRVAL1 as text": (TAN | CD | {"CRVAL1": "10:00:00"}, "CRVAL1"),
    "CRVAL2 = 95": (TAN | CD | {"CRVAL2": 95.0}, "not on the sky"),
    "CRVAL1 missing": ({k: v for k, v in (TAN | CD).items() if k != "CRVAL1"}, "CRVAL1"),
    "CRPIX1 = 1e9": (TAN | CD | {"CRPIX1": 1e9}, "CRPIX1"),
    "singular": (TAN | CD | {"CD1_1": 0.0, "CD1_2": 0.0}, "pixel scale"),
    "a needle": (TAN | CD | {"CD1_1": 1e-2, "CD1_2": 0.0, "CD2_2": 1e-6}, "pixel scale"),
    "one degree per pixel": (TAN | {"CDELT1": 1.0, "CDELT2": 1.0}, "pixel scale"),
    "no matrix": (TAN, "CDELT1"),
    "radians": (TAN | CD | {"CUNIT1": "rad"}, "CUNIT1"),
    "B1950": (TAN | CD | {"EQUINOX": 1950.0}, "EQUINOX"),
    "FK4": (TAN | CD | {"RADESYS": "FK4"}, "RADESYS"),
    "a cube that mixes": (TAN | CD | {"WCSAXES": 3, "CD1_3": 0.1}, "CD1_3"),
    "infinite": (TAN | CD | {"CD1_1": math.inf}, "CD1_1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_header_has_no_wcs_and_a_reason(name: str) -> None:
    cards, reason = BROKEN[name]
    rebuilt = rebuild_wcs(cards)
    assert rebuilt.header is None
    assert rebuilt.problem is not None
    assert reason in rebuilt.problem


@pytest.mark.parametrize(
    ("cards", "reason"),
    [
        ({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CD1_1": 0.15, "CD2_2": 0.15}, "off the sky"),
        (SIP | {"A_3_0": 1e-2, "B_0_3": 1e-2, "B_ORDER": 3}, ""),
        ({"CRPIX1": -9e6, "CRPIX2": 9e6}, ""),
    ],
)
def test_a_sky_that_does_not_hold_together_is_refused(
    cards: dict[str, object], reason: str
) -> None:
    clean = {"CD1_2": 0.0, "CD2_1": 0.0}
    rebuilt = rebuild_wcs(TAN | CD | clean | cards)
    assert rebuilt.header is not None
    shape = (1200, 1200)
    problem = prove_wcs(rebuilt.header, shape=shape)
    assert problem is not None
    assert reason in problem


def test_a_frame_on_the_pole_is_sound() -> None:
    cards = TAN | CD | {"CRVAL1": 359.99, "CRVAL2": 90.0}
    rebuilt = rebuild_wcs(cards)
    assert rebuilt.header is not None
    assert prove_wcs(rebuilt.header, shape=SHAPE) is None


def test_forty_malformed_cards_cost_the_wcs_not_the_image(tmp_path: Path) -> None:
    # the family of cards that makes astropy's own WCS(header) corrupt its heap
    bad = [(f"PV{i}_{j}", "'x'") for i in range(1, 5) for j in range(5)]
    bad += [(f"CD{i}_{j}", "9E99999") for i in range(1, 5) for j in range(1, 5)]
    bad += [("PS1_0", 1e300), ("CTYPE3", "RA---TAB"), ("A_ORDER", 20_000), ("WCSAXES", 10**9)]
    pixels = np.ones((64, 64), "i2")
    path = tmp_path / "a.fits"
    path.write_bytes(samples.image(pixels, *(TAN | CD).items(), *bad))
    source = read_image(path)
    assert source.image.wcs is None
    assert source.wcs_problem
    np.testing.assert_array_equal(source.image.data, pixels)


def test_the_loader_gives_the_sky_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    cards = TAN | CD | SIP | {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}
    path.write_bytes(samples.image(np.ones(SHAPE, "i2"), *cards.items()))
    wcs = read_image(path).image.wcs
    np.testing.assert_allclose(
        wcs.all_pix2world(CORNERS, 0), astropy_sky(cards), rtol=0, atol=1e-10
    )
    record = read_header(path)
    assert record.wcs_header is not None
    assert record.wcs_problem is None
