"""The command that measures one position in a folder of frames, as a user runs it."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.table import Table
from django.core.management import CommandError, call_command

from astrid_site.imaging.sky_pair import PairConfig, simulate_pair
from catalog.management.positions_file import read_positions


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two frames without world coordinates and a constant one."""
    path = tmp_path_factory.mktemp("series")
    pair = simulate_pair(
        PairConfig(seed=5, shape=(256, 256), star_density_per_mpix=3000, shift_pix=(4.0, 3.0))
    )
    for i, name in enumerate(("reference", "science")):
        image = getattr(pair, name)
        header = fits.Header()
        header.update(GAIN=image.gain, SATURATE=image.saturation, EXPTIME=60.0)
        header["DATE-OBS"] = f"2024-03-0{i + 1}T02:00:00"
        fits.PrimaryHDU(image.data, header).writeto(path / f"{name}.fits")
    fits.PrimaryHDU(np.full((256, 256), 7.0, np.float32)).writeto(path / "constant.fits")
    (path / "notes.txt").write_text("not a frame")
    return path


def test_every_frame_has_a_row_and_a_useless_one_its_reason(folder: Path, tmp_path: Path) -> None:
    call_command(
        "forced_light_curve",
        str(folder),
        "--pixel",
        "120.0",
        "130.0",
        "--frame",
        "science.fits",
        "--zero-point",
        "26.5",
        "--output",
        str(tmp_path),
    )
    table = Table.read(tmp_path / "light_curve.ecsv", format="ascii.ecsv")
    assert sorted(table["frame"]) == ["constant.fits", "reference.fits", "science.fits"]
    rows = {row["frame"]: row for row in table}
    assert table["difference_flux"].mask[list(table["frame"]).index("constant.fits")]
    assert "constant" in rows["constant.fits"]["remark"]
    assert np.hypot(rows["science.fits"]["x"] - 120, rows["science.fits"]["y"] - 130) < 0.5
    assert rows["science.fits"]["difference_flux_error"] > 0
    assert rows["science.fits"]["mjd"] == pytest.approx(60371.08367, abs=1e-4)
    assert table.meta["zero_point"] == 26.5
    numbers = [name for name in table.colnames if table[name].dtype.kind in "fi"]
    assert {name for name in numbers if table[name].unit is None} == set()
    assert str(table["summed_flux"].unit) == "adu"
    assert str(table["rms_pix"].unit) == "pix"
    assert str(table["chi2"].unit) == ""
    assert ET.parse(tmp_path / "light_curve.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--pixel", "1", "2"), "--frame"),
        (("--pixel", "1", "2", "--frame", "absent.fits"), "absent.fits is not among"),
        (("--sky", "10", "20"), "no frame has world coordinates"),
        (("--sky", "10", "20", "--threads", "0"), "--threads: at least 1 is needed, got 0"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    folder: Path, tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(CommandError, match=reason) as caught:
        call_command("forced_light_curve", str(folder), *arguments, "--output", str(tmp_path))
    assert caught.value.returncode == 2
    assert "\n" not in str(caught.value)


def test_a_place_on_the_sky_is_followed_and_the_named_reference_is_used(tmp_path: Path) -> None:
    pair = simulate_pair(
        PairConfig(seed=6, shape=(256, 256), star_density_per_mpix=3000, shift_pix=(4.0, 3.0))
    )
    paths = []
    for name in ("reference", "science"):
        image = getattr(pair, name)
        header = image.wcs.to_header()
        header.update(GAIN=image.gain, SATURATE=image.saturation, MAGZP=26.5)
        paths.append(tmp_path / f"{name}.fits")
        fits.PrimaryHDU(image.data, header).writeto(paths[-1])
    ra, dec = pair.science.wcs.all_pix2world(100.0, 140.0, 0)
    place = ("--sky", str(float(ra)), str(float(dec)))
    call_command(
        "forced_light_curve",
        *map(str, paths),
        *place,
        "--reference",
        "science.fits",
        "--output",
        str(tmp_path / "out"),
    )
    table = Table.read(tmp_path / "out" / "light_curve.ecsv", format="ascii.ecsv")
    assert table.meta["reference"] == ["science.fits"]
    # the zero point of the reference's own header
    assert table.meta["zero_point"] == 26.5
    here = next(row for row in table if row["frame"] == "science.fits")
    # both header WCS are exact: what is left is how well the stars register
    assert np.hypot(here["x"] - 100.0, here["y"] - 140.0) < 0.1
    # an epoch of the reference has no difference from it, as in the catalogue; its flux is that of
    # the frame, with the noise of one frame
    assert here["flags"] == "REFERENCE"
    columns = ("difference_flux", "difference_flux_error", "chi2")
    assert all(np.ma.is_masked(here[name]) for name in columns)
    there = next(row for row in table if row["frame"] == "reference.fits")
    # its seeing is the worse one (3.35 pix, the other 2.79): it brings 70 % of the variance of the
    # difference, 0.84 of its error; stars too faint to be found, which cancel in a difference, make
    # a direct flux scatter by 1.1 to 1.4 of the error of its pixels
    assert 0.84 < here["summed_flux_error"] / there["difference_flux_error"] < 1.2
    assert abs(here["limiting_magnitude"] - there["limiting_magnitude"]) < 1.0
    assert "reference" in here["remark"]


def test_a_list_of_positions_is_measured_in_one_go(folder: Path, tmp_path: Path) -> None:
    wanted = tmp_path / "wanted.csv"
    wanted.write_text("name,x,y\nnova,120.0,130.0\nquiet,60.5,200.25\noff,900,900\n")
    frame = ("--frame", "science.fits")
    call_command(
        "forced_light_curve", str(folder), "--positions", str(wanted), *frame,
        "--output", str(tmp_path),
    )  # fmt: skip
    call_command(
        "forced_light_curve", str(folder), "--pixel", "120", "130", *frame,
        "--output", str(tmp_path / "one"),
    )  # fmt: skip
    table, one = (
        Table.read(where / "light_curve.ecsv", format="ascii.ecsv")
        for where in (tmp_path, tmp_path / "one")
    )
    assert list(table["name"]) == ["nova"] * 3 + ["quiet"] * 3 + ["off"] * 3
    alike = ("summed_flux", "summed_flux_error", "reference_flux", "x")
    for name in alike:
        listed = np.ma.filled(table[table["name"] == "nova"][name], -1.0)
        assert np.allclose(listed, np.ma.filled(one[name], -1.0), rtol=1e-6)
    missing = table[table["name"] == "off"]
    assert missing["summed_flux"].mask.all()
    assert all(missing["remark"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x,dec\n1,2\n", "columns ra and dec, or x and y"),
        ("x,y\n", "1 to 10000 positions"),
        ("ra,dec\n10,95\n", "row 1: a declination of 95"),
        ("x,y\n1,2\n3,nan\n", "row 2 has no y"),
        ("x,y\n1,two\n", "column y does not hold coordinates"),
        ("name,x,y\na,1,2\na,3,4\n", "row 2: a second 'a'"),
        ("x,y\n1,2,3\n", "no table of positions"),
        ("x,y\n1,2\n", "--frame"),
    ],
)
def test_a_list_that_cannot_be_used_says_which_row(
    folder: Path, tmp_path: Path, text: str, reason: str
) -> None:
    wanted = tmp_path / "wanted.csv"
    wanted.write_text(text)
    with pytest.raises(CommandError, match=reason) as caught:
        call_command(
            "forced_light_curve", str(folder), "--positions", str(wanted),
            "--output", str(tmp_path),
        )  # fmt: skip
    assert caught.value.returncode == 2
    assert "\n" not in str(caught.value)


def test_sky_positions_are_read_in_the_unit_their_table_states(tmp_path: Path) -> None:
    path = tmp_path / "wanted.ecsv"
    hours = Table({"ra": [1.0, 2.0] * units.hourangle, "dec": [0.5, -30.0] * units.deg})
    hours.write(path, format="ascii.ecsv")
    found = read_positions(path)
    assert found.is_sky
    assert found.names == ("1", "2")
    assert np.allclose(found.places, [[15.0, 0.5], [30.0, -30.0]])


def test_one_frame_is_no_light_curve(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="at least two frames"):
        call_command(
            "forced_light_curve",
            str(folder / "science.fits"),
            "--pixel",
            "1",
            "2",
            "--output",
            str(tmp_path),
        )
