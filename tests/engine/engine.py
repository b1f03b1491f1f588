"""The engine as a user meets it: two frames in, candidates out; and ways to turn the frames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from astropy.wcs import WCS

from astrid_site.imaging.image import Image
from astrid_site.imaging.sky_pair import PairConfig, SimulatedPair, simulate_pair
from detection.algorithms.candidates import find_candidates
from detection.algorithms.cuts import CutConfig, apply_cuts
from detection.algorithms.measurement import Measurement, measure
from detection.management.subtraction_frames import Frames, bring_together
from differencing.algorithms.subtract import Subtraction, SubtractionConfig, subtract
from preprocessing.algorithms.preprocess import preprocess_image

#: As bright sources as these are found in each of two runs, whatever small thing differs.
SURE = 7.0
FIELD = PairConfig(
    seed=11,
    shape=(288, 288),
    star_density_per_mpix=1500,
    transient_density_per_mpix=200,
    transient_snr=(9.0, 60.0),
)


@dataclass(frozen=True)
class Outcome:
    """What the engine says of a pair."""

    frames: Frames
    subtraction: Subtraction
    kept: list[Measurement]

    @property
    def x(self) -> np.ndarray:
        return np.array([m.x for m in self.kept])

    @property
    def y(self) -> np.ndarray:
        return np.array([m.y for m in self.kept])

    @property
    def flux(self) -> np.ndarray:
        return np.array([m.flux for m in self.kept])

    @property
    def flux_error(self) -> np.ndarray:
        return np.array([m.flux_error for m in self.kept])

    @property
    def score(self) -> np.ndarray:
        return np.array([m.score for m in self.kept])

    @property
    def sky(self) -> np.ndarray:
        """Positions (n, 2) in degrees, right ascension first."""
        wcs = self.frames.science.image.wcs
        assert wcs is not None
        return np.column_stack(wcs.all_pix2world(self.x, self.y, 0)).reshape(-1, 2)

    def near(self, x: float, y: float, *, within: float = 2.0) -> Measurement | None:
        """The candidate at a place of the science frame."""
        if not self.kept:
            return None
        distance = np.hypot(self.x - x, self.y - y)
        nearest = int(distance.argmin())
        return self.kept[nearest] if distance[nearest] <= within else None


def run_engine(
    reference: Image, science: Image, *, aligned: bool = False, method: str = "auto"
) -> Outcome:
    """All stages of the command, without its files."""
    frames = bring_together(preprocess_image(reference), preprocess_image(science), aligned=aligned)
    config = SubtractionConfig(method=method)
    made = subtract(
        frames.template, frames.science.image, stars=frames.science.stars, config=config
    )
    made = frames.judge(made)
    measured = measure(
        made,
        frames.template,
        frames.science.image,
        find_candidates(made, threshold=5.0),
        stars=frames.science.stars,
    )
    kept = [m for m in measured if all(cut.kept for cut in apply_cuts(m, CutConfig()))]
    return Outcome(frames, made, kept)


@cache
def field_pair() -> SimulatedPair:
    """One field for all properties."""
    return simulate_pair(FIELD)


@cache
def field_outcome() -> Outcome:
    """What the engine says of it as it is."""
    pair = field_pair()
    return run_engine(pair.reference, pair.science)


def bright_truth(pair: SimulatedPair, *, margin: float = 14.0) -> np.ndarray:
    """Rows of the transients that must be found wherever nothing masks them."""
    truth, (ny, nx) = pair.truth, pair.science.shape
    x, y = np.array(truth["x"]), np.array(truth["y"])
    inside = (x > margin) & (x < nx - 1 - margin) & (y > margin) & (y < ny - 1 - margin)
    clear = np.array(truth["nearest_star_pix"]) > 8.0
    strong = np.array(truth["snr_difference"]) > 9.0
    return np.flatnonzero(inside & strong & clear & ~np.array(truth["masked"]))


@dataclass(frozen=True)
class Matched:
    """Candidates of two outcomes at the same places of the sky; indices into each."""

    first: np.ndarray
    second: np.ndarray
    apart_pix: np.ndarray
    lonely: int


def match(one: Outcome, other: Outcome, *, least: float = SURE) -> Matched:
    """Pair candidates by sky position; ``lonely`` sure ones have no partner in the other."""
    wcs = one.frames.science.image.wcs
    assert wcs is not None
    x, y = wcs.all_world2pix(*other.sky.T, 0) if len(other.kept) else (np.zeros(0), np.zeros(0))
    first, second, apart = [], [], []
    taken: set[int] = set()
    lonely = 0
    for i in range(len(one.kept)):
        distance = np.hypot(x - one.x[i], y - one.y[i])
        j = int(distance.argmin()) if len(distance) else -1
        if j >= 0 and distance[j] < 1.5:
            taken.add(j)
            first.append(i)
            second.append(j)
            apart.append(distance[j])
        else:
            lonely += abs(one.score[i]) > least
    lonely += sum(abs(other.score[j]) > least for j in range(len(x)) if j not in taken)
    return Matched(np.array(first, int), np.array(second, int), np.array(apart), int(lonely))


def changed(image: Image, *, factor: float = 1.0, constant: float = 0.0) -> Image:
    """The same photons in another unit and over another zero."""
    saturation = image.saturation
    return image.with_(
        data=(image.data * np.float64(factor) + constant).astype(np.float32),
        gain=None if image.gain is None else image.gain / factor,
        saturation=None if saturation is None else saturation * factor + constant,
    )


def turned(image: Image, quarters: int) -> Image:
    """The frame turned by quarters, its WCS with it."""
    for _ in range(quarters % 4):
        # new row = nx - 1 - old column, new column = old row
        nx = image.shape[1]
        image = _moved(
            image, np.rot90(image.data), np.rot90(image.mask),
            matrix=np.array([[0.0, 1.0], [-1.0, 0.0]]), offset=(0.0, nx - 1.0),
        )  # fmt: skip
    return image


def mirrored(image: Image) -> Image:
    """The frame left to right, its WCS with it."""
    nx = image.shape[1]
    return _moved(
        image, image.data[:, ::-1], image.mask[:, ::-1],
        matrix=np.array([[-1.0, 0.0], [0.0, 1.0]]), offset=(nx - 1.0, 0.0),
    )  # fmt: skip


def cropped(image: Image, rows: slice, columns: slice) -> Image:
    """A part of the frame, its WCS with it."""
    return _moved(
        image, image.data[rows, columns], image.mask[rows, columns],
        matrix=np.eye(2), offset=(-float(columns.start or 0), -float(rows.start or 0)),
    )  # fmt: skip


def _moved(
    image: Image,
    data: np.ndarray,
    mask: np.ndarray,
    *,
    matrix: np.ndarray,
    offset: tuple[float, float],
) -> Image:
    """Pixels at new places ``matrix @ (x, y) + offset``, and the WCS that follows them."""
    wcs = image.wcs
    if wcs is not None:
        wcs = WCS(wcs.to_header())
        wcs.wcs.crpix = matrix @ (np.asarray(wcs.wcs.crpix) - 1.0) + np.asarray(offset) + 1.0
        linear = wcs.pixel_scale_matrix @ np.linalg.inv(matrix)
        wcs.wcs.pc, wcs.wcs.cdelt = linear, [1.0, 1.0]
        wcs.array_shape = data.shape
    return image.with_(data=np.ascontiguousarray(data), mask=np.ascontiguousarray(mask), wcs=wcs)


def with_pixels(image: Image, data: np.ndarray, mask: np.ndarray | None = None) -> Image:
    """The frame with other pixels."""
    return replace(image, data=data.astype(np.float32), mask=image.mask if mask is None else mask)
