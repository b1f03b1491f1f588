"""Rows from runs to objects for tests."""

from __future__ import annotations

from itertools import count
from typing import Any

from astrid_site.core.models import FileKind
from astrid_site.core.status import RunStatus
from astrid_site.imaging.healpix import nested_index
from catalog.algorithms.naming import object_name
from catalog.models import AstroObject, LightCurvePoint, ObjectDetection
from detection.models import Detection, DetectionRun
from differencing.models import DifferenceRun
from observations.models import Observation
from preprocessing.models import ScienceImage
from tests.observations.factories import make_observation, make_stored_file

_number = count(1)


def make_science_image(observation: Observation | None = None, **fields: Any) -> ScienceImage:
    """A calibrated frame whose pixels nobody reads."""
    files = {"file": make_stored_file(FileKind.SCIENCE), "stars_file": make_stored_file()}
    return ScienceImage.objects.create(
        observation=observation or make_observation(),
        pipeline_version="1",
        status=RunStatus.SUCCEEDED,
        **{**files, **fields},
    )


def make_difference_run(observation: Observation | None = None, **fields: Any) -> DifferenceRun:
    """A finished difference whose pixels nobody reads."""
    image = make_science_image(observation)
    return DifferenceRun.objects.create(
        observation=image.observation,
        pipeline_version="1",
        status=RunStatus.SUCCEEDED,
        science_image=image,
        **{"file": make_stored_file(FileKind.DIFFERENCE), **fields},
    )


def make_point(owner: AstroObject, run: DifferenceRun, **fields: Any) -> LightCurvePoint:
    """A difference flux where the object is, not yet saved."""
    place = {"ra": owner.forced_position[0], "dec": owner.forced_position[1]}
    return LightCurvePoint(
        astro_object=owner,
        science_image=run.science_image,
        difference_run=run,
        observation=run.observation,
        **{**place, **fields},
    )


def make_detection_run(observation: Observation | None = None, **fields: Any) -> DetectionRun:
    """A finished search with a PSF of 2 arcsec."""
    difference = make_difference_run(observation)
    return DetectionRun.objects.create(
        observation=difference.observation,
        pipeline_version="1",
        status=RunStatus.SUCCEEDED,
        difference_run=difference,
        metrics={"psf_fwhm_arcsec": 2.0},
        **fields,
    )


def make_detection(run: DetectionRun | None = None, **fields: Any) -> Detection:
    """A kept candidate of 10 sigma."""
    run = run or make_detection_run()
    ra, dec = fields.pop("ra", 150.0), fields.pop("dec", 2.0)
    place = {} if ra is None else {"ra": ra, "dec": dec, "healpix14": nested_index(ra, dec)}
    defaults = {"x": 50.0, "y": 50.0, "score": 10.0, "flux": 100.0, "flux_error": 10.0}
    return Detection.objects.create(
        run=run,
        observation=run.observation,
        index=fields.pop("index", next(_number)),
        **{"is_kept": True, **defaults, **place, **fields},
    )


def make_object(ra: float = 150.0, dec: float = 2.0, **fields: Any) -> AstroObject:
    """An object at a position."""
    name = fields.pop("name", f"{object_name(ra, dec)}-{next(_number)}")
    return AstroObject.objects.create(
        name=name, ra=ra, dec=dec, healpix14=nested_index(ra, dec), **fields
    )


def make_member(owner: AstroObject, detection: Detection | None = None) -> Detection:
    """A detection that belongs to an object."""
    detection = detection or make_detection(ra=owner.ra, dec=owner.dec)
    ObjectDetection.objects.create(astro_object=owner, detection=detection, separation_arcsec=0.0)
    return detection
