"""The 42 odd files of other people's test suites: each read correctly or refused with a reason."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest

from astrid_site.imaging.errors import ImageReadError
from astrid_site.imaging.fits_io import read_header, read_image

pytestmark = pytest.mark.real_data

# number -> code of the refusal
REFUSED = {
    "02": "no_data",
    "05": "no_image",
    "06": "unsupported_compression",
    "07": "no_image",
    "08": "no_image",
    "09": "no_image",
    "10": "no_image",
    "11": "no_image",
    "12": "not_two_dimensional",
    "14": "several_images",
    "16": "no_image",
    "17": "several_images",
    "18": "no_image",
    "25": "not_fits",
    "26": "truncated",
    "27": "truncated",
    "28": "truncated",
    "29": "truncated",
    "30": "truncated",
    "33": "not_fits",
    "34": "truncated",
    "35": "not_fits",
    "36": "truncated",
    "37": "no_image",
    "38": "several_images",
    "42": "not_fits",
}
# number -> HDU, shape, has a usable WCS; pixels are compared with an independent value
READ = {
    "01": (0, (40, 30), False),
    "03": (0, (21, 20), True),
    "04": (0, (100, 100), False),
    "13": (1, (300, 440), False),
    "15": (1, (5, 5), False),
    "19": (0, (300, 300), True),
    "20": (1, (300, 300), True),
    "21": (1, (300, 300), True),
    "22": (1, (300, 300), True),
    "23": (1, (300, 300), True),
    "24": (1, (12, 12), False),
    "31": (1, (100, 100), True),
    "32": (0, (1, 1), True),
    "39": (0, (200, 200), False),
    "40": (0, (700, 700), False),
    "41": (0, (200, 200), True),
}


def odd_file(test_data: Path, number: str) -> Path:
    return next((test_data / "bad_inputs_dev").glob(f"{number}_*"))


def test_the_two_tables_cover_all_odd_files(test_data: Path) -> None:
    numbers = {p.name[:2] for p in (test_data / "bad_inputs_dev").glob("[0-9][0-9]_*")}
    assert numbers == set(REFUSED) | set(READ)
    assert not set(REFUSED) & set(READ)


@pytest.mark.parametrize(("number", "code"), REFUSED.items())
def test_an_unusable_file_is_refused_with_its_reason(
    test_data: Path, number: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = odd_file(test_data, number)
    with pytest.raises(ImageReadError) as refusal:
        read_image(path)
    assert refusal.value.code == code
    assert refusal.value.file_name == path.name
    assert refusal.value.remedy
    assert not list(tmp_path.iterdir()), "something partial stayed behind"


@pytest.mark.parametrize(("number", "expected"), READ.items())
def test_an_odd_but_usable_file_is_read(
    test_data: Path, number: str, expected: tuple[int, tuple[int, int], bool]
) -> None:
    hdu, shape, has_wcs = expected
    source = read_image(odd_file(test_data, number))
    assert (source.hdu, source.image.shape) == (hdu, shape)
    assert (source.image.wcs is not None) is has_wcs
    assert (source.wcs_problem is None) is has_wcs
    assert source.image.data.dtype == np.dtype("float32").newbyteorder("=")
    assert np.isfinite(source.image.data).all()


def test_compressed_variants_of_one_image_give_its_pixels(test_data: Path) -> None:
    plain = read_image(odd_file(test_data, "19")).image.data
    for number in ("20", "21", "22"):
        np.testing.assert_array_equal(read_image(odd_file(test_data, number)).image.data, plain)
    # HCOMPRESS with a scale is lossy; what it loses must be small against the stars
    lossy = read_image(odd_file(test_data, "23")).image.data
    assert np.abs(lossy - plain).max() < 0.2 * plain.std()


def test_nan_in_a_compressed_frame_becomes_flagged_zeros(test_data: Path) -> None:
    image = read_image(odd_file(test_data, "24")).image
    assert (image.mask != 0).any()
    assert (image.data[image.mask != 0] == 0).all()


def test_a_good_file_is_read_after_every_refusal(test_data: Path) -> None:
    good = odd_file(test_data, "39")
    for number in ("06", "12", "26"):
        with pytest.raises(ImageReadError):
            read_header(odd_file(test_data, number))
        assert read_header(good).shape == (200, 200)


@pytest.mark.parametrize(
    ("name", "shape", "dialect"),
    [
        ("spiral_3surveys/PS1_g.fits", (240, 240), "PC001001"),
        ("spiral_3surveys/DES_g.fits", (241, 241), "CD1_1"),
        ("single_frames_dev/panoptes_solved.fits.fz", (700, 700), "A_ORDER"),
        ("single_frames_dev/ystar_satellite_streak.fits", (512, 512), "CTYPE1"),
    ],
)
def test_the_wcs_dialects_of_surveys_are_understood(
    test_data: Path, name: str, shape: tuple[int, int], dialect: str
) -> None:
    record = read_header(test_data / name)
    assert record.shape == shape
    assert dialect in record.header
    assert record.wcs_problem is None
    assert record.wcs_header is not None


def test_sums_that_an_editing_program_left_behind_are_a_warning_only(test_data: Path) -> None:
    record = read_header(test_data / "spiral_3surveys" / "DES_g.fits")
    assert any("stale" in warning for warning in record.warnings)
