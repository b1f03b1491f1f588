"""Real pairs through calibration, registration and subtraction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from astrid_site.imaging.fits_io import read_image, read_plane
from astrid_site.imaging.image import Image
from astrid_site.imaging.psf import constant_psf
from detection.algorithms.candidates import find_candidates
from detection.algorithms.cuts import CutConfig, apply_cuts
from detection.algorithms.measurement import measure
from differencing.algorithms.subtract import Subtraction, subtract
from observations.algorithms.headers import read_metadata
from preprocessing.algorithms.preprocess import PreprocessConfig, Preprocessed, preprocess_image
from preprocessing.algorithms.registration import register
from preprocessing.algorithms.warp import warp

pytestmark = pytest.mark.real_data

NIRCAM = "jw0{}_t00{}_nircam_clear-f200w_i2d_stamp"
NIRCAM_REFERENCE = NIRCAM.format("1324001001-01324-o001", 1)
NIRCAM_SCIENCE = NIRCAM.format("2561001002-02561-o001", 3)


def load(path: Path) -> Image:
    source = read_image(path)
    said = read_metadata(source.header, keywords=None, file_name=path.name)
    return source.image.with_(gain=said.gain, saturation=said.saturation)


def difference_files(reference: Path, science: Path) -> tuple[Subtraction, list[tuple[float, ...]]]:
    """The subtraction, and (x, y, score) of the candidates that pass the cuts."""
    early, late = preprocess_image(load(reference)), preprocess_image(load(science))
    registration = register(early.image, early.stars, late.image, science_stars=late.stars)
    template = warp(early.image, registration, shape=late.image.shape)
    result = subtract(template, late.image, stars=late.stars)
    return result, kept_candidates(result, template, late)


def kept_candidates(
    result: Subtraction, template: Image, science: Preprocessed
) -> list[tuple[float, ...]]:
    peaks = find_candidates(result)
    measured = measure(result, template, science.image, peaks, stars=science.stars)
    kept = [m for m in measured if all(cut.kept for cut in apply_cuts(m, CutConfig()))]
    return [(m.x, m.y, m.score) for m in kept]


@pytest.mark.parametrize("letter", "abcde")
def test_the_decam_transient_is_found_in_each_frame(test_data: Path, letter: str) -> None:
    folder = test_data / "decam_2018_transient" / "input_data"
    _, kept = difference_files(
        folder / "DEC-OBS18a.mini.fits", folder / f"DEC-OBS04{letter}.mini.fits"
    )
    near = [score for x, y, score in kept if np.hypot(x - 127.9, y - 127.5) < 2.5]
    assert len(near) == 1
    # 23 to 33 sigma in the science frame's own noise; against one reference frame of twice its
    # variance, and noise that warping correlates, a perfect subtraction has 11.8 to 13.7
    assert near[0] > 10.0


def test_two_frames_of_one_night_show_nothing_new(test_data: Path) -> None:
    folder = test_data / "eso085_same_night_pair"
    result, kept = difference_files(
        folder / "aligned_eso085-030-004.fit", folder / "aligned_eso085-030-005.fit"
    )
    assert len(kept) <= 2
    assert result.metrics["flux_ratio"] == pytest.approx(1.0, abs=0.03)


def test_the_nircam_source_has_faded(test_data: Path) -> None:
    folder = test_data / "jwst_nircam_a2744"
    frames = [load_nircam(folder, name) for name in (NIRCAM_REFERENCE, NIRCAM_SCIENCE)]
    template, science = frames[0].image, frames[1]
    result = subtract(template, science.image, stars=science.stars)
    around = result.score[646 - 3 : 646 + 4, 233 - 3 : 233 + 4]
    assert -13.5 < around.min() < -8.0


def load_nircam(folder: Path, name: str) -> Preprocessed:
    """A space frame with the PSF and noise that its pipeline gives."""
    image = read_image(folder / "input_data" / f"{name}.fits").image
    noise = read_plane(folder / "auxiliary" / f"{name}.noise.fits")
    psf = read_plane(folder / "auxiliary" / f"{name}.WebbPSF.fits")
    return preprocess_image(
        image,
        PreprocessConfig(find_cosmic_rays=False),
        given_psf=constant_psf(psf, shape=image.shape),
        given_variance=np.where(np.isfinite(noise), noise**2, 0.0).astype(np.float32),
    )
