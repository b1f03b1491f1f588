"""Files of a simulated survey: honest, repeatable, and never written over other people's data."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from django.core.management import call_command
from django.core.management.base import CommandError

from astrid_site.imaging.simulation import SkyConfig, simulate_frame, write_survey


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    config = SkyConfig(
        n_fields=1, n_epochs=3, shape=(160, 192), supernovae_per_field=3, asteroids_per_field=2
    )
    folder = tmp_path_factory.mktemp("survey")
    calls: list[tuple[int, int]] = []
    write_survey(config, folder, progress=lambda done, total: calls.append((done, total)))
    return config, folder, calls


def test_a_survey_says_everywhere_that_it_is_simulated(survey):
    _, folder, calls = survey
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert "SIMULATED" in (folder / "README.txt").read_text()
    files = sorted(folder.glob("*.fits"))
    assert len(files) == 3
    for file in files:
        header = fits.getheader(file)
        assert header["SIMULATE"] is True
        assert header["ORIGIN"] == "AstrID simulator"


def test_survey_frames_hold_what_the_simulator_made(survey):
    config, folder, _ = survey
    frame = simulate_frame(config, field=0, epoch=2)
    with fits.open(folder / frame.file_name) as hdus:
        header = hdus[0].header
        assert (header["BITPIX"], header["BZERO"], header["BLANK"]) == (16, 32768, -32768)
        assert np.array_equal(hdus[0].data, frame.image.data)
        assert header["EXPTIME"] == frame.image.exposure_s
        middle = header["MJD-OBS"] + header["EXPTIME"] / 2 / 86400
        assert frame.truth["mjd"][0] == pytest.approx(middle, abs=1e-7)
        written = WCS(header).all_pix2world(50, 60, 0)
        assert np.allclose(written, frame.image.wcs.all_pix2world(50, 60, 0), atol=1e-10)


def test_the_truth_table_reads_back(survey):
    config, folder, _ = survey
    truth = Table.read(folder / "truth.ecsv")
    expected = simulate_frame(config, field=0, epoch=2).truth
    part = truth[truth["epoch"] == 2]
    assert part.colnames == expected.colnames
    assert list(part["object_id"]) == list(expected["object_id"])
    assert np.allclose(part["flux_adu"], expected["flux_adu"])
    assert (folder / part["file"][0]).is_file()
    numbers = [name for name in truth.colnames if truth[name].dtype.kind in "fi"]
    assert {name for name in numbers if truth[name].unit is None} == set()
    assert (str(truth["flux_adu"].unit), str(truth["mag"].unit)) == ("adu", "mag")
    assert (str(truth["ra"].unit), str(truth["x"].unit)) == ("deg", "pix")


def test_the_same_survey_has_the_same_bytes_and_an_interrupted_one_is_completed(survey, tmp_path):
    config, folder, _ = survey
    write_survey(config, tmp_path)
    # the truth table alone does not make a survey whole
    next(tmp_path.glob("*.fits")).unlink()
    write_survey(config, tmp_path)
    names = sorted(path.name for path in folder.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_a_survey_is_not_written_over_other_data(survey, tmp_path):
    config, folder, _ = survey
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="other data"):
        write_survey(config, tmp_path)
    with pytest.raises(FileExistsError, match="another simulated survey"):
        write_survey(replace(config, seed=9), folder)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_command_writes_a_survey_and_names_what_it_wrote(tmp_path):
    folder, out = tmp_path / "sky", StringIO()
    options = {"fields": 1, "epochs": 2, "templates": 1, "size": 128, "supernovae": 1}
    call_command("simulate_survey", folder, **options, stdout=out)
    assert len(list(folder.glob("*.fits"))) == 2
    assert "2 simulated exposures" in out.getvalue()
    assert str(folder / "truth.ecsv") in out.getvalue()


def test_the_command_refuses_in_one_line(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CommandError, match="other data"):
        call_command("simulate_survey", tmp_path, size=128, verbosity=0)
    with pytest.raises(CommandError, match="shape: at least 128"):
        call_command("simulate_survey", tmp_path / "new", size=16, verbosity=0)


def test_a_whole_survey_is_left_alone(survey):
    config, folder, _ = survey
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    calls: list[tuple[int, int]] = []
    write_survey(config, folder, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(3, 3)]
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
