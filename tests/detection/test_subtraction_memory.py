"""How much more memory the subtraction of two files needs for each further million pixels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits

from astrid_site.imaging.sky_pair import PairConfig, simulate_pair

ROOT = Path(__file__).resolve().parents[2]
SIDES = (640, 2240)
#: Two frames of data, variance and mask are 20 bytes per pixel, what comes of them 21, and what
#: lies in between strips and tiles: 78 were measured. How much of the libraries' own memory counts
#: differs by up to 60 MB from run to run, which is 13 of these.
LIMIT_MB_PER_MPIX = 100.0


def peak_mb(side: int, folder: Path) -> float:
    """Most memory of the whole command, started as a program of its own."""
    pair = simulate_pair(
        PairConfig(seed=3, shape=(side, side), star_density_per_mpix=700, shift_pix=(3.4, -2.2))
    )
    paths = []
    for name in ("reference", "science"):
        image = getattr(pair, name)
        header = image.wcs.to_header() if image.wcs is not None else fits.Header()
        header.update(GAIN=image.gain, SATURATE=image.saturation)
        paths.append(folder / f"{name}-{side}.fits")
        fits.PrimaryHDU(image.data, header).writeto(paths[-1])
    output = folder / f"products-{side}"
    command = [sys.executable, "manage.py", "subtract_images", *paths, "--output", output]
    done = subprocess.run(
        [*map(str, command), "--threads=1"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads((output / "timing.json").read_text())
    return float(told["peak_memory_self_mb"])


def test_memory_grows_by_less_than_planes_of_both_frames_and_a_few_more(tmp_path: Path) -> None:
    small, large = (peak_mb(side, tmp_path) for side in SIDES)
    growth = (large - small) / ((SIDES[1] ** 2 - SIDES[0] ** 2) / 1e6)
    assert growth < LIMIT_MB_PER_MPIX
    # a program that loads nothing it does not need
    assert small == pytest.approx(450.0, abs=150.0)
