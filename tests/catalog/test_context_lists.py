"""Lists of known things: taken in from any format, matched at the time of the observation."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from django.core.management import CommandError, call_command

from catalog.models import ContextList
from catalog.selectors.context import context_of, context_of_object, context_words, covers
from tests.catalog.factories import make_object

RA, DEC = 150.0, 2.0
MJD_2026 = 51544.5 + 365.25 * 26.0
ARCSEC = 1.0 / 3600.0

pytestmark = pytest.mark.django_db


def take_in(path: Path, table: Table, kind: str, **options: Any) -> str:
    """Write a table in the format of its name and take it in."""
    formats = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".vot": "votable"}
    table.write(path, format=formats[path.suffix], overwrite=True)
    out = io.StringIO()
    call_command("import_context_list", str(path), kind=kind, stdout=out, **options)
    return out.getvalue()


def stars() -> Table:
    """A fast star that is at the place in 2026, and a hundred that stay around it."""
    rng = np.random.default_rng(2)
    ra = np.concatenate(
        [[RA - 5.0 * ARCSEC / np.cos(np.radians(DEC))], RA + rng.uniform(0.01, 0.2, 100)]
    )
    dec = np.concatenate([[DEC], DEC + rng.uniform(-0.2, 0.2, 100)])
    return Table(
        {
            "source_id": np.arange(101) + 7000,
            "ra": ra,
            "dec": dec,
            "pmra": np.concatenate([[500.0], np.full(100, np.nan)]),
            "pmdec": np.zeros(101),
            "phot_g_mean_mag": np.full(101, 15.0),
            "ref_epoch": np.full(101, 2016.0),
        }
    )


def of(kind: str, **place: Any) -> Any:
    told = {"ra": RA, "dec": DEC, "mjd": MJD_2026} | place
    found = context_of(told["ra"], told["dec"], mjd=told["mjd"])
    return next(said for said in found if said.kind == kind)


def test_without_a_list_nothing_is_said_to_be_absent(db: None) -> None:
    found = context_of(RA, DEC, mjd=MJD_2026)
    assert [said.kind for said in found] == ["star", "galaxy", "variable", "agn"]
    assert all(said.sentence.endswith("covers this place.") for said in found)
    assert context_words(found) == "no list held here covers this place"


@pytest.mark.parametrize("suffix", [".csv", ".ecsv", ".fits", ".vot"])
def test_a_fast_star_is_found_where_it_is_at_the_time_of_the_observation(
    tmp_path: Path, suffix: str
) -> None:
    said = take_in(tmp_path / f"gaia{suffix}", stars(), "star", epoch=2016.0)
    assert "101 stars" in said
    (match,) = of("star").matches
    assert (match.key, match.magnitude) == ("7000", 15.0)
    assert match.separation_arcsec < 0.01
    assert match.moved_arcsec == pytest.approx(5.0, abs=0.01)
    # ten years earlier it was five arcsec away
    early = of("star", mjd=MJD_2026 - 3652.5)
    assert early.matches == ()
    assert early.sentence == f"No star near it in gaia{suffix}."


def test_positions_of_another_epoch_are_brought_to_the_one_of_the_list(tmp_path: Path) -> None:
    take_in(tmp_path / "gaia.fits", stars(), "star", epoch=2000.0)
    row = ContextList.objects.get()
    assert (row.epoch, row.fastest_mas_yr) == (2000.0, 500.0)
    (match,) = of("star").matches
    assert match.separation_arcsec < 0.01
    assert match.moved_arcsec == pytest.approx(13.0, abs=0.01)


def test_a_list_covers_the_cells_it_has_rows_in_or_the_sky_it_says_it_does(tmp_path: Path) -> None:
    take_in(tmp_path / "gaia.fits", stars(), "star", epoch=2016.0)
    row = ContextList.objects.get()
    assert covers(row, RA, DEC)
    assert not covers(row, RA + 90.0, DEC)
    assert of("star", ra=RA + 90.0).sentence == "No list of stars held here covers this place."
    take_in(tmp_path / "gaia.fits", stars(), "star", epoch=2016.0, whole_sky=True)
    assert ContextList.objects.get().is_whole_sky
    assert of("star", ra=RA + 90.0).sentence == "No star near it in gaia.fits."


def test_a_match_across_the_edge_of_a_cell_is_not_lost(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 4000), np.degrees(np.arcsin(rng.uniform(-1, 1, 4000)))
    take_in(tmp_path / "agn.fits", Table({"ra": ra, "dec": dec}), "agn", whole_sky=True)
    # a tenth of an arcsec beside each of some rows, whatever cell that falls in
    for i in range(0, 4000, 400):
        assert len(of("agn", ra=float(ra[i]), dec=float(dec[i]) + 0.1 * ARCSEC).matches) == 1


def test_the_host_is_the_galaxy_whose_light_reaches_the_place(tmp_path: Path) -> None:
    galaxies = Table(
        {
            "name": ["spiral", "dwarf", "far"],
            "ra": [RA, RA, RA],
            "dec": [DEC + 8.0 * ARCSEC, DEC - 4.0 * ARCSEC, DEC + 50.0 * ARCSEC],
            "mag_r": [16.0, 23.5, 14.0],
            "radius": [6.0, 0.5, 3.0],
            "ba": [0.4, 1.0, 1.0],
            "pa": [0.0, 0.0, 0.0],
            "z": [0.021, np.nan, 0.1],
        }
    )
    take_in(tmp_path / "galaxies.ecsv", galaxies, "galaxy")
    said = of("galaxy")
    # the dwarf is eight of its radii away, the far one sixteen
    assert [match.key for match in said.matches] == ["spiral"]
    (host,) = said.matches
    assert host.dlr == pytest.approx(8.0 / 6.0, rel=1e-3)
    assert host.redshift == pytest.approx(0.021)
    assert host.probability == pytest.approx(1.0 - said.none)
    assert host.probability > 0.99


def test_a_newer_list_of_the_same_name_takes_the_place_of_the_older(tmp_path: Path) -> None:
    path = tmp_path / "stars.csv"
    assert "taken in" in take_in(path, stars(), "star")
    assert "known already" in take_in(path, stars(), "star")
    take_in(path, stars()[:50], "star")
    assert [row.n_rows for row in ContextList.objects.filter(is_active=True)] == [50]
    owner = make_object(RA, DEC)
    assert context_of_object(owner)[0].covering == ("stars.csv",)


def test_a_file_that_is_no_list_ends_in_one_line_and_keeps_nothing(tmp_path: Path) -> None:
    bad = {
        "words.csv": b"a,b\n1,2\n",
        "broken.fits": b"SIMPLE",
        "picture.png": b"",
        "nowhere.csv": b"ra,dec\nnan,1\n",
        "text.csv": b"ra,dec\nx,1\n",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CommandError) as caught:
            call_command("import_context_list", str(tmp_path / name), kind="star")
        assert caught.value.returncode == 2
    good = tmp_path / "good.csv"
    good.write_bytes(b"ra,dec\n1,2\n")
    for options in ({"column": ["magnitude=nothing"]}, {"column": ["x"]}, {"match_arcsec": 0.0}):
        with pytest.raises(CommandError):
            call_command("import_context_list", str(good), kind="star", **options)
    call_command("import_context_list", str(good), kind="star", dry_run=True, stdout=io.StringIO())
    assert not ContextList.objects.exists()
