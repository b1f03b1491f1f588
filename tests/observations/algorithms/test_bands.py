"""Bands of real archive names and headers, mission by mission."""

from __future__ import annotations

import pytest

from observations.algorithms.bands import MISSIONS, mission_of, parse_band

FILE_NAMES = [
    ("SWIFT", "sw00032015001uw1_sk.img.gz", "uvw1"),
    ("SWIFT", "sw00032015001uw2_sk.img.gz", "uvw2"),
    ("SWIFT", "sw00032015001um2_sk.img.gz", "uvm2"),
    ("SWIFT", "sw00032015001uuu_sk.img", "uuu"),
    ("SWIFT", "sw00032015001ubb_sk.img", "ubb"),
    ("SWIFT", "sw00032015001uvv_sk.fits", "uvv"),
    ("SWIFT", "sw00032015001uwh_sk.img", "white"),
    ("GALEX", "AIS_123_sg45-nd-int.fits.gz", "nuv"),
    ("GALEX", "AIS_123_sg45-fd-int.fits.gz", "fuv"),
    ("GALEX", "AIS_123_sg45-fd-intbgsub.fits.gz", "fuv"),
    ("PS1", "rings.v3.skycell.1329.005.stk.i.fits", "i"),
    ("PS1", "rings.v3.skycell.1329.005.wrp.z.56012_41283.fits", "z"),
    ("PS1", "rings.v3.skycell.1329.005.wrp.y.56012_41283.fits.fz", "y"),
    ("HST", "hst_10188_10_acs_wfc_f814w_drz.fits", "f814w"),
    ("HST", "HLA_10188_10_wfc3_ir_f110w_drz.fits", "f110w"),
    ("SDSS", "frame-r-004073-4-0060.fits.bz2", "r"),
    ("SDSS", "fpC-004073-g4-0060.fit.gz", "g"),
    ("JWST", "jw02561-o001_t003_nircam_clear-f200w_i2d.fits", "f200w"),
    ("JWST", "jw02561-o001_t003_nircam_f444w-f470n_i2d.fits", "f470n"),
    ("ZTF", "ztf_20180601123456_000612_zr_c01_o_q2_sciimg.fits", "zr"),
    ("ZTF", "ztf_000612_zg_c01_q2_refimg.fits", "zg"),
    ("PTF", "PTF_201004063411_i_p_scie_t081131_u012345678_f02_p002345_c05.fits", "R"),
    ("DECAM", "c4d_180804_092331_ooi_i_v1.fits.fz", "i"),
    ("", "M81_20240101.r.fits", "r"),
    ("", "SDSS_g.fits", "g"),
]


@pytest.mark.parametrize(("mission", "name", "band"), FILE_NAMES)
def test_a_file_name_tells_its_band(mission: str, name: str, band: str) -> None:
    assert parse_band(mission, {}, f"some/grism/folder/{name}") == (band, "file name")


REFUSED = [
    ("GALEX", "AIS_123_sg45-ng-int.fits.gz"),
    ("GALEX", "AIS_123_sg45-fg-int.fits.gz"),
    ("GALEX", "AIS_123_sg45-nd-rrhr.fits.gz"),
    ("GALEX", "AIS_123_sg45-nd-skybg.fits.gz"),
    ("GALEX", "AIS_123_sg45-nd-flags.fits.gz"),
    ("GALEX", "AIS_123_sg45-nd-cnt.fits.gz"),
    ("PS1", "rings.v3.skycell.1329.005.stk.g.mask.fits"),
    ("PS1", "rings.v3.skycell.1329.005.stk.g.wt.fits"),
    ("PS1", "rings.v3.skycell.1329.005.stk.g.num.fits"),
    ("PS1", "rings.v3.skycell.1329.005.stk.g.exp.fits"),
    ("PS1", "rings.v3.skycell.1329.005.stk.g.target.psf.fits"),
    ("PS1", "rings.v3.skycell.1329.005.wrp.g.56012_41283.mask.fits"),
    ("SWIFT", "sw00032015001ugu_dt.img.gz"),
    ("SWIFT", "sw00032015001uuu_ex.img.gz"),
    ("HST", "hst_10188_10_acs_wfc_g800l_drz.fits"),
    ("HST", "hst_10188_10_acs_wfc_f814w_wht.fits"),
    ("SDSS", "fpM-004073-g4-0060.fit.gz"),
    ("ZTF", "ztf_20180601123456_000612_zr_c01_o_q2_mskimg.fits"),
    ("DECAM", "c4d_180804_092331_oow_i_v1.fits.fz"),
]


@pytest.mark.parametrize(("mission", "name"), REFUSED)
def test_grisms_and_companions_are_refused_even_if_the_header_has_a_filter(
    mission: str, name: str
) -> None:
    for header in ({}, {"FILTER": "g"}):
        band, source = parse_band(mission, header, name)
        assert band is None
        assert source.startswith("refused: ")


HEADERS = [
    ("DECAM", {"FILTER": "i DECam SDSS c0003 7835.0 1470.0"}, "i"),
    ("DES", {"FILTER": "Y DECam c0005 10095.0 1130.0"}, "y"),
    ("DECAM", {"FILTER": "VR DECam c0007 6300.0 2600.0"}, "VR"),
    ("PS1", {"FPA.FILTERID": "r.00000"}, "r"),
    ("PS1", {"FILTER": "g.00000"}, "g"),
    ("SWIFT", {"FILTER": "UVW1"}, "uvw1"),
    ("SWIFT", {"FILTER": "U"}, "uuu"),
    ("SWIFT", {"FILTER": "WHITE"}, "white"),
    ("HST", {"FILTER1": "CLEAR1L", "FILTER2": "F814W"}, "f814w"),
    ("HST", {"FILTER1": "F606W", "FILTER2": "CLEAR2L"}, "f606w"),
    ("JWST", {"FILTER": "F200W", "PUPIL": "CLEAR"}, "f200w"),
    ("JWST", {"FILTER": "F444W", "PUPIL": "F470N"}, "f470n"),
    ("JWST", {"FILTER": "CLEAR", "PUPIL": "F200W"}, "f200w"),
    ("ZTF", {"FILTER": "ZTF_r"}, "zr"),
    ("ZTF", {"FILTER": "ZTF g"}, "zg"),
    ("ZTF", {"FILTERID": 3}, "zi"),
    ("PTF", {"FILTER": "R"}, "R"),
    ("SDSS", {"FILTER": "z"}, "z"),
    ("", {"FILTER": "SDSS-R"}, "r"),
    ("", {"FILTER": "sdss_i"}, "i"),
    ("", {"FILTER": "r'"}, "r"),
    ("", {"FILTER": "gp"}, "g"),
    ("", {"FILTER": "R"}, "R"),
    ("", {"FILTER": "Bessell V"}, "V"),
    ("", {"FILTER": "Johnson-B"}, "B"),
    ("", {"FILTER": "Clear"}, "clear"),
    ("", {"FILTER": "Ha-6563"}, "Ha-6563"),
    ("", {"FILTER1": "Clear", "FILTER2": "V"}, "V"),
]


@pytest.mark.parametrize(("mission", "header", "band"), HEADERS)
def test_a_header_tells_its_band(mission: str, header: dict[str, object], band: str) -> None:
    found, source = parse_band(mission, header, "x.fits")
    assert found == band
    assert source.startswith("header ")


def test_the_header_wins_over_the_file_name() -> None:
    name = "ztf_20180601123456_000612_zr_c01_o_q2_sciimg.fits"
    assert parse_band("ZTF", {"FILTER": "ZTF_g"}, name)[0] == "zg"


@pytest.mark.parametrize("name", ["rings.fits", "grizzly.fits", "image.fits", "sw1uw1.img"])
@pytest.mark.parametrize("mission", ["", "PS1", "SWIFT", "GALEX", "ZTF"])
def test_letters_inside_words_are_no_band(mission: str, name: str) -> None:
    band, source = parse_band(mission, {}, name)
    assert band is None
    assert source.startswith("unknown: ")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"FILTER": "RGGB"}, "colour mosaic"),
        ({"FILTER": "G800L"}, "disperser"),
        ({"PUPIL": "GRISMR", "FILTER": "F444W"}, "disperser"),
    ],
)
def test_light_that_is_no_single_band_is_refused(header: dict[str, object], reason: str) -> None:
    mission = "JWST" if "PUPIL" in header else "HST"
    band, source = parse_band(mission, header, "x.fits")
    assert band is None
    assert reason in source


def test_a_wheel_position_is_no_band() -> None:
    assert parse_band("", {"FILTER": 58}, "x.fits")[0] is None


def test_tess_has_one_band() -> None:
    assert parse_band("TESS", {}, "tess2019-s0012-1-1-0144-s_ffic.fits")[0] == "tess"


@pytest.mark.parametrize(
    ("header", "mission"),
    [
        ({"TELESCOP": "SWIFT", "INSTRUME": "UVOTA"}, "SWIFT"),
        ({"INSTRUME": "NIRCAM"}, "JWST"),
        ({"TELESCOP": "HST", "INSTRUME": "ACS"}, "HST"),
        ({"FPA": "DECAM_BKP4"}, "DECAM"),
        ({"FPA.TELESCOPE": "PS1"}, "PS1"),
        ({"ORIGIN": "SDSS", "TELESCOP": "2.5m"}, "SDSS"),
        ({"TELESCOP": "SAAO 1.0m"}, ""),
        ({}, ""),
    ],
)
def test_a_header_tells_its_mission(header: dict[str, object], mission: str) -> None:
    assert mission_of(header) == mission
    assert mission in {"", *MISSIONS}
