"""Rows of cameras, calibration frames and masters for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import numpy as np

from astrid_site.core.models import FileKind, StoredFile
from astrid_site.core.storage import put_bytes
from astrid_site.imaging.display import render_frame_png
from observations.models import Survey
from preprocessing.models import CalibrationFrame, CalibrationMaster, Camera, ReferenceCatalog

_number = count(1)
START = datetime(2026, 3, 1, 18, 0, tzinfo=UTC)


def make_camera(survey: Survey, **fields: Any) -> Camera:
    """A camera of 100 x 100 pixels; the same fields give the same row."""
    defaults = {"instrument": "SIMCAM", "detector": "", "width": 100, "height": 100}
    return Camera.objects.get_or_create(survey=survey, **{**defaults, **fields})[0]


def make_bytes(kind: FileKind = FileKind.RAW) -> StoredFile:
    """A small file of its own."""
    n = next(_number)
    return put_bytes(
        f"calibration {n}".encode(), kind=kind, name=f"cal{n}.fits", media_type="application/fits"
    )


def make_frame(camera: Camera, kind: str = "bias", **fields: Any) -> CalibrationFrame:
    """A calibration frame whose pixels nobody reads."""
    defaults: dict[str, Any] = {
        "name": f"{kind}-{next(_number)}.fits",
        "exposure_s": {"bias": None, "dark": 60.0, "flat": 5.0}[kind],
        "temperature_c": -20.0,
        "band": "r" if kind == "flat" else "",
        "observed_at": START + timedelta(minutes=next(_number)),
    }
    file = fields.pop("file", None) or make_bytes()
    return CalibrationFrame.objects.create(
        camera=camera, kind=kind, file=file, **{**defaults, **fields}
    )


def make_master(survey: Survey, kind: str = "dark", **fields: Any) -> CalibrationMaster:
    """A master with a picture; ``day`` counts from the start of the test season."""
    n = next(_number)
    camera = fields.pop("camera", None) or make_camera(survey)
    at = START + timedelta(days=fields.pop("day", 0.0))
    pixels = np.arange(64, dtype=np.float32).reshape(8, 8) + n
    picture = put_bytes(
        render_frame_png(pixels), kind=FileKind.PREVIEW, name="m.png", media_type="image/png"
    )
    defaults: dict[str, Any] = {
        "band": "r" if kind == "flat" else "",
        "exposure_s": 60.0 if kind == "dark" else None,
        "temperature_c": -20.0,
        "observed_from": at,
        "observed_until": at + timedelta(minutes=10),
        "valid_from": at - timedelta(days=100),
        "valid_until": at + timedelta(days=100),
        "n_frames": 5,
        "n_clipped": 1,
        "n_bad": 2,
        "level": 3.0,
        "noise": 4.0,
        "digest": f"{n:064d}",
        "file": make_bytes(FileKind.MASTER),
        "preview_file": picture,
    }
    row = CalibrationMaster.objects.create(camera=camera, kind=kind, **{**defaults, **fields})
    row.frames.set([make_frame(camera, kind)])
    return row


def make_catalog(survey: Survey) -> ReferenceCatalog:
    """A catalogue of reference stars that nobody reads."""
    n = next(_number)
    return ReferenceCatalog.objects.create(
        survey=survey,
        name=f"stars{n}.csv",
        bands=["g", "r"],
        has_color=False,
        n_stars=100,
        file=make_bytes(FileKind.STARS),
    )
