"""The good pair on disk and what the command makes of it."""

from __future__ import annotations

import pytest
from astropy.io import fits

from astrid_site.imaging.sky_pair import PairConfig, simulate_pair
from tests.engine.command import SHAPE, Files, Run, header_of, run


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("good")
    pair = simulate_pair(PairConfig(seed=3, shape=SHAPE, star_density_per_mpix=1500))
    for name in ("reference", "science"):
        image = getattr(pair, name)
        fits.PrimaryHDU(image.data, header_of(image)).writeto(folder / f"{name}.fits")
    return Files(folder, pair)


@pytest.fixture(scope="module")
def good(files: Files) -> Run:
    """The good pair, for comparison."""
    return run(files.reference, files.science, files.folder / "out")
