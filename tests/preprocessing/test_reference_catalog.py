"""Reference stars: tables of many kinds taken in, and frames calibrated against them."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from django.core.management import CommandError, call_command

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.simulation import SkyConfig, simulate_frame
from observations.models import Observation, Survey
from preprocessing.algorithms.preprocess import preprocess_image
from preprocessing.algorithms.star_catalog import color_bands
from preprocessing.models import ReferenceCatalog
from preprocessing.services import import_catalog, read_catalog
from preprocessing.services.catalogs import catalog_around
from preprocessing.services.photometry import calibrate_photometry, injected_depth
from tests.observations.factories import make_observation, make_survey

pytestmark = pytest.mark.django_db


def star_table(n: int = 30, **columns: Any) -> Table:
    rng = np.random.default_rng(1)
    return Table(
        {
            "ra": rng.uniform(149.9, 150.1, n),
            "dec": rng.uniform(1.9, 2.1, n),
            "mag_g": rng.uniform(15, 20, n),
            "mag_r": rng.uniform(15, 20, n),
            "err_r": np.full(n, 0.01),
            **columns,
        }
    )


def run(path: Path, survey: Survey, *more: str) -> str:
    out = StringIO()
    call_command(
        "import_reference_catalogue", str(path), "--survey", survey.name, *more, stdout=out
    )
    return out.getvalue()


@pytest.mark.parametrize(
    ("suffix", "kind"), [("csv", "ascii.csv"), ("ecsv", "ascii.ecsv"), ("fits", "fits")]
)
def test_tables_of_every_kind_are_taken_in_once(tmp_path: Path, suffix: str, kind: str) -> None:
    survey, path = make_survey(), tmp_path / f"stars.{suffix}"
    star_table().write(path, format=kind)
    assert run(path, survey) == f"stars.{suffix}: 30 stars with magnitudes in g, r, taken in\n"
    assert "known already" in run(path, survey)
    row = ReferenceCatalog.objects.get(survey=survey)
    assert (row.n_stars, row.bands, row.is_active) == (30, ["g", "r"], True)


def test_a_newer_file_of_the_name_puts_the_older_aside(tmp_path: Path) -> None:
    survey, path = make_survey(), tmp_path / "stars.csv"
    star_table().write(path, format="ascii.csv")
    run(path, survey)
    star_table(40).write(path, format="ascii.csv", overwrite=True)
    run(path, survey)
    told = ReferenceCatalog.objects.order_by("n_stars").values_list("n_stars", "is_active")
    assert list(told) == [(30, False), (40, True)]
    star_table().write(path, format="ascii.csv", overwrite=True)
    run(path, survey)
    told = ReferenceCatalog.objects.order_by("n_stars").values_list("n_stars", "is_active")
    assert list(told) == [(30, True), (40, False)]


def test_a_dry_run_keeps_nothing(tmp_path: Path) -> None:
    path = tmp_path / "stars.csv"
    star_table().write(path, format="ascii.csv")
    assert "nothing was kept" in run(path, make_survey(), "--dry-run")
    assert not ReferenceCatalog.objects.exists()


def test_columns_of_other_names_are_told(tmp_path: Path) -> None:
    path = tmp_path / "ps1.csv"
    table = star_table()
    table.rename_columns(["mag_r", "err_r", "ra"], ["rPSF", "rPSFErr", "RAJ2000"])
    table.write(path, format="ascii.csv")
    found = read_catalog(path, columns={"mag_r": "rPSF", "err_r": "rPSFErr"})
    assert found["mag_r"] == pytest.approx(np.asarray(table["rPSF"]))
    assert set(found.dtype.names or ()) == {"ra", "dec", "mag_g", "mag_r", "err_r"}


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "bands", "n_stars"),
    [
        ("gaia_dr3_ldac_151.09_1.83.fits", {"G", "BP", "RP"}, 59),
        ("ey_uma_field/all_apass_ey_uma_sorted_ra_first_20.fits", {"B", "V", "g", "r", "i"}, 20),
    ],
)
def test_real_catalogues_are_read_as_they_come(
    test_data: Path, name: str, bands: set[str], n_stars: int
) -> None:
    found = read_catalog(test_data / "catalogs" / name)
    names = found.dtype.names or ()
    assert {n.removeprefix("mag_") for n in names if n.startswith("mag_")} == bands
    assert {n.removeprefix("err_") for n in names if n.startswith("err_")} == bands
    assert len(found) == n_stars


def test_rows_without_place_or_magnitude_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "stars.csv"
    table = star_table()
    table["mag_r"][:4], table["mag_g"][:3] = -999.0, 99.0
    table["dec"][5] = 120.0
    table["ra"][6] = np.nan
    table.write(path, format="ascii.csv")
    found = read_catalog(path)
    assert len(found) == 25
    assert np.isnan(found["mag_r"]).sum() == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "no column ra"),
        ("ra,dec\n1,2\n", "mag_<band>"),
        ("ra,dec,mag_r\nx,y,z\n", "is no table of numbers"),
        ("ra,dec,mag_r\n1,2,99\n", "none of 1 rows"),
    ],
)
def test_what_is_no_catalogue_ends_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "stars.csv"
    path.write_text(text)
    with pytest.raises(CommandError, match=said) as refusal:
        run(path, make_survey())
    assert refusal.value.returncode == 2


def test_other_refusals_of_the_command(tmp_path: Path) -> None:
    path = tmp_path / "stars.csv"
    star_table().write(path, format="ascii.csv")
    with pytest.raises(CommandError, match="there is no survey"):
        call_command("import_reference_catalogue", str(path), "--survey", "nowhere")
    with pytest.raises(CommandError, match="WHAT=NAME"):
        run(path, make_survey(), "--column", "mag_r")
    with pytest.raises(CommandError, match="no column rPSF"):
        run(path, make_survey(), "--column", "mag_r=rPSF")
    with pytest.raises(AlgorithmError, match=r"\.csv"):
        read_catalog(tmp_path / "stars.txt")


def test_the_color_is_that_of_neighbouring_bands() -> None:
    assert color_bands("r", ["g", "r", "i"]) == ("r", "i")
    assert color_bands("g", ["r", "g"]) == ("g", "r")
    assert color_bands("i", ["g", "r", "i"]) == ("r", "i")
    assert color_bands("V", ["V"]) is None
    assert color_bands("clear", ["g", "r"]) is None


CONFIG = SkyConfig(shape=(512, 512), wcs_offset_arcsec=(0.2, -0.1), star_density_per_mpix=900.0)


@pytest.fixture(scope="module")
def simulated() -> Any:
    frame = simulate_frame(CONFIG, field=1, epoch=2)
    return frame, preprocess_image(frame.image.with_(mask=np.zeros_like(frame.image.mask)))


def observed(frame: Any, survey: Survey) -> Observation:
    ra, dec = frame.image.wcs.all_pix2world(255.5, 255.5, 0)
    return make_observation(
        survey, ra=float(ra), dec=float(dec), healpix14=1, radius_deg=0.1, band="r"
    )


def true_catalog(frame: Any, survey: Survey) -> ReferenceCatalog:
    """The stars of the simulated field with a colour on which the camera's response depends."""
    from astrid_site.imaging.sky_survey import draw_field, draw_night

    field, night = draw_field(CONFIG, 1), draw_night(CONFIG, field_index=1, epoch=2)
    x, y = night.where.to_pixel(field.sky.star_xi, field.sky.star_eta)
    ra, dec = frame.image.wcs.all_pix2world(x, y, 0)
    color = np.random.default_rng(3).normal(0.6, 0.3, len(x))
    table = Table(
        {
            "ra": ra % 360,
            "dec": dec,
            "mag_r": field.sky.star_mag + 0.05 * (color - 0.6),
            "err_r": np.full(len(x), 0.003),
            "color": color,
        }
    )
    names = {name: np.asarray(table[name], float) for name in table.colnames}
    from preprocessing.algorithms.star_catalog import clean_table

    return import_catalog(Path("truth.csv"), survey, table=clean_table(names))[0]


def test_a_frame_gets_the_true_zero_point_from_the_catalogue(simulated: Any) -> None:
    frame, done = simulated
    survey = make_survey()
    catalog, observation = true_catalog(frame, survey), observed(frame, survey)
    calibrated, inputs = calibrate_photometry(observation, done)
    told = calibrated.metrics
    assert inputs == {"catalog": catalog.file.sha256}
    assert told["zero_point_source"] == "catalog"
    # PSF fluxes miss up to 1.5 % of the light, which lies beyond the PSF's image
    assert told["zero_point"] == pytest.approx(frame.zero_point_truth, abs=0.02)
    assert told["color_term"] == pytest.approx(0.05, abs=4 * told["color_term_error"])
    assert told["color_term_color"] == "colour"
    assert calibrated.image.zero_point == told["zero_point"]
    moved = told["zero_point"] - done.metrics["zero_point"]
    assert told["limiting_magnitude"] == pytest.approx(done.metrics["limiting_magnitude"] + moved)
    assert "truth.csv" in calibrated.notes[-1]


def test_without_a_catalogue_at_hand_nothing_changes(simulated: Any) -> None:
    frame, done = simulated
    survey = make_survey()
    observation = observed(frame, survey)
    assert calibrate_photometry(observation, done) == (done, {})
    true_catalog(frame, make_survey())
    assert catalog_around(observation) is None
    true_catalog(frame, survey)
    elsewhere = observed(frame, survey)
    elsewhere.ra = (elsewhere.ra or 0.0) + 20.0
    assert catalog_around(elsewhere) is None
    other_band = observed(frame, survey)
    other_band.band = "i"
    assert catalog_around(other_band) is None


def test_a_catalogue_that_does_not_match_is_told_and_the_header_stays(simulated: Any) -> None:
    frame, done = simulated
    survey = make_survey()
    observation = observed(frame, survey)
    table = star_table(5)
    table["ra"], table["dec"] = observation.ra, observation.dec
    names = {name: np.asarray(table[name], float) for name in table.colnames}
    from preprocessing.algorithms.star_catalog import clean_table

    import_catalog(Path("few.csv"), survey, table=clean_table(names))
    kept, _ = calibrate_photometry(observation, done)
    assert kept.metrics["zero_point_source"] == "header"
    assert kept.image.zero_point == done.image.zero_point
    assert "too few stars" in str(kept.metrics["zero_point_catalog_problem"])
    assert "few.csv did not calibrate the frame" in kept.notes[-1]


def test_the_depth_by_injections_is_kept_and_the_same_every_time(simulated: Any) -> None:
    frame, done = simulated
    observation, depths = observed(frame, make_survey()), []
    for digit in "12345678":
        observation.raw_file.sha256 = digit * 64
        told = injected_depth(observation, done)
        depths.append(told["limiting_magnitude_injected"])
    # plain noise: the noise tells the limit, photons take 0.03 mag; places and photons of one
    # file's draw scatter by 0.035 mag, the mean of eight by 0.012
    assert np.mean(depths) == pytest.approx(done.metrics["limiting_magnitude"] - 0.03, abs=0.04)
    assert np.std(depths) < 0.07
    assert len(set(depths)) == 8
    assert injected_depth(observation, done) == told
    assert told["injected_depth"]["n_places"] == 400
