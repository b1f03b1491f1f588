"""Rows of observations for tests."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from astrid_site.accounts.models import User
from astrid_site.core.models import FileKind, StoredFile
from astrid_site.imaging.healpix import nested_index
from observations.models import Observation, Survey

_number = count(1)
START = datetime(2026, 3, 1, tzinfo=UTC)


def make_user(name: str = "", **fields: Any) -> User:
    """A person who can log in with no password."""
    return User.objects.create(username=name or f"curator{next(_number)}", **fields)


def make_survey(name: str = "", **fields: Any) -> Survey:
    """A survey with our defaults."""
    name = name or f"survey {next(_number)}"
    return Survey.objects.create(name=name, slug=name.lower().replace(" ", "-"), **fields)


def make_stored_file(kind: FileKind = FileKind.RAW, **fields: Any) -> StoredFile:
    """A row of a file whose bytes nobody reads."""
    n = next(_number)
    return StoredFile.objects.create(
        sha256=hashlib.sha256(str(n).encode()).hexdigest(),
        size=100,
        kind=kind,
        media_type="application/fits",
        name=f"file{n}.fits",
        **fields,
    )


def square(ra: float, dec: float, half_deg: float = 0.1) -> list[list[float]]:
    """Corners of a frame around a position."""
    stretch = half_deg / np.cos(np.radians(dec))
    return [
        [(ra + sx * stretch) % 360.0, dec + sy * half_deg]
        for sx, sy in ((1, -1), (-1, -1), (-1, 1), (1, 1))
    ]


def make_observation(survey: Survey | None = None, **fields: Any) -> Observation:
    """A calibrated-looking exposure of 60 s; ``day`` counts from the start of the test season."""
    n = next(_number)
    day = fields.pop("day", 0.0)
    ra, dec = fields.pop("ra", 150.0), fields.pop("dec", 2.0)
    started = START + timedelta(days=day)
    place: dict[str, Any] = {}
    if ra is not None:
        place = {
            "ra": ra,
            "dec": dec,
            "healpix14": nested_index(ra, dec),
            "radius_deg": 0.15,
            "footprint": square(ra, dec),
            "pixel_scale_arcsec": 1.0,
        }
    defaults: dict[str, Any] = {
        "observation_id": f"obs-{n}",
        "band": "r",
        "target": "field",
        "observed_at": started,
        "ended_at": started + timedelta(seconds=60),
        "mid_mjd": 61100.0 + day,
        "exposure_s": 60.0,
        "image_width": 100,
        "image_height": 100,
    }
    raw = fields.pop("raw_file", None) or make_stored_file()
    return Observation.objects.create(
        survey=survey or make_survey(), raw_file=raw, **{**defaults, **place, **fields}
    )


def write_frame(
    path: Path, *, seed: int = 1, shape: tuple[int, int] = (64, 64), **cards: Any
) -> Path:
    """A small FITS image of noise with world coordinates; ``None`` leaves a card out."""
    rng = np.random.default_rng(seed)
    hdu = fits.PrimaryHDU(rng.normal(100.0, 5.0, shape).astype(np.float32))
    header: dict[str, Any] = {
        "OBJECT": "M 101",
        "FILTER": "r",
        "DATE-OBS": "2026-03-01T03:00:00",
        "EXPTIME": 60.0,
        "GAIN": 1.5,
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": 150.0,
        "CRVAL2": 2.0,
        "CRPIX1": shape[1] / 2,
        "CRPIX2": shape[0] / 2,
        "CDELT1": -1 / 3600,
        "CDELT2": 1 / 3600,
    }
    for key, value in {**header, **{k.replace("_", "-"): v for k, v in cards.items()}}.items():
        if value is not None:
            hdu.header[key] = value
    hdu.writeto(path, overwrite=True)
    return path
