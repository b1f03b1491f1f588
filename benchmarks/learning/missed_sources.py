"""Sources put into differences so that each is lost at a stage that is known beforehand.

Every frame is white noise with a Gaussian PSF and its exact score image; what a source meets is
planted with it: too little light, a mask, a shape that no PSF has, the edge, a low score, a verdict
of people, a frame that failed. The search is the product's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.wcs import WCS
from scipy.signal import fftconvolve

from astrid_site.core.models import FileKind
from astrid_site.core.status import RunStatus
from astrid_site.explaining import FrameAnswer, Question, explain_position
from astrid_site.imaging.healpix import nested_index
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane, is_bad
from astrid_site.imaging.psf import constant_psf
from curation.models import Verdict
from detection.models import Detection, DetectionRun
from detection.services import run_detect
from differencing.models import DifferenceRun, ReferenceRun
from observations.algorithms.footprint import measure_footprint
from observations.models import Observation, Survey
from observations.services.runs import clean_json
from preprocessing.algorithms.stars import StarList
from preprocessing.models import ScienceImage
from preprocessing.services import store_image, store_stars
from tests.observations.factories import make_observation, make_survey, make_user

SIZE = 256
FWHM = 3.2
SIGMA = FWHM / 2.3548
NOISE = 10.0
ZERO_POINT = 25.0
RA, DEC = 150.0, 2.0
#: Places on a frame: far enough apart that none sees another.
CELLS = 6
_TRAIL_HALF = 4


@dataclass(frozen=True)
class Miss:
    """One source and what must be said of it.

    Attributes
    ----------
    kind : str
        What was done to it.
    ending : str
        The stage at which it is lost.
    names : frozenset of str
        Cuts or mask planes one of which must be named; empty: none is asked for.
    x, y : float
        On its frame [pix].
    frame : Observation
        Whose frame.
    ra, dec : float
        ICRS degrees.
    """

    kind: str
    ending: str
    names: frozenset[str]
    x: float
    y: float
    frame: Observation
    ra: float
    dec: float

    def is_named(self) -> bool:
        """Whether the product names the stage, and the cut or the plane, at which it was lost."""
        answer = self.ask()
        reading = answer.place.reading
        named = {answer.explanation.cut, *(reading.planes if reading else ())}
        return answer.explanation.ending == self.ending and (
            not self.names or bool(named & self.names)
        )

    def ask(self) -> FrameAnswer:
        """What the product says of it."""
        said = explain_position(Question(self.ra, self.dec, mjd=self.frame.mid_mjd, days=0.1))
        (answer,) = said.frames
        return answer


@dataclass
class _Canvas:
    """Planes of one frame while sources are put in."""

    rng: np.random.Generator
    light: np.ndarray = field(default_factory=lambda: np.zeros((SIZE, SIZE)))
    mask: np.ndarray = field(default_factory=lambda: np.zeros((SIZE, SIZE), np.uint16))
    given_up: np.ndarray = field(default_factory=lambda: np.zeros((SIZE, SIZE), bool))

    def add(self, x: float, y: float, snr: float) -> None:
        """A point source, its S/N that of a matched filter."""
        self.light += snr * _unit_flux() * _gaussian(x, y)

    def disk(self, x: float, y: float, radius: float) -> np.ndarray:
        rows, columns = np.indices((SIZE, SIZE))
        return np.asarray(np.hypot(columns - x, rows - y) <= radius)


def _gaussian(x: float, y: float) -> np.ndarray:
    column = np.exp(-((np.arange(SIZE) - x) ** 2) / (2 * SIGMA**2))
    row = np.exp(-((np.arange(SIZE) - y) ** 2) / (2 * SIGMA**2))
    return np.asarray(np.outer(row, column) / (2 * np.pi * SIGMA**2))


def _unit_flux() -> float:
    """Flux of a source at one sigma of the matched filter: noise over the norm of the PSF."""
    return NOISE * float(np.sqrt(4 * np.pi) * SIGMA)


def _psf_image() -> np.ndarray:
    rows, columns = np.mgrid[-12:13, -12:13]
    image = np.exp(-(rows**2 + columns**2) / (2 * SIGMA**2))
    return np.asarray(image / image.sum(), dtype=np.float32)


Plant = Callable[[_Canvas, float, float], frozenset[str]]


def _faint(canvas: _Canvas, x: float, y: float) -> frozenset[str]:
    # a 2.5 sigma source passes five sigma at its peak once in a hundred times
    canvas.add(x, y, float(canvas.rng.uniform(0.5, 2.5) * canvas.rng.choice([-1, 1])))
    return frozenset()


def _hidden(plane: MaskPlane, shape: str) -> Plant:
    def plant(canvas: _Canvas, x: float, y: float) -> frozenset[str]:
        canvas.add(x, y, float(canvas.rng.uniform(10, 40)))
        rows, columns = np.indices((SIZE, SIZE))
        where = {
            "disk": canvas.disk(x, y, 2.2 * FWHM),
            "column": (abs(columns - x) <= 4) & (abs(rows - y) <= 14),
            "band": (abs((columns - x) + 0.5 * (rows - y)) <= 2 * _TRAIL_HALF)
            & (abs(rows - y) <= 14),
        }[shape]
        canvas.mask[where] |= np.uint16(plane)
        return frozenset({str(plane.name)})

    return plant


def _halo(canvas: _Canvas, x: float, y: float) -> frozenset[str]:
    canvas.add(x, y, 20.0)
    where = canvas.disk(x, y, 3.0 * FWHM)
    canvas.mask[where] |= np.uint16(MaskPlane.STAR_HALO)
    canvas.given_up |= where
    return frozenset({"STAR_HALO"})


def _dipole(canvas: _Canvas, x: float, y: float) -> frozenset[str]:
    snr, turn = canvas.rng.uniform(30, 60), canvas.rng.uniform(0, 2 * np.pi)
    dx, dy = 0.6 * FWHM * np.cos(turn), 0.6 * FWHM * np.sin(turn)
    canvas.add(x + dx, y + dy, float(snr))
    canvas.add(x - dx, y - dy, -float(snr))
    return frozenset({"dipole_ratio", "negative_fraction"})


def _long(canvas: _Canvas, x: float, y: float) -> frozenset[str]:
    turn = canvas.rng.uniform(0, np.pi)
    for step in np.linspace(-1.6, 1.6, 13) * FWHM:
        canvas.add(x + step * np.cos(turn), y + step * np.sin(turn), 8.0)
    return frozenset({"elongation", "fwhm_ratio_high", "psf_chi2"})


def _hot(canvas: _Canvas, x: float, y: float) -> frozenset[str]:
    canvas.light[round(y), round(x)] += 60.0 * NOISE
    return frozenset({"sharpness", "fwhm_ratio_low", "psf_chi2"})


def _beside_saturation(canvas: _Canvas, x: float, y: float) -> frozenset[str]:
    canvas.add(x, y, 25.0)
    canvas.mask[canvas.disk(x + 1.1 * FWHM + 2.0, y, 2.0)] |= np.uint16(MaskPlane.SATURATED)
    return frozenset({"saturated_distance_fwhm", "mask_fraction"})


def _clean(canvas: _Canvas, x: float, y: float) -> frozenset[str]:
    canvas.add(x, y, float(canvas.rng.uniform(12, 40)))
    return frozenset()


#: What is done to a source: where it is lost, and how many of each go into a hundred.
KINDS: dict[str, tuple[str, Plant, int]] = {
    "faint": ("below_threshold", _faint, 20),
    "saturated": ("masked", _hidden(MaskPlane.SATURATED, "disk"), 4),
    "cosmic ray": ("masked", _hidden(MaskPlane.COSMIC_RAY, "disk"), 4),
    "bad column": ("masked", _hidden(MaskPlane.BAD_PIXEL, "column"), 4),
    "trail": ("masked", _hidden(MaskPlane.TRAIL, "band"), 4),
    "observer's mask": ("masked", _hidden(MaskPlane.USER, "disk"), 3),
    "no data": ("masked", _hidden(MaskPlane.NO_DATA, "disk"), 3),
    "halo": ("masked", _halo, 4),
    "dipole": ("cut", _dipole, 12),
    "long": ("cut", _long, 10),
    "hot pixel": ("cut", _hot, 6),
    "beside saturation": ("cut", _beside_saturation, 4),
    "low score": ("low_score", _clean, 6),
    "called bogus": ("human", _clean, 6),
}
#: Sources on frames that do not reach them, and on frames that were never searched.
N_UNCOVERED, N_UNSEARCHED = 6, 4


def make_misses(hundreds: float, *, seed: int) -> list[Miss]:
    """So many hundreds of lost sources on as many frames as they need, searched and judged."""
    rng = np.random.default_rng(seed)
    survey = make_survey(f"misses {seed}", is_simulated=True)
    kinds = [kind for kind, (_, _, n) in KINDS.items() for _ in range(math.ceil(n * hundreds))]
    rng.shuffle(kinds)
    misses: list[Miss] = []
    per_frame = CELLS**2
    for number in range(-(-len(kinds) // per_frame)):
        part = kinds[number * per_frame : (number + 1) * per_frame]
        misses += _searched_frame(survey, number, part, rng)
    misses += _uncovered(misses[0].frame, math.ceil(N_UNCOVERED * hundreds), rng)
    return misses + _unsearched(survey, math.ceil(N_UNSEARCHED * hundreds))


def _searched_frame(
    survey: Survey, number: int, kinds: Sequence[str], rng: np.random.Generator
) -> list[Miss]:
    frame, wcs = _observation(survey, day=float(number))
    canvas = _Canvas(rng)
    cells = rng.permutation(CELLS**2)[: len(kinds)]
    misses = []
    for kind, cell in zip(kinds, cells, strict=True):
        pitch = SIZE / CELLS
        row, column = divmod(int(cell), CELLS)
        x = (column + 0.5) * pitch + rng.uniform(-4, 4)
        y = (row + 0.5) * pitch + rng.uniform(-4, 4)
        ending, plant, _ = KINDS[kind]
        names = plant(canvas, x, y)
        ra, dec = (float(value) for value in wcs.all_pix2world(x, y, 0))
        misses.append(Miss(kind, ending, names, x, y, frame, ra, dec))
    run = _search(frame, canvas, wcs)
    _judge(run, misses)
    return misses


def _wcs() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [RA, DEC], [(SIZE + 1) / 2, (SIZE + 1) / 2]
    wcs.wcs.cdelt = [-1 / 3600, 1 / 3600]
    return wcs


def _observation(survey: Survey, *, day: float, **fields: Any) -> tuple[Observation, WCS]:
    wcs = _wcs()
    outline = measure_footprint(wcs, (SIZE, SIZE))
    place = {
        "ra": outline.ra,
        "dec": outline.dec,
        "healpix14": nested_index(outline.ra, outline.dec),
        "radius_deg": outline.radius_deg,
        "footprint": [list(corner) for corner in outline.corners],
    }
    frame = make_observation(survey, day=day, ra=None, image_width=SIZE, image_height=SIZE)
    # the factory's own outline is wider than these frames
    told = {**place, "pixel_scale_arcsec": 1.0, "is_simulated": True, **fields}
    for name, value in told.items():
        setattr(frame, name, value)
    frame.save()
    return frame, wcs


def _search(frame: Observation, canvas: _Canvas, wcs: WCS) -> DetectionRun:
    """Store the products of a frame and run the product's own search on them."""
    rng = canvas.rng
    template = rng.normal(0.0, NOISE / 4, (SIZE, SIZE))
    difference = canvas.light + rng.normal(0.0, NOISE, (SIZE, SIZE))
    difference[canvas.given_up] = 0.0
    bad = is_bad(canvas.mask)
    psf = _psf_image()
    usable = np.where(bad, 0.0, difference)
    score = fftconvolve(usable, psf[::-1, ::-1], mode="same") / (NOISE * np.sqrt((psf**2).sum()))
    score[bad | canvas.given_up] = 0.0

    def image(data: np.ndarray, noise: float) -> Image:
        return Image(
            data=data.astype(np.float32),
            mask=canvas.mask.copy(),
            variance=np.full((SIZE, SIZE), noise**2, np.float32),
            wcs=wcs,
            psf=constant_psf(psf, shape=(SIZE, SIZE)),
            zero_point=ZERO_POINT,
        )

    planes = {
        FileKind.SCIENCE: image(difference + template, NOISE),
        FileKind.REFERENCE: image(template, NOISE / 4),
        FileKind.DIFFERENCE: image(difference, NOISE),
        FileKind.SCORE: image(score, 1.0),
    }
    files = {
        kind: store_image(plane, kind=kind, name=f"{frame.pk}-{kind.value}.fits", header={})
        for kind, plane in planes.items()
    }
    empty = np.zeros(0)
    stars = StarList(empty, empty, empty, empty, empty, np.zeros(0, bool))
    done: dict[str, Any] = {
        "observation": frame,
        "pipeline_version": "1",
        "status": RunStatus.SUCCEEDED,
    }
    science = ScienceImage.objects.create(
        **done, file=files[FileKind.SCIENCE], stars_file=store_stars(stars, name="stars.npy")
    )
    ReferenceRun.objects.create(**done)
    DifferenceRun.objects.create(
        **done,
        science_image=science,
        file=files[FileKind.DIFFERENCE],
        template_file=files[FileKind.REFERENCE],
        score_file=files[FileKind.SCORE],
        method="kernel",
    )
    run = DetectionRun.objects.create(**{**done, "status": RunStatus.RUNNING})
    product = run_detect(run, lambda _share, _words: None)
    if product.save is not None:
        product.save()
    run.status, run.parameters = RunStatus.SUCCEEDED, clean_json(product.parameters)
    run.save()
    Observation.objects.filter(pk=frame.pk).update(status=RunStatus.SUCCEEDED)
    return run


def _judge(run: DetectionRun, misses: Sequence[Miss]) -> None:
    """Give the scores and the verdicts that lose their sources."""
    found = Detection.objects.filter(run=run)
    found.update(real_bogus=0.9, scorer="planted 1")
    for miss in misses:
        near = found.filter(
            x__range=(miss.x - 3, miss.x + 3), y__range=(miss.y - 3, miss.y + 3), is_kept=True
        )
        if miss.ending == "low_score":
            near.update(real_bogus=0.07)
        if miss.ending == "human":
            for row in near:
                Verdict.objects.create(
                    detection=row, curator=make_user(), label=Verdict.Label.BOGUS, reason="ghost"
                )


def _uncovered(frame: Observation, n: int, rng: np.random.Generator) -> list[Miss]:
    """Places a little beyond the edge of a frame, within the circle around it."""
    wcs, misses = _wcs(), []
    for i in range(n):
        far, along = rng.uniform(2.0, 20.0), rng.uniform(0.3, 0.7) * SIZE
        x, y = ((-far, along), (SIZE + far, along), (along, -far), (along, SIZE + far))[i % 4]
        ra, dec = (float(value) for value in wcs.all_pix2world(x, y, 0))
        misses.append(Miss("uncovered", "not_covered", frozenset(), x, y, frame, ra, dec))
    return misses


def _unsearched(survey: Survey, n: int) -> list[Miss]:
    """Frames that failed at a stage, were skipped, or wait."""
    misses = []
    stages = (ScienceImage, ReferenceRun, DifferenceRun, DetectionRun)
    for i in range(n):
        status = (RunStatus.FAILED, RunStatus.SKIPPED, RunStatus.FAILED, RunStatus.PENDING)[i % 4]
        frame, wcs = _observation(survey, day=500.0 + 10 * i, status=status)
        done = {"observation": frame, "pipeline_version": "1"}
        for stage in stages[: i % 4]:
            stage.objects.create(**done, status=RunStatus.SUCCEEDED)
        stages[i % 4].objects.create(**done, status=status, reason="it was planted")
        x, y = 100.0 + i, 120.0
        ra, dec = (float(value) for value in wcs.all_pix2world(x, y, 0))
        misses.append(Miss("unsearched", "not_searched", frozenset(), x, y, frame, ra, dec))
    return misses
