"""Which frames looked at a place of the sky, and how deep."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Max

from catalog.algorithms.sky_regions import Polygon
from catalog.models import AstroObject, LightCurvePoint
from catalog.selectors.objects import in_cone
from differencing.models import DifferenceRun
from observations.models import Observation
from observations.selectors import survey_is
from preprocessing.models import ScienceImage
from preprocessing.selectors import finished_images

#: An object this close to the place is the one whose photometry is told [arcsec].
SAME_PLACE_ARCSEC = 1.5
#: A frame's circle is rounded; the outline decides.
_ROOM_ARCSEC = 1.0


@dataclass(frozen=True)
class CoveringFrame:
    """One frame whose outline holds the place.

    ``limit`` is the 5 sigma limit of a point source on the calibrated frame [AB], ``half_found``
    where half of the sources put into its difference were found; None where not measured.
    """

    observation: Observation
    image: ScienceImage | None
    half_found: float | None
    point: LightCurvePoint | None = None

    @property
    def limit(self) -> float | None:
        """5 sigma limit of the calibrated frame [AB]."""
        return self.image.limiting_magnitude if self.image else None


@dataclass(frozen=True)
class BandCoverage:
    """Frames of one survey in one band."""

    survey: str
    band: str
    n_frames: int
    first_mjd: float | None
    last_mjd: float | None
    deepest: float | None


@dataclass(frozen=True)
class Coverage:
    """Frames in order of time, undated ones last; ``near`` is the object at this place."""

    frames: list[CoveringFrame]
    bands: list[BandCoverage]
    near: AstroObject | None


def coverage_of(
    ra: float,
    dec: float,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    survey: Any = None,
    band: str = "",
) -> Coverage:
    """Frames taken within a time range whose outline holds a position [ICRS degrees].

    The forced photometry of an object that is there already comes with each frame.
    """
    rows = Observation.objects.select_related("survey").filter(radius_deg__isnull=False)
    if since is not None:
        rows = rows.filter(observed_at__gte=since)
    if until is not None:
        rows = rows.filter(observed_at__lte=until)
    if survey:
        rows = rows.filter(survey_is(survey))
    if band:
        rows = rows.filter(band=band)
    widest = rows.aggregate(widest=Max("radius_deg"))["widest"]
    if widest is None:
        return Coverage([], [], _object_at(ra, dec))
    near = in_cone(rows, ra, dec, radius_arcsec=widest * 3600.0 + _ROOM_ARCSEC)
    covering = [row for row, apart in near if _holds(row, ra, dec, apart_arcsec=apart)]
    owner = _object_at(ra, dec)
    frames = _with_depths(covering, owner)
    return Coverage(frames, _by_band(frames), owner)


def _holds(frame: Observation, ra: float, dec: float, *, apart_arcsec: float) -> bool:
    if apart_arcsec > (frame.radius_deg or 0.0) * 3600.0 + _ROOM_ARCSEC:
        return False
    if len(frame.footprint) < 3:
        return True
    corners = tuple((float(lon), float(lat)) for lon, lat in frame.footprint)
    return bool(Polygon(corners).contains([ra], [dec])[0])


def _object_at(ra: float, dec: float) -> AstroObject | None:
    rows = AstroObject.objects.all()
    found = in_cone(rows, ra, dec, radius_arcsec=SAME_PLACE_ARCSEC, limit=1)
    return found[0][0] if found else None


def _with_depths(rows: Iterable[Observation], owner: AstroObject | None) -> list[CoveringFrame]:
    """Frames in order of time, each with its newest image, its difference's depth and its point."""
    shown = sorted(rows, key=lambda row: (row.mid_mjd is None, row.mid_mjd or 0.0, str(row.pk)))
    keys = [row.pk for row in shown]
    images = {
        image.observation_id: image
        for image in finished_images().filter(observation__in=keys).order_by("created_at")
    }
    told = DifferenceRun.objects.filter(science_image__in=images.values()).order_by("created_at")
    halves = {
        key: (metrics.get("injected_depth") or {}).get("magnitude_50")
        for key, metrics in told.values_list("observation_id", "metrics")
    }
    points = LightCurvePoint.objects.filter(
        astro_object=owner,
        observation__in=keys,
        kind=LightCurvePoint.Kind.DIFFERENCE,
    )
    measured = {point.observation_id: point for point in points} if owner else {}
    return [
        CoveringFrame(row, images.get(row.pk), halves.get(row.pk), measured.get(row.pk))
        for row in shown
    ]


def _by_band(frames: Iterable[CoveringFrame]) -> list[BandCoverage]:
    groups: dict[tuple[str, str], list[CoveringFrame]] = {}
    for frame in frames:
        key = (frame.observation.survey.name, frame.observation.band)
        groups.setdefault(key, []).append(frame)
    found = []
    for (survey, band), members in sorted(groups.items()):
        times = [m.observation.mid_mjd for m in members if m.observation.mid_mjd is not None]
        depths = [m.limit for m in members if m.limit is not None]
        found.append(
            BandCoverage(
                survey=survey,
                band=band,
                n_frames=len(members),
                first_mjd=min(times, default=None),
                last_mjd=max(times, default=None),
                deepest=max(depths, default=None),
            )
        )
    return found
