"""The command with another method, and with two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from astrid_site.imaging.sky_pair import PairConfig, simulate_pair
from tests.engine.command import header_of, run

COLUMNS = ["second_score", "second_flux_ratio", "second_agrees", "second_least_score"]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    pair = simulate_pair(PairConfig(seed=3, shape=(256, 256), star_density_per_mpix=1500))
    for name in ("reference", "science"):
        image = getattr(pair, name)
        fits.PrimaryHDU(image.data, header_of(image)).writeto(folder / f"{name}.fits")
    return folder / "reference.fits", folder / "science.fits"


def test_a_second_method_is_asked_about_every_candidate(
    frames: tuple[Path, Path], tmp_path: Path
) -> None:
    done = run(*frames, tmp_path, "--method", "alard_lupton", "--second-method", "zogy")
    assert done.record["method"] == "alard_lupton"
    table = Table.read(tmp_path / "candidates.ecsv", format="ascii.ecsv")
    assert table.colnames[-4:] == COLUMNS
    assert len(table) >= 3
    assert (table.meta["second_method"], table.meta["second_problem"]) == ("zogy", None)
    bright = table[np.abs(table["score"]) > 8]
    assert len(bright) >= 2
    assert all(bright["second_agrees"])
    assert np.abs(np.array(bright["second_flux_ratio"]) - 1.0).max() < 0.2
    assert (np.array(table["second_least_score"]) >= 4.0).all()


def test_a_second_method_that_is_the_first_is_said(
    frames: tuple[Path, Path], tmp_path: Path
) -> None:
    done = run(*frames, tmp_path, "--method", "zogy", "--second-method", "zogy")
    assert "the second method is the first" in done.warnings
    table = Table.read(tmp_path / "candidates.ecsv", format="ascii.ecsv")
    assert table.meta["second_problem"] == "the second method is the first"
    assert all(table[name].mask.all() for name in COLUMNS)
