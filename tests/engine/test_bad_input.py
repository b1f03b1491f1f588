"""Bad input to the subtraction command: one line and exit code 2."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from astrid_site.imaging.sky_pair import PairConfig, simulate_pair
from tests.engine.command import SHAPE, Files, refuse


def noise(level: float = 400.0) -> np.ndarray:
    return np.random.default_rng(1).normal(level, 20.0, SHAPE).astype(np.float32)


def left_half_only(data: np.ndarray) -> np.ndarray:
    out = data.copy()
    out[:, SHAPE[1] // 2 :] = np.nan
    return out


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda data: np.full(SHAPE, 7.0, np.float32), "constant"),
        (lambda data: np.full(SHAPE, np.nan, np.float32), "blank or NaN"),
        (lambda data: noise(), "0 stars of 5 needed"),
        (lambda data: data[:20, :20], "too small"),
        (lambda data: data[0], "not two-dimensional"),
        (lambda data: np.stack([data, data]), "not two-dimensional"),
        (lambda data: data.astype(np.float64) * 1e30, "single precision"),
        (lambda data: data.astype(np.float64) * 1e-30, "single precision"),
        (lambda data: data.astype(np.float64) * 1e300, "constant"),
    ],
)
@pytest.mark.parametrize("which", ["reference", "science"])
def test_a_frame_of_which_nothing_can_be_made_is_refused(
    files: Files,
    tmp_path: Path,
    make: Callable[[np.ndarray], np.ndarray],
    words: str,
    which: str,
) -> None:
    bad = files.write(tmp_path / "bad.fits", make(files.pair.science.data))
    frames = (bad, files.science) if which == "reference" else (files.reference, bad)
    assert words in refuse(*frames, tmp_path / "out")


def test_frames_without_a_pixel_in_common_are_refused(files: Files, tmp_path: Path) -> None:
    data = files.pair.science.data
    mine = files.write(tmp_path / "mine.fits", left_half_only(data))
    other = files.write(tmp_path / "other.fits", left_half_only(data[:, ::-1])[:, ::-1])
    said = refuse(other, mine, tmp_path / "out")
    assert any(word in said for word in ("overlap", "usable", "stars")), said


def test_frames_of_other_sky_are_refused(files: Files, tmp_path: Path) -> None:
    other = simulate_pair(PairConfig(seed=99, shape=SHAPE, star_density_per_mpix=1500)).science
    # under a WCS that says it is the same sky, and under one that does not
    lying = files.write(tmp_path / "lying.fits", other.data)
    honest = files.write(tmp_path / "honest.fits", other.data, CRVAL1=200.0)
    assert "star" in refuse(files.reference, lying, tmp_path / "out")
    assert "covers 0.0 % of the frame" in refuse(files.reference, honest, tmp_path / "out")


@pytest.mark.parametrize("name", ["absent.fits", "."])
def test_a_file_that_is_none_is_refused_by_name(files: Files, tmp_path: Path, name: str) -> None:
    assert str(tmp_path) in refuse(files.reference, tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((10, 20), np.uint8), "20 x 10 pixels, the image 256 x 256"),
        (np.zeros((2, *SHAPE), np.uint8), "not two-dimensional"),
        (np.ones(SHAPE, np.uint8), "too few usable pixels"),
    ],
)
def test_a_mask_that_cannot_be_used_is_refused(
    files: Files, tmp_path: Path, mask: np.ndarray, words: str
) -> None:
    path = tmp_path / "mask.fits"
    fits.PrimaryHDU(mask).writeto(path)
    said = refuse(files.reference, files.science, tmp_path / "out", "--science-mask", path)
    assert words in said


def test_an_output_that_cannot_be_is_refused(files: Files, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for output in (taken, taken / "below", Path("/proc/nowhere")):
        assert str(output) in refuse(files.reference, files.science, output)
    assert taken.read_text() == "mine"


@contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    """A disk on which no file grows beyond a size: writing ends as it does on a full one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_ends_in_one_line_and_leaves_no_products(files: Files, tmp_path: Path) -> None:
    with largest_file(300_000):
        said = refuse(files.reference, files.science, tmp_path / "out")
    assert str(tmp_path / "out") in said
    assert "no room" in said
