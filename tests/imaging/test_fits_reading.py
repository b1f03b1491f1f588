"""Pixels arrive as the physical values that the file means, in native float32."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from astrid_site.imaging.errors import ImageReadError
from astrid_site.imaging.fits_io import read_header, read_image, read_plane
from astrid_site.imaging.masks import MaskPlane
from tests.imaging import fits_samples as samples

RAMP = np.arange(40 * 50).reshape(40, 50)


def read_bytes(tmp_path: Path, raw: bytes) -> np.ndarray:
    path = tmp_path / "frame.fits"
    path.write_bytes(raw)
    return read_image(path).image.data


@pytest.mark.parametrize("kind", ["u1", "i2", "i4", "i8", "f4", "f8"])
def test_every_pixel_type_is_read(tmp_path: Path, kind: str) -> None:
    pixels = (RAMP % 200).astype(kind)
    data = read_bytes(tmp_path, samples.image(pixels))
    assert data.dtype == np.float32
    assert data.dtype.isnative
    np.testing.assert_array_equal(data, pixels)


@pytest.mark.parametrize(
    ("kind", "bzero"), [("u1", -128.0), ("u1", -128), ("i2", 32768), ("i2", 32768.0), ("i4", 2**31)]
)
def test_the_offsets_of_unsigned_and_signed_types_are_applied(
    tmp_path: Path, kind: str, bzero: float
) -> None:
    pixels = (RAMP % 200).astype(kind)
    data = read_bytes(tmp_path, samples.image(pixels, ("BZERO", bzero)))
    np.testing.assert_allclose(data, pixels.astype(float) + bzero, rtol=1e-7)


def test_scaling_happens_in_double_precision(tmp_path: Path) -> None:
    # 2e9 * 0.1 - 2e8: in float32 the product alone is off by up to 16
    pixels = np.full((8, 8), 2_000_000_001, "i4")
    data = read_bytes(tmp_path, samples.image(pixels, ("BSCALE", 0.1), ("BZERO", -2e8)))
    np.testing.assert_allclose(data, 0.1, rtol=1e-6)


def test_blank_nan_and_infinite_pixels_hold_zero_and_are_flagged(tmp_path: Path) -> None:
    integers = RAMP.astype("i2")
    path = tmp_path / "a.fits"
    path.write_bytes(samples.image(integers, ("BLANK", 7), ("BSCALE", 2.0), ("BZERO", 1.0)))
    image = read_image(path).image
    np.testing.assert_array_equal(image.mask != 0, integers == 7)
    assert image.data.flat[7] == 0
    assert image.data.flat[8] == 17
    floats = RAMP.astype("f4")
    floats[3, 4], floats[5, 6] = np.nan, -np.inf
    path.write_bytes(samples.image(floats))
    image = read_image(path).image
    assert (image.mask == MaskPlane.NO_DATA).sum() == 2
    assert image.mask[3, 4] == image.mask[5, 6] == MaskPlane.NO_DATA
    assert np.isfinite(image.data).all()


def test_a_plane_keeps_its_nan(tmp_path: Path) -> None:
    noise = np.ones((8, 8), "f4")
    noise[2, 3] = np.nan
    path = tmp_path / "noise.fits"
    path.write_bytes(samples.image(noise))
    assert np.isnan(read_plane(path)[2, 3])


@pytest.mark.parametrize("algorithm", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1"])
def test_lossless_tiles_give_the_pixels(tmp_path: Path, algorithm: str) -> None:
    # not a multiple of the tile: edge tiles are smaller
    pixels = (np.arange(75 * 83) % 4000).reshape(75, 83).astype("i4")
    raw = samples.compressed(pixels, algorithm)
    np.testing.assert_array_equal(read_bytes(tmp_path, raw), pixels)


def test_an_unsigned_tiled_image_keeps_its_offset(tmp_path: Path) -> None:
    pixels = (RAMP * 30).astype("u2")
    np.testing.assert_array_equal(
        read_bytes(tmp_path, samples.compressed(pixels, "RICE_1")), pixels
    )


def test_containers_are_opened_whatever_they_are_called(tmp_path: Path) -> None:
    raw = samples.image(RAMP.astype("i2"))
    for name, packed in (("a.fits", gzip.compress(raw)), ("b.fts", samples.bzip2(raw))):
        path = tmp_path / name
        path.write_bytes(packed)
        np.testing.assert_array_equal(read_image(path).image.data, RAMP)


def _extensions(tmp_path: Path, versions: int = 2) -> Path:
    sky = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0}
    sky |= {"CRPIX1": 5.0, "CRPIX2": 5.0, "CD1_1": -1e-4, "CD2_2": 1e-4}
    primary = fits.PrimaryHDU()
    primary.header["OBJECT"] = "M 1"
    primary.header["FILTER"] = "r"
    hdus = [primary, fits.ImageHDU(RAMP.astype("f4"), name="WHT")]
    hdus[1].header.update(sky)
    hdus += [fits.ImageHDU(np.ones((9, 9), "f4"), name="GUIDE")]
    hdus += [fits.ImageHDU(RAMP.astype("f4") + 1, name="SCI", ver=v + 1) for v in range(versions)]
    for hdu in hdus[3:]:
        hdu.header.update(sky)
        hdu.header["FILTER"] = "i"
    path = tmp_path / "mef.fits"
    fits.HDUList(hdus).writeto(path)
    return path


def test_the_first_image_on_the_sky_is_taken_not_its_weight(tmp_path: Path) -> None:
    record = read_header(_extensions(tmp_path, versions=1))
    assert (record.hdu, record.hdu_name) == (3, "SCI")
    assert record.header["OBJECT"] == "M 1"
    assert record.header["FILTER"] == "i"
    assert "NAXIS1" not in record.header


def test_of_several_images_of_one_rank_none_is_taken_unasked(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError, match=r"HDUs 3 SCI,1, 4 SCI,2\.") as refusal:
        read_header(_extensions(tmp_path))
    assert refusal.value.code == "several_images"
    assert "--science-hdu" in refusal.value.remedy


def test_detectors_without_a_place_on_the_sky_are_not_dropped_either(tmp_path: Path) -> None:
    planes = [fits.ImageHDU(RAMP.astype("f4"), name=f"CCD{i}") for i in (1, 2)]
    # a guider of a fifth of their pixels is no rival
    planes.append(fits.ImageHDU(np.ones((20, 20), "f4"), name="GUIDE"))
    path = tmp_path / "mosaic.fits"
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(path)
    with pytest.raises(ImageReadError, match=r"holds 2 images.*1 CCD1, 2 CCD2\."):
        read_image(path)
    assert read_image(path, hdu="CCD2").hdu == 2


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        # JWST; HST; Rubin; Gemini; Euclid
        (("SCI", "ERR", "DQ", "AREA", "VAR_POISSON", "VAR_RNOISE"), {"noise": 2, "mask": 3}),
        (("SCI", "ERR", "DQ", "SAMP", "TIME"), {"noise": 2, "mask": 3}),
        (("IMAGE", "MASK", "VARIANCE"), {"mask": 2, "variance": 3}),
        (("SCI", "VAR", "DQ"), {"variance": 2, "mask": 3}),
        (("3-1.SCI", "3-1.RMS", "3-1.FLG"), {"noise": 2, "mask": 3}),
        (("SCI", "WHT", "CTX"), {}),
    ],
)
def test_noise_and_mask_are_known_by_what_observatories_call_them(
    tmp_path: Path, names: tuple[str, ...], roles: dict[str, int]
) -> None:
    planes = [fits.ImageHDU(RAMP.astype("f4"), name=name) for name in names]
    path = tmp_path / "mef.fits"
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(path)
    record = read_header(path)
    assert (record.hdu, record.hdu_name) == (1, names[0])
    assert {each.role: each.hdu for each in record.companions} == roles


def test_companions_are_those_of_the_detector_that_was_asked_for(tmp_path: Path) -> None:
    planes = [
        fits.ImageHDU(RAMP.astype("f4"), name=name, ver=chip)
        for chip in (1, 2)
        for name in ("SCI", "ERR", "DQ")
    ]
    path = tmp_path / "flt.fits"
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(path)
    assert [each.hdu for each in read_header(path, hdu="SCI,2").companions] == [5, 6]


def test_the_bits_of_a_mask_mean_what_its_file_says(tmp_path: Path) -> None:
    bits = np.zeros((40, 50), "i4")
    bits[0, :4] = 1, 2, 32, 1 | 32
    mask = fits.ImageHDU(bits, name="MASK")
    mask.header["MP_BAD"], mask.header["HIERARCH MP_DETECTED"], mask.header["MP_SAT"] = 0, 5, 1
    quality = fits.ImageHDU(bits, name="DQ")
    for telescope, plane, wanted in (
        ("Rubin", mask, [True, True, False, True]),
        ("JWST", quality, [True, False, False, True]),
        ("HST", quality, [True, True, True, True]),
    ):
        primary = fits.PrimaryHDU()
        primary.header["TELESCOP"] = telescope
        path = tmp_path / f"{telescope}.fits"
        fits.HDUList([primary, fits.ImageHDU(RAMP.astype("f4"), name="SCI"), plane]).writeto(path)
        (found,) = read_header(path).companions
        bad = found.is_bad(read_plane(path, hdu=found.hdu))
        assert list(bad[0, :4]) == wanted
        assert bad.sum() == sum(wanted)


def test_an_hdu_is_taken_by_name_version_or_index(tmp_path: Path) -> None:
    path = _extensions(tmp_path)
    assert read_header(path, hdu="guide").shape == (9, 9)
    assert read_header(path, hdu="SCI,2").hdu == 4
    assert read_header(path, hdu=1).hdu_name == "WHT"
    with pytest.raises(ImageReadError, match="SCI") as refusal:
        read_header(path, hdu="ERR")
    assert refusal.value.code == "no_such_hdu"


def test_degenerate_axes_are_dropped(tmp_path: Path) -> None:
    data = read_bytes(tmp_path, samples.image(RAMP.astype("i2")[None, None]))
    np.testing.assert_array_equal(data, RAMP)


def test_odd_cards_are_read_or_dropped_but_never_dangerous(tmp_path: Path) -> None:
    cards = [
        "OBJECT  = 'O''Neill''s <b>star</b>'",
        "GAIN    = 1.5D0 / old exponent",
        "HIERARCH ESO DET READ NOISE = 4.5 / long name",
        "LONG    = 'first &'",
        "CONTINUE  'second'",
        "HUGE    = 1E999",
        "EMPTY   =",
        "FLAG    =                    T",
        "BAD\x1b[31m = 1",
        "NOTE    = 'caf\xe9\x00\x1b[31m'",
    ]
    raw = samples.image(RAMP.astype("i2"))
    end = raw.index(b"END".ljust(80))
    text = "".join(card.ljust(80) for card in cards).encode("latin-1")
    block = raw[:end] + text + b"END".ljust(80)
    block += b" " * (-len(block) % samples.BLOCK)
    path = tmp_path / "a.fits"
    path.write_bytes(block + raw[samples.BLOCK :])
    header = read_header(path).header
    assert header["OBJECT"] == "O'Neill's <b>star</b>"
    assert header["GAIN"] == 1.5
    assert header["ESO DET READ NOISE"] == 4.5
    assert header["LONG"] == "first second"
    assert header["HUGE"] == "1E999"
    assert "EMPTY" not in header
    assert header["FLAG"] is True
    assert header["NOTE"] == "caf?  [31m"
    assert all(" " <= c <= "~" for key, value in header.items() for c in f"{key}{value}")
