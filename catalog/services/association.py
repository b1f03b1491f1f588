"""Joining detections to objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, cast
from uuid import UUID

import numpy as np

from astrid_site.core.events import publish
from astrid_site.core.stages import Progress, StageProduct
from astrid_site.core.status import RunStatus
from astrid_site.imaging.errors import NoWorkError
from astrid_site.imaging.healpix import nested_index, separation_arcsec, wrap_ra
from catalog import selectors
from catalog.algorithms.association import SkyPositions, group, match
from catalog.algorithms.naming import object_name
from catalog.algorithms.positions import mean_position
from catalog.models import AssociationRun, AstroObject, ObjectDetection
from detection.models import Detection, DetectionRun
from observations.models import Observation, ProcessingRun, Survey

#: Astrometry between references of one field is not better than this.
MIN_RADIUS_ARCSEC = 0.3
#: Sources nearer than this share of the PSF's width are one.
RADIUS_FWHM = 0.5
#: A position that is off by less changes no forced flux by a tenth of a per cent.
MOVED_FWHM = 0.05
_FWHM_PER_SIGMA = 2.3548


def run_associate(run: ProcessingRun, progress: Progress) -> StageProduct:
    """Join the kept detections of one observation to objects, or make new ones.

    All of it happens inside the finishing transaction, so that two workers who see the same new
    source in two frames cannot make two objects of it.
    """
    association = cast(AssociationRun, run)
    detection_run = DetectionRun.objects.filter(
        observation_id=run.observation_id,
        pipeline_version=run.pipeline_version,
        status=RunStatus.SUCCEEDED,
    ).first()
    if detection_run is None:
        msg = "no finished detection run"
        raise NoWorkError(msg)
    radius = association_radius(detection_run)
    metrics: dict[str, Any] = {"radius_arcsec": radius}

    def save() -> None:
        association.detection_run = detection_run
        association.save(update_fields=["detection_run"])
        metrics.update(_join(association.observation, detection_run, radius_arcsec=radius))

    progress(0.5, "joining detections to objects")
    return StageProduct(
        metrics=metrics,
        parameters={"radius_fwhm": RADIUS_FWHM, "min_radius_arcsec": MIN_RADIUS_ARCSEC},
        save=save,
    )


def association_radius(detection_run: DetectionRun) -> float:
    """Within this separation two detections are one object [arcsec]."""
    fwhm = detection_run.metrics.get("psf_fwhm_arcsec")
    return max(MIN_RADIUS_ARCSEC, RADIUS_FWHM * float(fwhm)) if fwhm else MIN_RADIUS_ARCSEC


def _lock_association() -> None:
    """One association at a time, on every database.

    SQLite's IMMEDIATE transactions exclude each other already; elsewhere the oldest survey's row
    is the mutex. NO KEY: rows that only refer to the survey need not wait.
    """
    list(Survey.objects.select_for_update(no_key=True).order_by("created_at", "id")[:1])


def _join(
    observation: Observation, detection_run: DetectionRun, *, radius_arcsec: float
) -> dict[str, Any]:
    """Attach every kept detection with a place on the sky; returns the counts."""
    _lock_association()
    detections = sorted(
        Detection.objects.filter(run=detection_run, is_kept=True, ra__isnull=False),
        key=lambda row: (-abs(row.score), row.index),
    )
    known = set(
        ObjectDetection.objects.filter(detection__in=detections).values_list(
            "detection_id", flat=True
        )
    )
    detections = [row for row in detections if row.pk not in known]
    fwhm = float(detection_run.metrics.get("psf_fwhm_arcsec") or 0.0)
    objects = selectors.objects_near(observation, margin_arcsec=3.0 * radius_arcsec)
    pairs, rest = _match_all(detections, objects, radius_arcsec=radius_arcsec, fwhm_arcsec=fwhm)
    new = _make_objects(rest, radius_arcsec=radius_arcsec, is_simulated=observation.is_simulated)
    pairs += new
    ObjectDetection.objects.bulk_create(
        [
            ObjectDetection(astro_object=owner, detection=row, separation_arcsec=apart)
            for row, owner, apart in pairs
        ]
    )
    moved = refresh_objects({owner.pk: owner for _, owner, _ in pairs}.values())
    born = {owner.pk for _, owner, _ in new}
    return {
        "n_detections": len(detections),
        # without world coordinates there is no place on the sky to join at
        "n_without_position": Detection.objects.filter(
            run=detection_run, is_kept=True, ra__isnull=True
        ).count(),
        "n_new_objects": len(born),
        "n_known_objects": len({owner.pk for _, owner, _ in pairs} - born),
        "moved": sorted(str(key) for key in born | moved),
    }


Pair = tuple[Detection, AstroObject, float]


def _positions(rows: Sequence[Any], errors: Sequence[float] | None = None) -> SkyPositions:
    return SkyPositions(
        ra=np.array([row.ra for row in rows], dtype=np.float64),
        dec=np.array([row.dec for row in rows], dtype=np.float64),
        error_arcsec=None if errors is None else np.array(errors, dtype=np.float64),
    )


def _match_all(
    detections: list[Detection],
    objects: list[AstroObject],
    *,
    radius_arcsec: float,
    fwhm_arcsec: float,
) -> tuple[list[Pair], list[Detection]]:
    """Pairs of detection and known object, and the detections that have none.

    ``match`` uses each object once; a second detection of one frame beside the same object (the
    two lobes of a residual) belongs to it too and must not found another.
    """
    pairs: list[Pair] = []
    rest = detections
    while rest and objects:
        errors = [fwhm_arcsec / _FWHM_PER_SIGMA / abs(row.score) for row in rest]
        found = match(_positions(rest, errors), _positions(objects), radius_arcsec)
        if len(found) == 0:
            break
        rows = zip(found.detection, found.object, found.separation_arcsec, strict=True)
        pairs += [(rest[i], objects[j], float(apart)) for i, j, apart in rows]
        taken = set(found.detection.tolist())
        rest = [row for i, row in enumerate(rest) if i not in taken]
    return pairs, rest


def _make_objects(
    detections: list[Detection], *, radius_arcsec: float, is_simulated: bool
) -> list[Pair]:
    """New objects for detections that have none; the strongest of a group founds it."""
    if not detections:
        return []
    labels = group(_positions(detections), radius_arcsec).tolist()
    owners: dict[int, AstroObject] = {}
    pairs: list[Pair] = []
    for row, label in zip(detections, labels, strict=True):
        if label not in owners:
            owners[label] = _make_object(row, is_simulated=is_simulated)
        pairs.append((row, owners[label], 0.0))
    return pairs


def _make_object(founder: Detection, *, is_simulated: bool) -> AstroObject:
    ra, dec = cast(float, founder.ra), cast(float, founder.dec)
    return AstroObject.objects.create(
        name=_free_name(object_name(ra, dec)),
        ra=ra,
        dec=dec,
        healpix14=nested_index(ra, dec),
        forced_ra=ra,
        forced_dec=dec,
        is_simulated=is_simulated,
    )


def _free_name(name: str) -> str:
    """The name, or the name with the first free letter; two objects may share a cell."""
    taken = set(AstroObject.objects.filter(name__startswith=name).values_list("name", flat=True))
    if name not in taken:
        return name
    letters = (chr(ord("a") + i) for i in range(26))
    numbers = (str(i) for i in range(1, len(taken) + 2))
    return next(
        name + suffix
        for part in (letters, numbers)
        for suffix in part
        if name + suffix not in taken
    )


def refresh_objects(objects: Iterable[AstroObject]) -> set[UUID]:
    """Derive position and summary of objects from their detections; returns those that moved.

    Whoever moves an object measures it on every frame afterwards. Its row is held until then, so
    that no light curve is saved at the old place between our look and our commit.
    """
    rows = {row.pk: row for row in objects}
    list(AstroObject.objects.select_for_update(no_key=True).filter(pk__in=rows).order_by("pk"))
    members: dict[UUID, list[Detection]] = defaultdict(list)
    links = ObjectDetection.objects.filter(astro_object__in=rows).select_related(
        "detection", "detection__run", "detection__observation"
    )
    for link in links.order_by("detection_id"):
        members[link.astro_object_id].append(link.detection)
    moved = {key for key, row in rows.items() if _refresh(row, members[key])}
    AstroObject.objects.bulk_update(
        rows.values(),
        [
            "ra",
            "dec",
            "healpix14",
            "forced_ra",
            "forced_dec",
            "n_detections",
            "first_detected_at",
            "last_detected_at",
            "peak_score",
            "best_real_bogus",
            "brightest_magnitude",
        ],
        batch_size=100,
    )
    for key, row in rows.items():
        publish("object.changed", subject_id=key, payload={"n_detections": row.n_detections})
    return moved


def _refresh(row: AstroObject, detections: list[Detection]) -> bool:
    """Set one object's derived fields; whether its light curve must be measured anew.

    The place of forced photometry stands still until the mean position has left it noticeably:
    all points of a light curve are measured at one place, and small steps add up.
    """
    fwhm = [float(item.run.metrics.get("psf_fwhm_arcsec") or 1.0) for item in detections]
    sigma = [w / _FWHM_PER_SIGMA / abs(d.score) for w, d in zip(fwhm, detections, strict=True)]
    where = mean_position(
        np.array([item.ra for item in detections], dtype=np.float64),
        np.array([item.dec for item in detections], dtype=np.float64),
        error_arcsec=np.array(sigma, dtype=np.float64),
    )
    forced_ra, forced_dec = row.forced_position
    off = float(separation_arcsec(forced_ra, forced_dec, where.ra, where.dec))
    is_moved = off > MOVED_FWHM * min(fwhm)
    row.ra, row.dec = wrap_ra(where.ra), where.dec
    row.forced_ra, row.forced_dec = (row.ra, row.dec) if is_moved else (forced_ra, forced_dec)
    row.healpix14 = nested_index(row.ra, row.dec)
    row.n_detections = len(detections)
    times = [item.observation.observed_at for item in detections]
    dated = [time for time in times if time is not None]
    row.first_detected_at = min(dated, default=None)
    row.last_detected_at = max(dated, default=None)
    row.peak_score = max(abs(item.score) for item in detections)
    scores = [item.real_bogus for item in detections if item.real_bogus is not None]
    row.best_real_bogus = max(scores, default=None)
    magnitudes = [item.magnitude for item in detections if item.magnitude is not None]
    row.brightest_magnitude = min(magnitudes, default=None)
    return is_moved
