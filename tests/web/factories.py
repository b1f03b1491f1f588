"""Rows and small images for looking at pages: a few seeded fields with one new source each."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from astropy.wcs import WCS
from django.contrib.auth.models import Group
from django.utils import timezone

from astrid_site.accounts.models import User
from astrid_site.accounts.roles import sync_roles
from astrid_site.core.models import FileKind, Heartbeat, Job, StoredFile
from astrid_site.core.status import JobState, RunStatus
from astrid_site.core.storage import put_bytes, put_file
from astrid_site.imaging import stage_views
from astrid_site.imaging.cutouts import cut_out
from astrid_site.imaging.fits_products import write_image
from astrid_site.imaging.healpix import nested_index
from astrid_site.imaging.image import Image
from catalog.algorithms.naming import object_name
from catalog.models import (
    AssociationRun,
    AstroObject,
    LightCurvePoint,
    ObjectDetection,
    PhotometryRun,
)
from detection.models import Detection, DetectionRun
from differencing.models import DifferenceRun, ReferenceImage, ReferenceRun
from observations.algorithms.footprint import measure_footprint
from observations.models import Observation, Survey
from preprocessing.algorithms.stars import StarList
from preprocessing.models import ScienceImage
from preprocessing.services import StageViews, store_preview, store_stars, store_views

SIZE = 160
SCALE_ARCSEC = 1.0
NOISE = 10.0
FWHM = 3.2
PASSWORD = "a password for tests"
START = datetime(2026, 9, 1, 3, 0, tzinfo=UTC)
CUTS = (
    ("min_score", 5.0),
    ("min_snr", 3.5),
    ("max_mask_fraction", 0.3),
    ("max_fwhm_ratio", 3.0),
    ("min_fwhm_ratio", 0.4),
    ("max_elongation", 3.0),
    ("max_sharpness", 2.5),
    ("max_dipole_ratio", 0.5),
    ("max_negative_fraction", 0.4),
    ("max_psf_chi2", 3.0),
    ("min_saturated_fwhm", 1.5),
)


def make_user(username: str, role: str = "curator") -> User:
    """An account with one role."""
    sync_roles()
    user = User.objects.create_user(username, password=PASSWORD, is_staff=role == "admin")
    user.groups.add(Group.objects.get(name=role))
    return user


def make_survey(name: str = "Simulated survey", *, is_simulated: bool = True) -> Survey:
    """A survey."""
    slug = name.lower().replace(" ", "-")
    return Survey.objects.create(name=name, slug=slug, is_simulated=is_simulated)


@dataclass
class World:
    """Everything that was made."""

    survey: Survey
    observations: list[Observation] = field(default_factory=list)
    detections: list[Detection] = field(default_factory=list)
    objects: list[AstroObject] = field(default_factory=list)


def _wcs(ra: float, dec: float, turn_deg: float) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(SIZE + 1) / 2, (SIZE + 1) / 2]
    t = np.radians(turn_deg)
    step = SCALE_ARCSEC / 3600
    wcs.wcs.cd = step * np.array([[-np.cos(t), np.sin(t)], [np.sin(t), np.cos(t)]])
    wcs.wcs.radesys = "ICRS"
    return wcs


def _gaussian(x: float, y: float, flux: float) -> np.ndarray:
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    sigma = FWHM / 2.3548
    shape = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return flux * shape / (2 * np.pi * sigma**2)


def _product(data: np.ndarray, wcs: WCS | None, *, kind: FileKind, name: str) -> StoredFile:
    image = Image(data=data.astype(np.float32), mask=np.zeros((SIZE, SIZE), np.uint16), wcs=wcs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write_image(path, image, header={}, history=[])
        return put_file(path, kind=kind, name=name, media_type="application/fits")


def _no_stars() -> StoredFile:
    """A list of stars without any."""
    none = np.zeros(0)
    return store_stars(StarList(none, none, none, none, none, none.astype(bool)), name="stars.npy")


def make_observation(survey: Survey, number: int, **fields: Any) -> Observation:
    """An observation whose raw file is a few bytes."""
    raw = put_bytes(
        f"raw {survey.name} {number} {uuid4()}".encode(),
        kind=FileKind.RAW,
        name=f"frame-{number:03d}.fits",
        media_type="application/fits",
    )
    begin = fields.pop("observed_at", START + timedelta(days=3 * number))
    told: dict[str, Any] = {
        "observation_id": f"sim-{number:04d}",
        "target": f"field {number % 3}",
        "telescope": "Simulator",
        "instrument": "SimCam",
        "band": "r",
        "observed_at": begin,
        "ended_at": begin + timedelta(seconds=60),
        "mid_mjd": 61284.125 + 3 * number if begin else None,
        "exposure_s": 60.0,
        "image_width": SIZE,
        "image_height": SIZE,
        "pixel_scale_arcsec": SCALE_ARCSEC,
        "raw_file": raw,
        "is_simulated": survey.is_simulated,
        "header": {"OBJECT": f"field {number % 3}", "EXPTIME": 60.0, "SIMULATE": True},
    }
    return Observation.objects.create(survey=survey, **(told | fields))


def _cuts(rng: np.random.Generator, *, is_kept: bool) -> list[dict[str, Any]]:
    rows = []
    for i, (name, limit) in enumerate(CUTS):
        margin = float(rng.uniform(0.1, 1.4)) if is_kept or i else -0.4
        sign = 1 if name.startswith("min") else -1
        rows.append(
            {
                "name": name,
                "value": limit * (1 + sign * margin),
                "limit": limit,
                "margin": margin,
                "kept": margin > 0,
            }
        )
    return rows


def make_epoch(
    world: World,
    number: int,
    *,
    sources: list[tuple[float, float, float]],
    turn_deg: float = 12.0,
    has_wcs: bool = True,
) -> Observation:
    """One observation that went all the way, with a candidate for each (x, y, flux)."""
    rng = np.random.default_rng([7, number])
    ra, dec = 150.0 + 0.2 * (number % 3), 2.2
    wcs = _wcs(ra, dec, turn_deg) if has_wcs else None
    place: dict[str, Any] = {}
    if wcs is not None:
        outline = measure_footprint(wcs, (SIZE, SIZE))
        place = {
            "ra": outline.ra,
            "dec": outline.dec,
            "healpix14": nested_index(outline.ra, outline.dec),
            "radius_deg": outline.radius_deg,
            "footprint": [list(corner) for corner in outline.corners],
        }
    observation = make_observation(
        world.survey, number, status=RunStatus.SUCCEEDED, stage="photometry", **place
    )
    world.observations.append(observation)
    stars = np.random.default_rng([8, number % 3])
    static = 200 + sum(
        _gaussian(x, y, f)
        for x, y, f in zip(
            stars.uniform(0, SIZE, 40),
            stars.uniform(0, SIZE, 40),
            10 ** stars.uniform(3, 5, 40),
            strict=True,
        )
    )
    new = sum((_gaussian(x, y, f) for x, y, f in sources), np.zeros((SIZE, SIZE)))
    science = static + new + rng.normal(0, NOISE, (SIZE, SIZE))
    template = static + rng.normal(0, NOISE / 3, (SIZE, SIZE))
    difference = science - template
    score = difference / NOISE
    planes = (science, template, difference, score)
    runs = _make_runs(observation, planes, wcs, number)
    _make_detections(world, observation, runs, planes=planes, sources=sources, wcs=wcs, rng=rng)
    return observation


def _run_fields(observation: Observation, seconds: float, **metrics: Any) -> dict[str, Any]:
    start = timezone.now() - timedelta(minutes=5)
    return {
        "observation": observation,
        "pipeline_version": "1",
        "status": RunStatus.SUCCEEDED,
        "started_at": start,
        "finished_at": start + timedelta(seconds=seconds),
        "code_version": "0.1.0",
        "metrics": metrics,
        "log": "read 1 HDU\nmeasured",
    }


def _make_views(planes: tuple[np.ndarray, ...], wcs: WCS | None) -> tuple[StoredFile, StoredFile]:
    """What workers would have drawn of the frame and of the difference."""
    mask = np.zeros((SIZE, SIZE), np.uint16)
    mask[10:13, 20:23] = 2
    variance = np.full((SIZE, SIZE), NOISE**2, np.float32)
    science, template, difference = (
        Image(data=plane.astype(np.float32), mask=mask, variance=variance, wcs=wcs)
        for plane in planes[:3]
    )
    frame = StageViews(
        stage_views.science_layers(science, background=np.full((SIZE, SIZE), 7.0, np.float32)),
        mask,
        stage_views.science_pictures(science, science, background=None),
        {"sky": stage_views.sky_facts(science), "stars": [[60.0, 70.0, 1]], "background": None},
    )
    pair = StageViews(
        stage_views.difference_layers(difference, template, planes[3].astype(np.float32)),
        mask,
        {},
        {"sky": stage_views.sky_facts(difference), "residuals": [[60.0, 70.0, 1.2]]},
    )
    return store_views(frame, name="frame.views"), store_views(pair, name="pair.views")


def _make_reference(
    observation: Observation, plane: np.ndarray, file: StoredFile
) -> ReferenceImage:
    """A reference of which nobody knows the epochs any more."""
    image = Image(data=plane.astype(np.float32), mask=np.zeros(plane.shape, np.uint16))
    preview = store_preview(image, name="reference.png")
    reference, _ = ReferenceImage.objects.get_or_create(
        survey=observation.survey,
        band=observation.band,
        epochs_digest=file.sha256,
        defaults={
            "file": file,
            "stars_file": file,
            "preview_file": preview,
            "coverage_file": file,
            "coverage_preview_file": preview,
            "reason": "the first of this field",
            "metrics": {"predicted_noise": [1.0, 0.8]},
        },
    )
    return reference


def _make_runs(
    observation: Observation, planes: tuple[np.ndarray, ...], wcs: WCS | None, number: int
) -> tuple[DifferenceRun, DetectionRun]:
    kinds = (FileKind.SCIENCE, FileKind.REFERENCE, FileKind.DIFFERENCE, FileKind.SCORE)
    files = [
        _product(plane, wcs, kind=kind, name=f"{kind.value}-{number}.fits")
        for plane, kind in zip(planes, kinds, strict=True)
    ]
    image_views, run_views = _make_views(planes, wcs)
    image = ScienceImage.objects.create(
        **_run_fields(
            observation,
            2.4,
            sky_noise=NOISE,
            n_stars=38,
            seeing_arcsec=FWHM,
            mask_counts={"SATURATED": 9, "EDGE": 0},
            psf_fwhm_grid_pix=[FWHM] * 9,
        ),
        file=files[0],
        stars_file=_no_stars(),
        preview_file=image_views,
        fwhm_pix=FWHM,
    )
    ReferenceRun.objects.create(**_run_fields(observation, 0.4))
    difference = DifferenceRun.objects.create(
        **_run_fields(
            observation,
            5.1,
            pull_width=1.02,
            chi2_stars_median=1.1,
            lag1=0.3,
            quality_limits=[
                {"name": "chi2_stars_median", "passing": [0, 2.5], "tolerable": [0, 10]},
                {"name": "lag1", "passing": [-0.2, 0.2], "tolerable": [-0.5, 0.5]},
            ],
            score_histogram={
                "reach": 6.0,
                "step": 1.5,
                "counts": [0, 9, 900, 8000, 8100, 950, 8, 1],
                "n_below": 0,
                "n_above": 2,
                "width": 1.01,
            },
        ),
        preview_file=run_views,
        science_image=image,
        reference=_make_reference(observation, planes[1], files[1]),
        file=files[2],
        template_file=files[1],
        score_file=files[3],
        method="kernel",
        quality=DifferenceRun.Quality.PASS,
    )
    found = DetectionRun.objects.create(**_run_fields(observation, 1.2), difference_run=difference)
    AssociationRun.objects.create(**_run_fields(observation, 0.1), detection_run=found)
    PhotometryRun.objects.create(**_run_fields(observation, 0.3))
    return difference, found


def _make_detections(
    world: World,
    observation: Observation,
    runs: tuple[DifferenceRun, DetectionRun],
    *,
    planes: tuple[np.ndarray, ...],
    sources: list[tuple[float, float, float]],
    wcs: WCS | None,
    rng: np.random.Generator,
) -> None:
    difference, run = runs
    stack = np.array(
        [[cut_out(plane, x, y, size=63) for plane in planes] for x, y, _ in sources], np.float32
    ).reshape(len(sources), 4, 63, 63)
    buffer = io.BytesIO()
    np.save(buffer, stack)
    run.cutouts_file = put_bytes(
        buffer.getvalue(), kind=FileKind.CUTOUTS, name="cutouts.npy", media_type="application/npy"
    )
    run.n_candidates = run.n_kept = len(sources)
    run.save()
    error = NOISE * FWHM * 1.5
    for index, (x, y, flux) in enumerate(sources):
        ra, dec = (float(v) for v in wcs.all_pix2world(x, y, 0)) if wcs else (None, None)
        magnitude = 25 - 2.5 * float(np.log10(abs(flux)))
        detection = Detection.objects.create(
            run=run,
            observation=observation,
            index=index,
            x=x,
            y=y,
            ra=ra,
            dec=dec,
            healpix14=nested_index(ra, dec) if ra is not None else None,
            score=flux / error,
            flux=flux,
            flux_error=error,
            magnitude=magnitude,
            magnitude_error=1.086 * error / abs(flux),
            fwhm_pix=FWHM,
            elongation=1.08,
            mask_flags=2 if x < 40 else 0,
            cuts=_cuts(rng, is_kept=True),
            is_kept=True,
            real_bogus=float(rng.uniform(0.2, 0.99)),
            scorer="feature model 1",
        )
        world.detections.append(detection)
        if ra is not None:
            _join(world, detection)
    for owner in world.objects:
        _measure(owner, observation, difference)


def _join(world: World, detection: Detection) -> None:
    name = object_name(detection.ra, detection.dec)
    near = next(
        (
            o
            for o in world.objects
            if abs(o.ra - detection.ra) < 5e-4 and abs(o.dec - detection.dec) < 5e-4
        ),
        None,
    )
    if near is None:
        near = AstroObject.objects.create(
            name=name,
            ra=detection.ra,
            dec=detection.dec,
            healpix14=detection.healpix14,
            is_simulated=True,
            first_detected_at=detection.observation.observed_at,
        )
        world.objects.append(near)
    ObjectDetection.objects.create(astro_object=near, detection=detection, separation_arcsec=0.1)
    near.n_detections += 1
    near.last_detected_at = detection.observation.observed_at
    near.peak_score = max(near.peak_score, abs(detection.score))
    near.best_real_bogus = max(near.best_real_bogus or 0, detection.real_bogus)
    near.brightest_magnitude = min(near.brightest_magnitude or 99, detection.magnitude)
    near.save()


def _measure(owner: AstroObject, observation: Observation, run: DifferenceRun) -> None:
    """Forced photometry as the catalog would write it: a limit where nothing was found."""
    if observation.ra is None or abs(owner.ra - observation.ra) > 0.05:
        return
    member = owner.members.filter(detection__observation=observation).first()
    error = NOISE * FWHM * 1.5
    rng = np.random.default_rng(observation.image_width + int(observation.mid_mjd))
    flux = member.detection.flux if member else float(rng.normal(0, error))
    LightCurvePoint.objects.create(
        astro_object=owner,
        science_image=run.science_image,
        difference_run=run,
        observation=observation,
        mjd=observation.mid_mjd,
        band=observation.band,
        flux=flux,
        flux_error=error,
        zero_point=25.0,
        magnitude=member.detection.magnitude if member else None,
        magnitude_error=member.detection.magnitude_error if member else None,
        limiting_magnitude=25 - 2.5 * float(np.log10(5 * error)),
    )


def make_world(*, n_epochs: int = 3, sources_per_field: int = 2) -> World:
    """Three fields, each seen some times; the sources of a field fade from epoch to epoch."""
    world = World(make_survey())
    rng = np.random.default_rng(3)
    places = [
        [tuple(rng.uniform(20, SIZE - 20, 2)) for _ in range(sources_per_field)] for _ in range(3)
    ]
    for epoch in range(n_epochs):
        for number in range(3):
            fade = (1.0, 0.6, 0.0, 0.35, 0.0, 0.8)[epoch % 6]
            sources = [(x, y, fade * 3000 * (1 + i)) for i, (x, y) in enumerate(places[number])]
            make_epoch(
                world,
                3 * epoch + number,
                sources=[s for s in sources if s[2]],
                turn_deg=(0.0, 12.0, 190.0)[number],
            )
    return world


def make_work(survey: Survey) -> None:
    """Frames under way, waiting, failed and skipped; a live worker and a silent one."""
    running = make_observation(survey, 101, status=RunStatus.RUNNING, stage="difference")
    now = timezone.now()
    Job.objects.create(
        kind="difference",
        subject_id=running.pk,
        config_version="1",
        state=JobState.RUNNING,
        token=uuid4(),
        lease_until=now + timedelta(minutes=1),
        progress=0.4,
        message="fitting the kernel, 3 of 9 tiles",
        started_at=now - timedelta(seconds=4),
        attempts=1,
    )
    waiting = make_observation(survey, 102)
    Job.objects.create(kind="preprocess", subject_id=waiting.pk, config_version="1")
    make_observation(
        survey,
        103,
        status=RunStatus.FAILED,
        stage="preprocess",
        reason="too few stars for a PSF: n_stars=3, n_required=5",
    )
    make_observation(
        survey,
        104,
        status=RunStatus.SKIPPED,
        stage="reference",
        reason="no earlier epoch of this field in band r",
    )
    Heartbeat.objects.create(name="worker-1@host", kind="worker", seen_at=now)
    Heartbeat.objects.create(
        name="sweeper@host", kind="sweeper", seen_at=now - timedelta(minutes=20)
    )
