"""Sixty real frames for the storm, and what an installation made of them, asked past the program.

All questions are SQL, so that the answers cannot lean on the code under test.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from astrid_site.imaging.simulation import SkyConfig, write_survey
from tests.reliability.installation import Installation

FIELDS, EPOCHS, TEMPLATES = 5, 12, 2
FRAMES = FIELDS * EPOCHS
#: The first epochs are skipped, as nothing earlier is there to subtract.
SUBTRACTED = FIELDS * (EPOCHS - TEMPLATES)
CONFIG = SkyConfig(
    seed=5,
    n_fields=FIELDS,
    n_epochs=EPOCHS,
    n_template_epochs=TEMPLATES,
    shape=(160, 160),
    # small frames need many stars for their PSF
    star_density_per_mpix=2500.0,
    supernovae_per_field=3,
    variables_per_field=2,
    asteroids_per_field=1,
    peak_snr_range=(20.0, 80.0),
)
RUN_TABLES = {
    "preprocess": "preprocessing_scienceimage",
    "reference": "differencing_referencerun",
    "difference": "differencing_differencerun",
    "detect": "detection_detectionrun",
    "associate": "catalog_associationrun",
    "photometry": "catalog_photometryrun",
}
TERMINAL = {"succeeded", "done", "skipped", "failed", "cancelled"}


def write_frames(folder: Path) -> None:
    """Expose the sixty frames."""
    write_survey(CONFIG, folder)


@dataclass(frozen=True)
class Result:
    """What came out, without keys and times: equal for equal frames, whatever happened."""

    jobs: dict[str, int]
    endings: list[tuple[Any, ...]]
    references: list[tuple[Any, ...]]
    detections: list[tuple[Any, ...]]


def result_of(installation: Installation) -> Result:
    """Ends of all frames, epochs of their references, and every measured candidate."""
    endings = installation.rows(
        "SELECT observation_id, status, stage, reason FROM observations_observation"
    )
    references = installation.rows(
        "SELECT o.observation_id, e.observation_id FROM differencing_referencerun r"
        " JOIN observations_observation o ON o.id = r.observation_id"
        " JOIN differencing_referenceepoch x ON x.reference_id = r.reference_id"
        " JOIN preprocessing_scienceimage s ON s.id = x.science_image_id"
        " JOIN observations_observation e ON e.id = s.observation_id"
    )
    detections = installation.rows(
        'SELECT o.observation_id, d."index", d.is_kept, d.x, d.y, d.score'
        " FROM detection_detection d"
        " JOIN observations_observation o ON o.id = d.observation_id"
    )
    # how often a frame that ended early is measured hangs on the order of the work; what is
    # measured does not
    jobs = installation.rows(
        "SELECT state, count(*) FROM core_job WHERE kind <> 'measure' GROUP BY state"
    )
    return Result(
        dict(jobs),
        sorted(endings),
        sorted(references),
        sorted(
            (name, index, bool(kept), round(x, 4), round(y, 4), round(score, 4))
            for name, index, kept, x, y, score in detections
        ),
    )


def _object(value: Any) -> dict[str, Any]:
    """A JSON column: SQLite gives text."""
    found: dict[str, Any] = json.loads(value) if isinstance(value, str) else value
    return found


def _histories(rows: list[tuple[Any, ...]]) -> dict[str, list[str]]:
    """The states each thing went through, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for key, state in rows:
        found[str(key)].append(str(state))
    return found


def _ends(history: list[str], again: str) -> set[str]:
    """The ends in a history; the next state after an end can only be that of a new beginning.

    A frame that was skipped for want of a reference is looked at again when another frame of
    its survey is calibrated, so that an end may be repeated.
    """
    for before, after in pairwise(history):
        assert before not in TERMINAL or after == again, history
    return TERMINAL & set(history)


def assert_frames_ended_once(installation: Installation) -> None:
    """Every frame stands in a terminal state, and was never in another one."""
    status = dict(installation.rows("SELECT id, status FROM observations_observation"))
    assert len(status) == FRAMES
    assert set(status.values()) <= TERMINAL
    changes = installation.rows(
        "SELECT subject_id, payload FROM core_event WHERE kind = 'observation.changed' ORDER BY id"
    )
    histories = _histories([(key, _object(payload)["status"]) for key, payload in changes])
    for key, last in status.items():
        assert _ends(histories[str(key)], "running") == {last}
        assert histories[str(key)][-1] == last


def assert_jobs_ended_once(installation: Installation) -> None:
    """Every job ended in one way, at its first attempt that no kill ended, and has one run row."""
    jobs = installation.rows("SELECT kind, subject_id, attempts - crashes FROM core_job")
    events = installation.rows(
        "SELECT kind, payload FROM core_event WHERE kind LIKE 'job.%' ORDER BY id"
    )
    told = [(_object(payload)["job"], kind.removeprefix("job.")) for kind, payload in events]
    histories = _histories([(job, kind) for job, kind in told if kind != "progress"])
    assert len(histories) == len(jobs)
    assert all(len(_ends(history, "queued")) == 1 for history in histories.values())
    assert {tried for *_, tried in jobs} == {1}
    for stage, table in RUN_TABLES.items():
        runs = installation.rows(f"SELECT observation_id, status FROM {table}")
        reached = [subject for kind, subject, _ in jobs if kind == stage]
        assert Counter(subject for subject, _ in runs) == Counter(reached)
        assert {status for _, status in runs} <= TERMINAL


def assert_candidates_once(installation: Installation) -> None:
    """Every run holds the rows it counted, numbered without gap, and each kept one an object."""
    runs = installation.rows(
        "SELECT id, n_candidates, n_kept FROM detection_detectionrun WHERE status = 'succeeded'"
    )
    rows = installation.rows('SELECT run_id, "index", is_kept, id FROM detection_detection')
    for run, n_candidates, n_kept in runs:
        mine = [(index, kept) for owner, index, kept, _ in rows if owner == run]
        assert sorted(index for index, _ in mine) == list(range(n_candidates))
        assert sum(bool(kept) for _, kept in mine) == n_kept
    assert {owner for owner, *_ in rows} <= {run for run, *_ in runs}
    kept_ids = [key for *_, kept, key in rows if kept]
    links = installation.rows("SELECT detection_id, astro_object_id FROM catalog_objectdetection")
    assert Counter(detection for detection, _ in links) == Counter(kept_ids)
    objects = installation.rows("SELECT id, n_detections FROM catalog_astroobject")
    assert Counter(owner for _, owner in links) == dict(objects)


def assert_objects_apart(installation: Installation) -> None:
    """No two objects lie within the radius in which detections are one object."""
    metrics = installation.rows("SELECT metrics FROM catalog_associationrun")
    radii = [_object(value)["radius_arcsec"] for (value,) in metrics]
    places = np.radians(np.array(installation.rows("SELECT ra, dec FROM catalog_astroobject")))
    ra, dec = places.T
    unit = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    chord = np.linalg.norm(unit[:, :, None] - unit[:, None, :], axis=0)
    apart = np.degrees(2 * np.arcsin(chord / 2)) * 3600
    assert apart[np.triu_indices_from(apart, 1)].min() > min(radii)


def assert_light_curves_complete(installation: Installation, frames: Path) -> None:
    """Every object has one point, or an explicit null, on each frame that covers it.

    On each difference one, and on each calibrated image one.
    """
    differences = (
        "SELECT d.id, f.name FROM differencing_differencerun d"
        " JOIN observations_observation o ON o.id = d.observation_id"
        " JOIN core_storedfile f ON f.id = o.raw_file_id WHERE d.status = 'succeeded'"
    )
    points = (
        "SELECT astro_object_id, difference_run_id FROM catalog_lightcurvepoint"
        " WHERE kind = 'difference'"
    )
    _assert_points_complete(installation, frames, covering=differences, points=points)
    images = (
        "SELECT i.id, f.name FROM preprocessing_scienceimage i"
        " JOIN observations_observation o ON o.id = i.observation_id"
        " JOIN core_storedfile f ON f.id = o.raw_file_id WHERE i.status = 'succeeded'"
    )
    points = (
        "SELECT astro_object_id, science_image_id FROM catalog_lightcurvepoint WHERE kind = 'total'"
    )
    _assert_points_complete(installation, frames, covering=images, points=points)


def _assert_points_complete(
    installation: Installation, frames: Path, *, covering: str, points: str
) -> None:
    objects = installation.rows("SELECT id, ra, dec FROM catalog_astroobject")
    counted = Counter(installation.rows(points))
    assert set(counted.values()) == {1}
    for run, name in installation.rows(covering):
        with fits.open(frames / name) as hdus:
            shape, wcs = hdus[0].data.shape, WCS(hdus[0].header)
        for key, ra, dec in objects:
            x, y = (float(v) for v in wcs.all_world2pix(ra, dec, 0, quiet=True))
            margin = min(x, y, shape[1] - 1 - x, shape[0] - 1 - y)
            # at the very edge the stored coordinates, refined by stars, decide
            if margin > 2:
                assert (key, run) in counted
            elif not margin > -2:
                assert (key, run) not in counted


def assert_bytes_whole(installation: Installation) -> None:
    """Every stored file's bytes are there and are those that were put, and there are no others."""
    files = dict(installation.rows("SELECT sha256, size FROM core_storedfile"))
    found = {}
    for path in (installation.folder / "objects" / "sha256").glob("*/*"):
        data = path.read_bytes()
        assert hashlib.sha256(data).hexdigest() == path.name
        found[path.name] = len(data)
    assert found == files
