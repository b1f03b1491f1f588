"""The command that subtracts two files, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from astrid_site.imaging.sky_pair import PairConfig, SimulatedPair, simulate_pair
from detection.management.subtraction_products import PRODUCTS, flux_unit

ROOT = Path(__file__).resolve().parents[2]


def run_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "manage.py", "subtract_images", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def write_frame(path: Path, pair: SimulatedPair, which: str) -> Path:
    image = getattr(pair, which)
    header = fits.Header() if image.wcs is None else image.wcs.to_header()
    header.update(GAIN=image.gain, SATURATE=image.saturation, EXPTIME=image.exposure_s)
    fits.PrimaryHDU(image.data, header).writeto(path)
    mask = path.with_suffix(".mask.fits")
    fits.PrimaryHDU((image.mask != 0).astype(np.uint8)).writeto(mask)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SimulatedPair]:
    folder = tmp_path_factory.mktemp("pair")
    pair = simulate_pair(
        PairConfig(
            seed=3,
            shape=(384, 384),
            star_density_per_mpix=1500,
            shift_pix=(3.3, -2.6),
            rotation_deg=0.1,
        )
    )
    write_frame(folder / "reference.fits", pair, "reference")
    write_frame(folder / "science.fits", pair, "science")
    return folder, pair


@pytest.fixture(scope="module")
def products(files: tuple[Path, SimulatedPair]) -> Path:
    folder, _ = files
    done = run_command(
        folder / "reference.fits",
        folder / "science.fits",
        "--output",
        folder / "out",
        "--reference-mask",
        folder / "reference.mask.fits",
        "--science-mask",
        folder / "science.mask.fits",
    )
    assert done.returncode == 0, done.stderr
    assert "subtract:" in done.stderr
    assert done.stdout == ""
    return folder / "out"


def test_bright_transients_are_in_the_list(
    files: tuple[Path, SimulatedPair], products: Path
) -> None:
    truth = files[1].truth
    table = Table.read(products / "candidates.ecsv", format="ascii.ecsv")
    assert table.colnames == ["x", "y", "ra", "dec", "score", "flux", "flux_error", "flags"]
    bright = truth[(truth["snr_difference"] > 12) & ~truth["masked"]]
    inside = [row for row in bright if 15 < row["x"] < 369 and 15 < row["y"] < 369]
    assert len(inside) >= 2
    near = [np.hypot(table["x"] - row["x"], table["y"] - row["y"]).min() for row in inside]
    assert np.mean(np.array(near) < 1.5) >= 0.8


def test_products_lie_on_the_science_grid(
    files: tuple[Path, SimulatedPair], products: Path
) -> None:
    with fits.open(products / "difference.fits", checksum=True) as difference:
        assert difference[0].data.shape == (384, 384)
        assert {"VARIANCE", "MASK"} <= {hdu.name for hdu in difference}
        assert difference[0].header["CTYPE1"] == "RA---TAN"
        assert np.isfinite(difference[0].data).all()
    with fits.open(products / "score.fits") as score:
        assert np.isfinite(score[0].data).all()
        # the score of blank sky has unit width
        assert 1.4826 * np.median(np.abs(score[0].data)) == pytest.approx(1.0, abs=0.1)
    with fits.open(products / "difference_psf.fits") as psf:
        assert psf[0].data.sum() == pytest.approx(1.0, abs=1e-3)


def test_timing_says_how_long_and_how_much(products: Path) -> None:
    record = json.loads((products / "timing.json").read_text())
    assert set(record["seconds"]) == {
        "read",
        "preprocess",
        "register",
        "subtract",
        "detect",
        "measure",
        "write",
    }
    assert record["peak_memory_mb"] > 50
    assert record["quality"] in ("pass", "downgrade")


def test_the_registration_is_recorded(products: Path) -> None:
    found = json.loads((products / "timing.json").read_text())["registration"]
    assert found["n_stars"] > 10
    assert 0.0 < found["rms_pix"] < 0.5
    # the simulated pair: 3.3 and 2.6 pixels, 0.1 degree about the middle
    assert np.hypot(*found["shift_pix"]) == pytest.approx(np.hypot(3.3, 2.6), abs=0.15)
    assert abs(found["rotation_deg"]) == pytest.approx(0.1, abs=0.02)
    assert found["flux_ratio"] > 0


def test_the_candidates_say_their_units_and_where_they_come_from(products: Path) -> None:
    table = Table.read(products / "candidates.ecsv", format="ascii.ecsv")
    units = {name: table[name].unit for name in ("x", "y", "ra", "dec", "flux", "flux_error")}
    assert {name: str(unit) for name, unit in units.items()} == {
        "x": "pix",
        "y": "pix",
        "ra": "deg",
        "dec": "deg",
        "flux": "adu",
        "flux_error": "adu",
    }
    assert str(table["score"].unit) == ""
    assert "sigma" in table["score"].description
    meta = table.meta
    assert (meta["reference_file"], meta["science_file"]) == ("reference.fits", "science.fits")
    assert meta["threshold_sigma"] == 5.0
    assert np.abs(table["score"]).min() >= meta["threshold_sigma"]
    # the simulated headers have no date and no filter: said as unknown, not left out
    assert meta["mjd"] is None
    assert meta["band"] is None
    assert meta["method"].startswith(("kernel", "zogy"))
    assert isinstance(meta["quality_reasons"], list)
    assert 1.0 < meta["psf_fwhm_pix"] < 20.0
    assert meta["software_version"]


def test_the_images_say_their_units(products: Path) -> None:
    with fits.open(products / "difference.fits") as difference:
        assert difference[0].header["BUNIT"] == "adu"
        assert difference["VARIANCE"].header["BUNIT"] == "adu**2"
    with fits.open(products / "score.fits") as score:
        assert score[0].header["BUNIT"] == ""
        assert "significance [sigma]" in " ".join(score[0].header["HISTORY"])


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("ADU", "adu"),
        ("counts", "ct"),
        ("ELECTRONS/S", "electron / s"),
        ("e-", "electron"),
        ("DN", "DN"),
        ("MJy/sr", "MJy / sr"),
        ("no such unit", "DN"),
        ("", "DN"),
    ],
)
def test_a_unit_is_read_as_it_is_meant(text: str, unit: str) -> None:
    assert flux_unit(text).to_string() == unit


def test_a_file_that_is_no_image_is_one_line_and_exit_code_2(
    files: tuple[Path, SimulatedPair], tmp_path: Path
) -> None:
    text = tmp_path / "notes.fits"
    text.write_text("not an image")
    for pair in ((text, files[0] / "science.fits"), (tmp_path / "absent.fits", text)):
        done = run_command(*pair, "--output", tmp_path / "out")
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
        assert "Traceback" not in done.stderr


def test_aligned_frames_must_have_one_shape(
    files: tuple[Path, SimulatedPair], tmp_path: Path
) -> None:
    with fits.open(files[0] / "science.fits") as science:
        fits.PrimaryHDU(science[0].data[:300], science[0].header).writeto(tmp_path / "cut.fits")
    done = run_command(
        files[0] / "reference.fits", tmp_path / "cut.fits", "--output", tmp_path, "--aligned"
    )
    assert done.returncode == 2
    assert "not aligned" in done.stderr
    assert "Traceback" not in done.stderr


def write_plane(path: Path, values: np.ndarray) -> Path:
    fits.PrimaryHDU(values.astype(np.float32)).writeto(path)
    return path


def test_given_noise_and_psf_are_the_truth(
    files: tuple[Path, SimulatedPair], tmp_path: Path
) -> None:
    folder, pair = files
    options: list[object] = []
    for name, frame in (
        ("reference", pair.calibrated_reference()),
        ("science", pair.calibrated_science()),
    ):
        noise = write_plane(tmp_path / f"{name}.noise.fits", np.sqrt(frame.variance))
        psf = write_plane(tmp_path / f"{name}.psf.fits", frame.psf.at(192.0, 192.0)[0])
        options += [f"--{name}-noise", noise, f"--{name}-psf", psf]
    done = run_command(
        folder / "reference.fits", folder / "science.fits", "--output", tmp_path / "out", *options
    )
    assert done.returncode == 0, done.stderr
    notes = json.loads((tmp_path / "out" / "timing.json").read_text())["notes"]
    told = [note for note in notes if note.endswith("the variance was given, not measured")]
    assert sorted(told) == [
        f"{name}: the variance was given, not measured" for name in ("reference", "science")
    ]
    assert len(notes) == len(set(notes))
    with fits.open(tmp_path / "out" / "score.fits") as score:
        assert 1.4826 * np.median(np.abs(score[0].data)) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("option", "values", "words"),
    [
        ("--science-noise", np.ones((10, 12)), "12 x 10 pixels"),
        ("--reference-noise", np.full((384, 384), -1.0), "positive nowhere"),
        ("--science-psf", np.zeros((15, 15)), "no light"),
        ("--science-psf", np.pad([[1.0]], 1), "(3 x 3 pixels)"),
        ("--science-psf", np.pad([[1.0]], 7), "one pixel"),
        ("--science-psf", np.full((15, 15), 3e38), "no light"),
        ("--science-psf", np.outer(*[np.hanning(23)[4:-4]] * 2), "does not fall off"),
        ("--reference-psf", np.ones((3, 15, 15)), "two-dimensional"),
    ],
)
def test_a_plane_that_cannot_be_used_is_one_line_and_exit_code_2(
    files: tuple[Path, SimulatedPair], tmp_path: Path, option: str, values: np.ndarray, words: str
) -> None:
    plane = write_plane(tmp_path / "plane.fits", values)
    refuse(files[0] / "reference.fits", files[0] / "science.fits", tmp_path, words, option, plane)


def refuse(reference: Path, science: Path, folder: Path, words: str, *options: object) -> None:
    done = run_command(reference, science, "--output", folder / "out", *options)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full((384, 384), 7.0), "constant"),
        (np.full((384, 384), np.nan), "NaN"),
        (np.random.default_rng(5).normal(100.0, 10.0, (384, 384)), "PSF could not be measured"),
    ],
)
def test_a_frame_that_shows_nothing_is_refused(
    files: tuple[Path, SimulatedPair], tmp_path: Path, values: np.ndarray, words: str
) -> None:
    empty = write_plane(tmp_path / "empty.fits", values)
    options = ("--aligned",) if words.startswith("PSF") else ()
    refuse(files[0] / "reference.fits", empty, tmp_path, words, *options)


@pytest.mark.parametrize("number", [0, -4])
def test_fewer_than_one_thread_is_one_line_and_exit_code_2(tmp_path: Path, number: int) -> None:
    done = run_command("a.fits", "b.fits", "--output", tmp_path, "--threads", number)
    assert done.returncode == 2
    assert done.stderr.strip() == f"CommandError: --threads: at least 1 is needed, got {number}"


def test_a_failed_run_leaves_no_products_of_a_former_one(tmp_path: Path) -> None:
    for name in (*PRODUCTS, "mine.txt"):
        (tmp_path / name).write_text("of yesterday")
    refuse(tmp_path / "absent.fits", tmp_path / "absent.fits", tmp_path, "absent.fits")
    done = run_command("absent.fits", "absent.fits", "--output", tmp_path)
    assert done.returncode == 2
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["mine.txt"]


def test_a_file_to_be_read_is_never_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "difference.fits"
    mine.write_text("precious")
    done = run_command("absent.fits", mine, "--output", tmp_path)
    assert done.returncode == 2
    assert "would be overwritten" in done.stderr
    assert mine.read_text() == "precious"


def test_a_negative_gain_is_said_and_not_used(
    files: tuple[Path, SimulatedPair], tmp_path: Path
) -> None:
    with fits.open(files[0] / "science.fits") as frame:
        frame[0].header["GAIN"] = -1.5
        frame.writeto(tmp_path / "science.fits")
    done = run_command(
        files[0] / "reference.fits", tmp_path / "science.fits", "--output", tmp_path / "out"
    )
    assert done.returncode == 0, done.stderr
    assert "warning: science: header: gain is negative (GAIN = -1.5); it is not used" in done.stderr


def test_frames_of_other_sky_are_refused(files: tuple[Path, SimulatedPair], tmp_path: Path) -> None:
    with fits.open(files[0] / "science.fits") as science:
        science[0].header["CRVAL1"] += 5.0
        science.writeto(tmp_path / "far.fits")
    refuse(files[0] / "reference.fits", tmp_path / "far.fits", tmp_path, "WCS is wrong")


def test_reversed_epochs_and_an_absurd_gain_are_said(
    files: tuple[Path, SimulatedPair], tmp_path: Path
) -> None:
    for name, year, gain in (("reference", 2025, 1.0), ("science", 2024, 1e12)):
        with fits.open(files[0] / f"{name}.fits") as frame:
            frame[0].header.update({"DATE-OBS": f"{year}-01-01T00:00:00", "GAIN": gain})
            frame.writeto(tmp_path / f"{name}.fits")
    done = run_command(
        tmp_path / "reference.fits", tmp_path / "science.fits", "--output", tmp_path / "out"
    )
    assert done.returncode == 0, done.stderr
    notes = " ".join(json.loads((tmp_path / "out" / "timing.json").read_text())["notes"])
    assert "taken after" in notes
    assert "implausible" in notes
    assert "warning" in done.stderr
