"""What the subtraction command does with frames whose header or alignment is a lie."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from astrid_site.imaging.sky_pair import PairConfig, simulate_pair
from tests.detection.test_subtract_images import refuse, run_command, write_frame


def write_pair(folder: Path, *, shift: float) -> Path:
    pair = simulate_pair(
        PairConfig(
            seed=3, shape=(256, 256), star_density_per_mpix=1500, shift_pix=(shift, -shift / 2.0)
        )
    )
    write_frame(folder / "reference.fits", pair, "reference")
    write_frame(folder / "science.fits", pair, "science")
    return folder


def test_sky_positions_are_the_reference_s_where_the_science_wcs_is_off(tmp_path: Path) -> None:
    write_pair(tmp_path, shift=3.0)
    with fits.open(tmp_path / "science.fits") as science:
        science[0].header["CRVAL2"] += 20.0 / 3600.0
        science.writeto(tmp_path / "off.fits")
    tables = []
    for name in ("science", "off"):
        output = tmp_path / name
        done = run_command(
            tmp_path / "reference.fits", tmp_path / f"{name}.fits", "--output", output
        )
        assert done.returncode == 0, done.stderr
        tables.append(Table.read(output / "candidates.ecsv", format="ascii.ecsv"))
    honest, off = tables
    assert len(honest) == len(off) >= 2
    # the same stars tie both: what is left is the fit's rounding, far below 0.05 arcsec
    for axis in ("ra", "dec"):
        assert np.abs(np.array(honest[axis]) - np.array(off[axis])).max() * 3600.0 < 0.05
    record = json.loads((tmp_path / "off" / "timing.json").read_text())
    assert record["quality"] == "downgrade"
    told = [note for note in record["notes"] if "20.0 arcsec off by the stars" in note]
    assert len(told) == 1
    assert "the reference's was believed" in told[0]
    assert told[0] in record["quality_reasons"]
    clean = json.loads((tmp_path / "science" / "timing.json").read_text())
    assert not any("was believed" in note for note in clean["notes"])


def test_dithered_frames_are_not_taken_for_aligned(tmp_path: Path) -> None:
    write_pair(tmp_path, shift=8.0)
    frames = tmp_path / "reference.fits", tmp_path / "science.fits"
    # the hypotenuse of 8 and 4 pixels
    refuse(*frames, tmp_path, "8.9 pix off the reference", "--aligned")


def test_frames_a_third_of_a_pixel_apart_are_downgraded(tmp_path: Path) -> None:
    write_pair(tmp_path, shift=0.3)
    frames = tmp_path / "reference.fits", tmp_path / "science.fits"
    done = run_command(*frames, "--output", tmp_path / "out", "--aligned")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "timing.json").read_text())
    assert record["quality"] == "downgrade"
    assert any("pix apart" in reason for reason in record["quality_reasons"])


@pytest.mark.real_data
def test_a_mirrored_frame_of_few_stars_is_refused(test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "decam_2018_transient" / "input_data"
    with fits.open(folder / "DEC-OBS04b.mini.fits") as science:
        science[0].data = science[0].data[:, ::-1].copy()
        science.writeto(tmp_path / "mirrored.fits")
    refuse(
        folder / "DEC-OBS04a.mini.fits", tmp_path / "mirrored.fits", tmp_path,
        "mirrored left to right",
    )  # fmt: skip
