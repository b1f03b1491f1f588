"""A quiet field with one new source at an awkward place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.signal import fftconvolve

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.photometry import shift_psf
from astrid_site.imaging.psf import PsfField
from astrid_site.imaging.sky_pair import PairConfig, SimulatedPair, simulate_pair
from tests.engine.engine import Outcome, run_engine

#: No transients of its own, no galaxies: what is found is what a test puts in.
QUIET = PairConfig(
    seed=5,
    shape=(256, 256),
    star_density_per_mpix=3000,
    galaxy_density_per_mpix=0,
    transient_density_per_mpix=0,
    star_mag_range=(14.5, 21.0),
)


@dataclass(frozen=True)
class Scene:
    """Raw frames that may be added to; ``flux`` has a S/N of about 25 on blank sky."""

    reference: Image
    science: Image
    pair: SimulatedPair
    flux: float = 2500.0

    def run(self) -> Outcome:
        return run_engine(self.reference, self.science)


def make_scene() -> Scene:
    """Fresh copies of the pixels."""
    pair = _quiet_pair()
    frames = (
        image.with_(data=image.data.copy(), mask=image.mask.copy())
        for image in (pair.reference, pair.science)
    )
    return Scene(*frames, pair)


@cache
def _quiet_pair() -> SimulatedPair:
    return simulate_pair(QUIET)


def add_point(image: Image, psf: PsfField, x: float, y: float, flux: float) -> None:
    """A point source with its photon noise left out; what lies off the frame is lost."""
    stamp = flux * shift_psf(
        psf.at(x, y), np.array([x - round(x)]), np.array([y - round(y)])
    )[0]  # fmt: skip
    add_stamp(image, stamp, round(x), round(y))


def add_stamp(image: Image, stamp: np.ndarray, x: int, y: int) -> None:
    half = stamp.shape[0] // 2
    ny, nx = image.shape
    rows = slice(max(y - half, 0), min(y + half + 1, ny))
    columns = slice(max(x - half, 0), min(x + half + 1, nx))
    image.data[rows, columns] += stamp[
        rows.start - y + half : rows.stop - y + half,
        columns.start - x + half : columns.stop - x + half,
    ]


def add_new(scene: Scene, x: float, y: float, *, scale: float = 1.0) -> None:
    """A source that only the science frame has."""
    add_point(scene.science, scene.pair.science_psf, x, y, scale * scene.flux)


def add_galaxy(scene: Scene, x: int, y: int, *, flux: float = 60_000.0) -> None:
    """An exponential disc of half-light radius 5 pixels in both frames, photon noise included."""
    rng = np.random.default_rng(9)
    offset = np.arange(-40, 41)
    light = np.exp(-np.hypot(offset[:, None], offset) / 3.0)
    light *= flux / light.sum()
    pair = scene.pair
    for image, psf, ratio in (
        (scene.reference, pair.reference_psf, 1.0),
        (scene.science, pair.science_psf, pair.flux_ratio),
    ):
        mean = ratio * fftconvolve(light, psf.at(float(x), float(y))[0], mode="same")
        gain = image.gain or 1.0
        add_stamp(image, rng.poisson(np.maximum(mean, 0.0) * gain) / gain, x, y)


def add_saturated(scene: Scene, x: int, y: int, *, flux: float = 8e5) -> None:
    """A star that fills its pixels in both frames."""
    for image, psf, ratio in (
        (scene.reference, scene.pair.reference_psf, 1.0),
        (scene.science, scene.pair.science_psf, scene.pair.flux_ratio),
    ):
        add_point(image, psf, x, y, ratio * flux)
        np.minimum(image.data, image.saturation, out=image.data)


def cut_gap(image: Image, columns: slice) -> None:
    """Columns that were never measured."""
    image.data[:, columns] = np.nan
    image.mask[:, columns] |= np.uint16(MaskPlane.NO_DATA)
