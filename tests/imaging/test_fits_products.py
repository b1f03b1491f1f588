"""Our own products hold everything an image has, and nothing that FITS forbids."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from astrid_site.imaging.fits_io import read_image, read_product, write_image
from astrid_site.imaging.image import Image
from astrid_site.imaging.psf import PsfField
from astrid_site.imaging.wcs_header import build_wcs, rebuild_wcs

SIP = {
    "CTYPE1": "RA---TAN-SIP",
    "CTYPE2": "DEC--TAN-SIP",
    "CRVAL1": 303.20642233412345,
    "CRVAL2": 46.017398748312345,
    "CRPIX1": 30.5,
    "CRPIX2": 20.25,
    "CD1_1": -2.5161566075812345e-05,
    "CD1_2": 0.0028629583688612345,
    "CD2_1": 0.0028701759620612345,
    "CD2_2": 1.4132076451212345e-05,
    "A_ORDER": 2,
    "A_0_2": 1.53478151736e-05,
    "A_1_1": -5.4943632577e-06,
    "B_ORDER": 2,
    "B_2_0": -1.3227051169e-05,
}


@pytest.fixture
def image() -> Image:
    rng = np.random.default_rng(5)
    shape = (40, 60)
    psf = PsfField(
        coefficients=rng.normal(size=(3, 7, 7)).astype(np.float32),
        order=1,
        shape=shape,
        fwhm_pix=2.718281828459045,
        n_stars=17,
    )
    rebuilt = rebuild_wcs(SIP).header
    assert rebuilt is not None
    return Image(
        data=rng.normal(size=shape).astype(np.float32),
        mask=rng.integers(0, 2**16, size=shape).astype(np.uint16),
        variance=rng.uniform(1, 2, size=shape).astype(np.float32),
        wcs=build_wcs(rebuilt),
        psf=psf,
        gain=1.0 / 3.0,
        read_noise=5.1,
        saturation=60000.0,
        zero_point=25.123456789012345,
        exposure_s=30.0,
        unit="electron/s",
    )


def test_an_image_comes_back_as_it_was(image: Image, tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    write_image(path, image, header={"OBJECT": "M 1"}, history=["made by a test"])
    back, header = read_product(path)
    for name in ("data", "mask", "variance"):
        there, here = getattr(back, name), getattr(image, name)
        assert there.dtype == here.dtype
        assert there.dtype.isnative
        np.testing.assert_array_equal(there, here)
    for name in ("gain", "read_noise", "saturation", "zero_point", "exposure_s", "unit"):
        assert getattr(back, name) == getattr(image, name)
    np.testing.assert_array_equal(back.psf.coefficients, image.psf.coefficients)
    for field in fields(PsfField):
        if field.name != "coefficients":
            assert getattr(back.psf, field.name) == getattr(image.psf, field.name)
    probes = np.array([[0.0, 0.0], [59.0, 39.0], [10.0, 35.0]])
    np.testing.assert_array_equal(
        back.wcs.all_pix2world(probes, 0), image.wcs.all_pix2world(probes, 0)
    )
    assert header["OBJECT"] == "M 1"


def test_what_an_image_lacks_stays_none_whatever_the_header_says(tmp_path: Path) -> None:
    bare = Image(data=np.ones((8, 8), np.float32), mask=np.zeros((8, 8), np.uint16))
    path = tmp_path / "a.fits"
    raw = {"GAIN": 4.0, "EXPTIME": 30.0, "MAGZP": 25.0, "CTYPE1": "RA---TAN", "NAXIS": 9}
    write_image(path, bare, header=raw, history=[])
    back, _ = read_product(path)
    for field in fields(Image):
        if field.name not in {"data", "mask", "unit"}:
            assert getattr(back, field.name) is None, field.name


def test_cards_that_fits_forbids_become_history(image: Image, tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    metrics = {
        "CHI2": float("nan"),
        "NOISE": np.float32(np.inf),
        "A_LONG_KEYWORD": 3,
        "lower": 1,
        "NOTHING": None,
        "WORDS": "caf\u00e9\n\x1b",
        "LONGTEXT": "x" * 300,
        "SEEING": np.float32(1.5),
        "NSTARS": np.int64(12),
    }
    write_image(path, image, header=metrics, history=["two\nlines", "\u03c3 = 1"])
    with fits.open(path, checksum=True) as hdus:
        hdus.verify("exception")
        header = hdus[0].header
        assert "CHI2" not in header
        assert "NOISE" not in header
        assert header["SEEING"] == 1.5
        assert header["NSTARS"] == 12
        assert header["WORDS"] == "caf? ?"
        assert header["LONGTEXT"] == "x" * 300
        history = "\n".join(header["HISTORY"])
        for word in ("CHI2 = nan", "A_LONG_KEYWORD = 3", "lower = 1", "NOTHING", "two lines"):
            assert word in history
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "VARIANCE", "MASK", "PSF"]
        assert all("DATASUM" in hdu.header and "CHECKSUM" in hdu.header for hdu in hdus)


def test_equal_products_are_equal_bytes(image: Image, tmp_path: Path) -> None:
    paths = [tmp_path / "a.fits", tmp_path / "b.fits"]
    for path in paths:
        write_image(path, image, header={"OBJECT": "M 1"}, history=["x"])
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_mask_of_stars_trails_and_edges_takes_a_tenth_of_its_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    mask = np.zeros((600, 700), np.uint16)
    mask[:4], mask[:, -3:], mask[:, 350] = 64, 64, 16
    for y, x in rng.integers(10, 590, (60, 2)):
        mask[y - 4 : y + 5, x - 4 : x + 5] |= 2
    mask[rng.integers(0, 600, 300), rng.integers(0, 700, 300)] |= 8
    path = tmp_path / "a.fits"
    write_image(
        path, Image(data=np.zeros(mask.shape, np.float32), mask=mask), header={}, history=[]
    )
    back, _ = read_product(path)
    assert np.array_equal(back.mask, mask)
    # the packed bytes and two headers; unpacked it would be mask.nbytes more than the pixels
    assert path.stat().st_size - 4 * mask.size < 0.1 * mask.nbytes + 6 * 2880


def test_a_product_passes_the_gate_like_any_other_file(image: Image, tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    write_image(path, image, header={}, history=[])
    source = read_image(path)
    assert source.warnings == ()
    assert source.wcs_problem is None
    np.testing.assert_array_equal(source.image.data, image.data)


def test_a_failed_write_leaves_the_old_file_and_no_litter(image: Image, tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        write_image(path, image.with_(gain=object()), header={}, history=[])
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.fits"]
