"""Understanding a file before anything of it is stored: gate, header, companions, place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from observations.models import Observation, Survey
from observations.services.frames import metadata_of

if TYPE_CHECKING:
    from astrid_site.imaging.fits_io import HeaderRecord
    from observations.algorithms.headers import ObservationMetadata

#: Less cannot be calibrated: no sky and no stars to measure.
MIN_SIDE_PIX = 32


@dataclass(frozen=True)
class Frame:
    """A file that was understood, not yet stored."""

    path: Path
    file_name: str
    sha256: str
    record: HeaderRecord
    metadata: ObservationMetadata
    overrides: dict[str, Any]
    companions: dict[str, Path]
    place: dict[str, Any]
    defects: list[str]
    companion_names: Mapping[str, str] = field(default_factory=dict)
    """What a person calls the companions; their paths' own names where it says nothing."""


class RefusedError(Exception):
    """The file cannot be taken in."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


def understand(
    path: Path,
    survey: Survey,
    *,
    file_name: str,
    sha256: str,
    overrides: dict[str, Any],
    companions: dict[str, Path],
    companion_names: Mapping[str, str] | None = None,
) -> Frame:
    """Gate the file and its companions and read what the header says."""
    from astrid_site.imaging.fits_io import read_header

    hdu = int(survey.image_hdu) if survey.image_hdu.isdigit() else survey.image_hdu or None
    record = read_header(path, file_name=file_name, hdu=hdu)
    height, width = record.shape
    if min(height, width) < MIN_SIDE_PIX:
        reason = f"{width} x {height} pixels; a frame needs {MIN_SIDE_PIX} or more on each side"
        raise RefusedError(reason, "too_small")
    metadata = metadata_of(record.header, survey=survey, file_name=file_name, now=timezone.now())
    names = {what: path.name for what, path in companions.items()} | dict(companion_names or {})
    _check_companions(companions, names, shape=record.shape)
    defects = [*metadata.defects, *record.warnings]
    if metadata.band is None and "band" not in overrides:
        defects.append(f"no band: {metadata.band_source}")
    place: dict[str, Any] = {}
    if record.wcs_problem:
        defects.append(f"no world coordinates: {record.wcs_problem}")
    elif record.wcs_header is not None:
        place = _place(record, defects)
    return Frame(
        path=path,
        file_name=file_name,
        sha256=sha256,
        record=record,
        metadata=metadata,
        overrides=overrides,
        companions=companions,
        place=place,
        defects=defects,
        companion_names=names,
    )


def calibration_kind(frame: Frame) -> str | None:
    """ "bias", "dark" or "flat"; None for a frame of the sky.

    Raises
    ------
    RefusedError
        If the frame is a master that somebody else made: what it was made of is not known.
    """
    from observations.algorithms.frame_kinds import MASTER, SCIENCE, frame_kind

    kind = frame_kind(frame.record.header)
    if kind == MASTER:
        reason = "a finished calibration master; send the raw frames it was made of"
        raise RefusedError(reason, "calibration_master")
    return None if kind == SCIENCE else kind


def _check_companions(
    companions: Mapping[str, Path], names: Mapping[str, str], *, shape: tuple[int, int]
) -> None:
    from astrid_site.imaging.fits_io import read_header

    for what, path in companions.items():
        found = read_header(path, file_name=f"{what} {names[what]}").shape
        if what != "psf" and found != shape:
            reason = (
                f"its {what} {names[what]} has {found[1]} x {found[0]} pixels, "
                f"the frame {shape[1]} x {shape[0]}"
            )
            raise RefusedError(reason, "companion_shape")


def _place(record: HeaderRecord, defects: list[str]) -> dict[str, Any]:
    """Where the frame claims to lie."""
    from astrid_site.imaging.healpix import nested_index, wrap_ra
    from astrid_site.imaging.wcs_header import build_wcs
    from observations.algorithms.footprint import measure_footprint

    if record.wcs_header is None:
        return {}
    try:
        outline = measure_footprint(build_wcs(record.wcs_header), record.shape)
    except ValueError as error:
        defects.append(f"world coordinates without a footprint: {error}")
        return {}
    return {
        "ra": wrap_ra(outline.ra),
        "dec": outline.dec,
        "healpix14": nested_index(outline.ra, outline.dec),
        "radius_deg": outline.radius_deg,
        "footprint": [list(corner) for corner in outline.corners],
        "pixel_scale_arcsec": outline.pixel_scale_arcsec,
    }


def describe(frame: Frame) -> dict[str, Any]:
    """Columns that header and overrides fill."""
    said, override = frame.metadata, frame.overrides
    started, ended, middle, exposure = _times(frame)
    scale = {} if frame.place else {"pixel_scale_arcsec": said.pixel_scale_arcsec}
    return {
        "target": str(override.get("target") or said.target or "")[:120],
        "telescope": (said.telescope or "")[:80],
        "instrument": (said.instrument or "")[:80],
        "detector": (said.detector or "")[:40],
        "band": str(override.get("band") or said.band or "")[:30],
        "observed_at": started,
        "ended_at": ended,
        "mid_mjd": middle,
        "exposure_s": exposure,
        "airmass": said.airmass,
        "role": override.get("role", Observation.Role.AUTO),
        "is_simulated": said.is_simulated,
        **scale,
    }


def _times(
    frame: Frame,
) -> tuple[datetime | None, datetime | None, float | None, float | None]:
    """Start, end, middle and length; a start given by a person voids the header's other times."""
    from observations.algorithms.times import to_mjd

    said, override = frame.metadata, frame.overrides
    exposure = override.get("exposure_s", said.exposure_s)
    if "observed_at" not in override and "exposure_s" not in override:
        return said.observed_at, said.ended_at, said.mid_mjd, exposure
    text = override.get("observed_at")
    started = datetime.fromisoformat(text).astimezone(UTC) if text else said.observed_at
    if started is None:
        return None, None, None, exposure
    ended = started + timedelta(seconds=exposure) if exposure else None
    middle = to_mjd(started + (ended - started) / 2) if ended else None
    return started, ended, middle, exposure
