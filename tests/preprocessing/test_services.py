"""Storing and loading science images, stars and companions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from astrid_site.core.models import FileKind
from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane
from observations.services import ingest_file
from preprocessing.algorithms.stars import StarList
from preprocessing.services import (
    given_psf,
    load_companions,
    load_image,
    load_raw,
    load_stars,
    store_image,
    store_stars,
)
from preprocessing.services.raw_frames import read_raw
from tests.observations.factories import make_survey, write_frame


def gaussian(size: int, *, at: tuple[int, int], sigma: float = 1.5) -> Any:
    y, x = np.mgrid[0:size, 0:size]
    return np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * sigma**2)).astype(np.float32)


def write_plane(path: Path, data: Any) -> Path:
    fits.PrimaryHDU(np.asarray(data, np.float32)).writeto(path)
    return path


def test_a_given_psf_is_centred_on_its_peak_and_trimmed() -> None:
    psf = given_psf(gaussian(101, at=(48, 53)), shape=(200, 200))
    assert psf.size < 50
    image = psf.at(100.0, 100.0)[0]
    assert image.sum() == pytest.approx(1.0, rel=1e-5)
    assert np.unravel_index(image.argmax(), image.shape) == (psf.size // 2, psf.size // 2)
    # FWHM of a Gaussian is 2.355 sigma; the area measure is good to a few per cent
    assert psf.fwhm_pix == pytest.approx(2.355 * 1.5, rel=0.05)


@pytest.mark.parametrize("plane", [np.zeros((21, 21)), gaussian(21, at=(0, 10))])
def test_a_psf_without_light_or_with_its_peak_at_the_edge_is_refused(plane: Any) -> None:
    with pytest.raises(AlgorithmError, match="PSF"):
        given_psf(plane.astype(np.float32), shape=(100, 100))


@pytest.mark.django_db
def test_a_star_list_comes_back_as_it_was() -> None:
    rng = np.random.default_rng(1)
    columns = rng.normal(size=(5, 7))
    stars = StarList(*columns, is_star=rng.random(7) > 0.5)
    back = load_stars(store_stars(stars, name="stars.npy"))
    for name in ("x", "y", "flux", "flux_error", "peak", "is_star"):
        assert np.array_equal(getattr(back, name), getattr(stars, name))
    assert len(load_stars(store_stars(stars.select(stars.x > 99), name="none.npy"))) == 0


@pytest.mark.django_db
def test_an_image_comes_back_with_all_its_planes() -> None:
    rng = np.random.default_rng(2)
    image = Image(
        data=rng.normal(size=(40, 50)).astype(np.float32),
        mask=rng.integers(0, 8, (40, 50)).astype(np.uint16),
        variance=rng.random((40, 50)).astype(np.float32),
        zero_point=25.5,
        gain=1.5,
    )
    back = load_image(store_image(image, kind=FileKind.SCIENCE, name="a.fits", header={}))
    for name in ("data", "mask", "variance"):
        assert np.array_equal(getattr(back, name), getattr(image, name))
    assert (back.zero_point, back.gain, back.psf) == (25.5, 1.5, None)


@pytest.mark.django_db
def test_camera_facts_come_from_person_then_header_then_survey(tmp_path: Path) -> None:
    survey = make_survey(gain=9.0, read_noise=4.0)
    path = write_frame(tmp_path / "a.fits", GAIN=1.5, SATURATE=50000.0)
    said = {"saturation": 30000}
    row = ingest_file(path, survey=survey, file_name="a.fits", overrides=said).observation
    assert row is not None
    frame, _ = load_raw(row)
    assert (frame.gain, frame.read_noise, frame.saturation) == (1.5, 4.0, 30000.0)
    assert frame.zero_point is None
    assert frame.exposure_s == 60.0


@pytest.mark.django_db
def test_noise_and_mask_in_the_frame_s_own_file_are_used_and_said(tmp_path: Path) -> None:
    path = write_frame(tmp_path / "a.fits")
    bad = np.zeros((64, 64), np.int16)
    bad[5, 6] = 4
    with fits.open(path) as plain:
        planes = [
            fits.ImageHDU(plain[0].data, plain[0].header, name="SCI"),
            fits.ImageHDU(np.full((64, 64), 3.0, np.float32), name="ERR"),
            fits.ImageHDU(bad, name="DQ"),
        ]
        fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(tmp_path / "mef.fits")
    row = ingest_file(tmp_path / "mef.fits", survey=make_survey(), file_name="mef.fits").observation
    assert row is not None
    _, _, own = read_raw(row)
    found = load_companions(row, shape=(64, 64), own=own)
    assert found.mask is not None
    assert found.variance is not None
    assert list(zip(*np.nonzero(found.mask), strict=True)) == [(5, 6)]
    assert (found.variance == 9.0).all()
    assert found.notes == (
        "its noise is HDU 2 ERR of the same file",
        "its mask is HDU 3 DQ of the same file",
    )


@pytest.mark.django_db
def test_a_file_of_several_detectors_is_refused_at_the_door(tmp_path: Path) -> None:
    path = write_frame(tmp_path / "a.fits")
    with fits.open(path) as plain:
        planes = [fits.ImageHDU(plain[0].data, plain[0].header, name=f"CCD{i}") for i in (1, 2)]
        fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(tmp_path / "mosaic.fits")
    survey = make_survey()
    taken = {"path": tmp_path / "mosaic.fits", "file_name": "mosaic.fits", "dry_run": True}
    refused = ingest_file(survey=survey, **taken)
    assert (refused.outcome, refused.code) == ("refused", "several_images")
    assert "1 CCD1, 2 CCD2" in refused.reason
    survey.image_hdu = "CCD2"
    assert ingest_file(survey=survey, **taken).outcome == "created"


@pytest.mark.django_db
def test_companions_become_mask_variance_and_psf(tmp_path: Path) -> None:
    path = write_frame(tmp_path / "a.fits")
    bad, noise = np.zeros((64, 64)), np.full((64, 64), 3.0)
    bad[5, 6], noise[7, 8], noise[9, 9] = 1, np.nan, -1
    files = {
        "mask": write_plane(tmp_path / "mask.fits", bad),
        "noise": write_plane(tmp_path / "noise.fits", noise),
        "psf": write_plane(tmp_path / "psf.fits", gaussian(31, at=(15, 15))),
    }
    row = ingest_file(path, survey=make_survey(), file_name="a.fits", companions=files).observation
    assert row is not None
    found = load_companions(row, shape=(64, 64))
    assert found.mask is not None
    assert found.variance is not None
    assert found.psf is not None
    assert list(zip(*np.nonzero(found.mask), strict=True)) == [(5, 6)]
    assert found.mask[5, 6] == MaskPlane.USER
    assert found.variance[0, 0] == 9.0
    # what was not measured has no variance, never a tiny one
    assert found.variance[7, 8] == found.variance[9, 9] == 0.0
