"""One place on one frame: its rows, and the few pixels around it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from django.db.models import Q

from astrid_site.core.models import StoredFile
from astrid_site.core.ranged import open_ranged
from astrid_site.core.status import RunStatus
from astrid_site.core.storage import ChecksumError
from catalog.models import AstroObject
from catalog.selectors import object_of
from curation.models import Verdict
from curation.selectors import current_verdicts
from detection.models import Detection, DetectionRun
from differencing.models import DifferenceRun
from differencing.pages import plain_words
from observations.models import Observation

if TYPE_CHECKING:
    from detection.algorithms.place_facts import Candidate, FrameFacts, Neighbour, Saying, Stop
    from detection.algorithms.place_reading import PlaceReading

#: Pixels read around the place: enough blank sky to measure the noise on.
WINDOW = 127
#: Without these a frame was not searched.
_SEARCH = ("preprocess", "reference", "difference", "detect")


@dataclass(frozen=True)
class Chain:
    """One frame with the title and the latest run of each of its stages, by the stage's name."""

    observation: Observation
    runs: dict[str, tuple[str, Any]]

    def run(self, name: str) -> Any | None:
        """The latest run of a stage; None where it was not reached."""
        return self.runs[name][1] if name in self.runs else None


@dataclass(frozen=True)
class Position:
    """Where on the frame the place lies; None where that is not known."""

    x: float | None
    y: float | None
    beyond_pix: float | None
    scale_arcsec: float | None


@dataclass(frozen=True)
class PlaceOnFrame:
    """All that is stored of a place on a frame."""

    chain: Chain
    position: Position
    stop: Stop | None
    reading: PlaceReading | None
    detection: Detection | None
    astro_object: AstroObject | None
    neighbour: Neighbour | None

    def facts(self, *, sees_verdicts: bool) -> FrameFacts:
        """What the explanation is made of."""
        from detection.algorithms.place_facts import FrameFacts

        run = cast("DetectionRun | None", self.chain.run("detect"))
        survey = self.chain.observation.survey
        told = run.parameters.get("threshold") if run else None
        candidate = None
        if self.detection is not None:
            said = _saying(self.detection) if sees_verdicts else None
            name = self.astro_object.name if self.astro_object else ""
            candidate = replace(
                _candidate(self.detection, self.position), object_name=name, saying=said
            )
        return FrameFacts(
            beyond_pix=self.position.beyond_pix,
            scale_arcsec=self.position.scale_arcsec,
            stop=self.stop,
            reading=self.reading,
            threshold=survey.detection_threshold if told is None else float(told),
            candidate=candidate,
            neighbour=self.neighbour,
            n_unstored=_n_unstored(run),
        )


def read_frame(chain: Chain, *, question: tuple[float, float]) -> PlaceOnFrame:
    """Rows and pixels of one place, ICRS degrees, on one frame."""
    stop = _stop(chain)
    difference = cast("DifferenceRun | None", chain.run("difference"))
    position, reading = _outline_position(chain.observation, *question), None
    stored = _placing_file(chain)
    try:
        if stored is not None and position.beyond_pix is not None:
            position = _pixel_position(stored, *question) or position
        if stop is None and difference is not None and position.beyond_pix == 0.0:
            reading, stop = _read_pixels(difference, position)
    except (ChecksumError, OSError) as error:
        stop = _unreadable(str(error))
    detection, neighbour = None, None
    run = cast("DetectionRun | None", chain.run("detect"))
    if reading is not None and run is not None:
        detection, neighbour = _candidates(run, position, reading)
    owner = object_of(detection.pk) if detection is not None else None
    return PlaceOnFrame(chain, position, stop, reading, detection, owner, neighbour)


def _unreadable(reason: str) -> Stop:
    from detection.algorithms.place_facts import Stop

    return Stop("Read the stored difference", "failed", reason)


def _stop(chain: Chain) -> Stop | None:
    """The first stage up to the search that did not succeed."""
    from detection.algorithms.place_facts import Stop

    observation = chain.observation
    if observation.role == Observation.Role.TEMPLATE:
        return Stop("Register and subtract", "skipped", "the frame is named as reference")
    for name in _SEARCH:
        if name not in chain.runs:
            return Stop(
                _title(name), str(observation.status), plain_words(observation.reason or "")
            )
        title, run = chain.runs[name]
        if run.status != RunStatus.SUCCEEDED:
            return Stop(title, str(run.status), plain_words(run.reason or observation.reason))
    return None


def _title(name: str) -> str:
    from astrid_site import pipeline

    return pipeline.STAGE_BY_NAME[name].title


def _placing_file(chain: Chain) -> StoredFile | None:
    """The product whose world coordinates are best: those of a difference are tied to stars."""
    for name in ("difference", "preprocess"):
        run = chain.run(name)
        if run is not None and run.status == RunStatus.SUCCEEDED and run.file is not None:
            return cast(StoredFile, run.file)
    return None


def _outline_position(observation: Observation, ra: float, dec: float) -> Position:
    """Inside or beyond the outline that the header gave; the pixel is not known from it."""
    from detection.algorithms.place_coverage import beyond_outline

    if observation.ra is None or len(observation.footprint) < 3:
        return Position(None, None, None, None)
    beyond = beyond_outline(observation.footprint, ra, dec)
    scale = observation.pixel_scale_arcsec
    return Position(None, None, beyond / scale if scale else beyond, scale)


def _pixel_position(stored: StoredFile, ra: float, dec: float) -> Position | None:
    """The place on the pixels of a product; None where its world coordinates have no inverse."""
    from astrid_site.imaging.product_window import open_product
    from detection.algorithms.place_coverage import beyond_edge
    from preprocessing.algorithms.quality import pixel_scale_arcsec

    with open_ranged(stored) as file, open_product(file) as product:
        wcs = product.wcs
        if wcs is None:
            return Position(None, None, None, None)
        x, y = (float(value) for value in wcs.all_world2pix(ra, dec, 0, quiet=True))
        if not (np.isfinite(x) and np.isfinite(y)):
            return None
        return Position(x, y, beyond_edge(x, y, product.shape), pixel_scale_arcsec(wcs))


def _read_pixels(
    difference: DifferenceRun, position: Position
) -> tuple[PlaceReading | None, Stop | None]:
    """What the stored planes say at the place, or why they cannot."""
    from astrid_site.imaging.product_window import open_product
    from astrid_site.imaging.psf import constant_psf
    from detection.algorithms.place_reading import PlacePixels, read_place

    x, y = position.x, position.y
    if difference.file is None or difference.score_file is None or x is None or y is None:
        return None, _unreadable("the difference is not kept")
    with ExitStack() as stack:
        files = [
            stack.enter_context(open_ranged(stored))
            for stored in (difference.file, difference.score_file)
        ]
        product, scores = (stack.enter_context(open_product(file)) for file in files)
        window, psf = product.window(x, y, size=WINDOW), product.psf
        score = scores.pixels(x, y, size=WINDOW)
        if window.variance is None or psf is None:
            return None, _unreadable("the stored difference lacks its variance or PSF")
        here = psf.at(x, y)[0]
        pixels = PlacePixels(
            difference=window.data,
            variance=window.variance,
            score=score,
            mask=window.mask,
            psf=constant_psf(here, shape=window.data.shape),
            x=x - window.left,
            y=y - window.bottom,
            zero_point=product.zero_point,
        )
        return read_place(pixels), None


def _candidates(
    run: DetectionRun, position: Position, reading: PlaceReading
) -> tuple[Detection | None, Neighbour | None]:
    """The stored candidate at the place; where there is none, the nearest one around."""
    from detection.algorithms.place_facts import Neighbour
    from detection.algorithms.place_reading import match_radius_pix

    x, y = position.x or 0.0, position.y or 0.0
    reach = WINDOW / 2
    rows = Detection.objects.filter(
        run=run, x__range=(x - reach, x + reach), y__range=(y - reach, y + reach)
    )
    apart = [(float(np.hypot(row.x - x, row.y - y)), row) for row in rows.order_by("index")]
    # the peak is looked for within that radius and its position is refined by up to a pixel
    radius = match_radius_pix(reading.fwhm_pix) + 1.0
    here = [pair for pair in apart if pair[0] <= radius]
    if here:
        # of a dipole's two lobes the one that was kept speaks, else the stronger one
        return max(here, key=lambda pair: (pair[1].is_kept, abs(pair[1].score), -pair[0]))[1], None
    if not apart:
        return None, None
    distance, row = min(apart, key=lambda pair: pair[0])
    return None, Neighbour(row.score, distance)


def _n_unstored(run: DetectionRun | None) -> int:
    if run is None or run.n_candidates is None:
        return 0
    return max(0, run.n_candidates - Detection.objects.filter(run=run).count())


def _candidate(row: Detection, position: Position) -> Candidate:
    """A stored candidate as the explanation wants it; without its object and what people say."""
    from detection.algorithms.place_facts import Candidate

    kept = Detection.objects.filter(run=row.run_id, is_kept=True)
    better = kept.filter(Q(real_bogus__gt=row.real_bogus)) if row.real_bogus is not None else kept
    distance = np.hypot(row.x - (position.x or 0.0), row.y - (position.y or 0.0))
    return Candidate(
        score=row.score,
        distance_pix=float(distance),
        cuts=row.cuts,
        real_bogus=row.real_bogus,
        real_bogus_error=row.real_bogus_error,
        scorer=row.scorer if row.real_bogus is not None else row.score_problem,
        rank=better.count() + 1,
        n_kept=kept.count(),
    )


def _saying(row: Detection) -> Saying | None:
    """The latest answer that decides anything."""
    from detection.algorithms.place_facts import Saying

    said = current_verdicts([row.pk]).exclude(label=Verdict.Label.UNSURE)
    latest = said.order_by("-created_at", "-sequence").first()
    if latest is None:
        return None
    reason = latest.get_reason_display() if latest.reason else ""
    return Saying(latest.get_label_display(), reason, latest.curator.get_username())
