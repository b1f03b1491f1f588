"""Places of a frame at which sources may be injected: blank ones, and what is measured there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.photometry import PsfStamps
from astrid_site.imaging.psf import PsfField
from preprocessing.algorithms.stars import StarList

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Fewer blank places than this prove nothing.
MIN_PLACES = 100
# places that tell the noise to 3 %
_NOISE_PLACES = 1500
_ROUNDS = 8
# the PSF's squared weight beyond is less than 0.1 %
_REACH_FWHM = 2.5
_LEAST_REACH = 4
# half of the distance of these percentiles is one sigma of a normal distribution
_ONE_SIGMA = (15.865, 84.135)
_QUIET_SIGMA = 3.0
# light of a source that makes a place no longer blank, in sigma of a pixel
_DARK = 0.3
# a source of this claimed significance is one in any noise
_SURE_SNR = 25.0


def generator_of(sha256: str) -> np.random.Generator:
    """Random numbers that follow from a file's content: the same frame, the same injections."""
    return np.random.default_rng(int(sha256, 16))


@dataclass(frozen=True)
class Starlight:
    """Where the sources of a frame send light: positions, fluxes, significance, and a profile."""

    tree: cKDTree
    flux: Float64
    snr: Float64
    profile: Float64
    variance: FloatArray

    @classmethod
    def of(cls, stars: StarList, psf: PsfField, variance: FloatArray) -> Starlight:
        """The light of a star list under one PSF for the whole frame."""
        ny, nx = psf.shape
        image = psf.at((nx - 1) / 2.0, (ny - 1) / 2.0)[0]
        half = psf.size // 2
        ring = np.rint(np.hypot(*np.mgrid[-half : half + 1, -half : half + 1])).astype(np.int64)
        profile = np.zeros(int(ring.max()) + 1)
        np.maximum.at(profile, ring.ravel(), image.ravel())
        bright = stars.flux > 0
        tree = cKDTree(np.column_stack([stars.x[bright], stars.y[bright]]).reshape(-1, 2))
        return cls(tree, stars.flux[bright], stars.snr[bright], profile[: half + 1], variance)

    def is_dark(self, x: Float64, y: Float64, least_snr: float) -> BoolArray:
        """Places with next to no light of the sources above a signal-to-noise ratio."""
        light = np.zeros(x.size)
        if self.flux.size:
            found = self.tree.query_ball_point(np.column_stack([x, y]), r=self.profile.size - 1.0)
            place = np.repeat(np.arange(x.size), [len(one) for one in found])
            star = np.concatenate([np.asarray(one, dtype=np.intp) for one in found])
            apart = np.hypot(x[place] - self.tree.data[star, 0], y[place] - self.tree.data[star, 1])
            shone = self.flux[star] * np.interp(apart, np.arange(self.profile.size), self.profile)
            np.add.at(light, place, np.where(self.snr[star] > least_snr, shone, 0.0))
        sky = self.variance[np.rint(y).astype(np.int64), np.rint(x).astype(np.int64)]
        return np.asarray(light < _DARK * np.sqrt(sky), dtype=bool)


def draw_places(
    good: BoolArray,
    rng: np.random.Generator,
    *,
    margin: int,
    starlight: Starlight | None = None,
) -> tuple[Float64, Float64]:
    """Up to ``_NOISE_PLACES`` random sub-pixel places, off bright stars and bad pixels."""
    ny, nx = good.shape
    places = np.zeros((0, 2))
    for _ in range(_ROUNDS):
        x = rng.uniform(margin, nx - 1 - margin, 2 * _NOISE_PLACES)
        y = rng.uniform(margin, ny - 1 - margin, 2 * _NOISE_PLACES)
        kept = good[np.rint(y).astype(np.int64), np.rint(x).astype(np.int64)]
        if starlight is not None:
            kept &= starlight.is_dark(x, y, _SURE_SNR)
        places = np.concatenate([places, np.column_stack([x[kept], y[kept]])])
        if len(places) >= _NOISE_PLACES:
            break
    require_places(len(places))
    x, y = places[:_NOISE_PLACES].T
    return x, y


def require_places(n_places: int) -> None:
    """Refuse to prove anything on fewer than a hundred places."""
    if n_places < MIN_PLACES:
        msg = f"too few blank places to inject sources: {n_places}, and {MIN_PLACES} are needed"
        raise AlgorithmError(msg, n_places=n_places, n_required=MIN_PLACES)


def require_noise(width: float) -> None:
    """Refuse to prove anything where nothing scatters: every source would be found."""
    if not (np.isfinite(width) and width > 0):
        msg = "no noise at the blank places: nothing can be proven by injections"
        raise AlgorithmError(msg, width=float(width))


def core_reach(psf: PsfField) -> int:
    """Half width of the pixels that matter to a flux [pix]."""
    wanted = max(_LEAST_REACH, int(np.ceil(_REACH_FWHM * psf.fwhm_pix)))
    return min(psf.size // 2, wanted)


def crop_stamps(stamps: PsfStamps, reach: int) -> PsfStamps:
    """The middle of every cutout."""
    middle = stamps.psf.shape[-1] // 2
    inner = np.s_[:, middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
    return PsfStamps(
        stamps.data[inner],
        stamps.variance[inner],
        stamps.mask[inner],
        stamps.good[inner],
        stamps.psf[inner],
    )


def robust_pull_width(pulls: Float64) -> float:
    """Half the distance of the 16th from the 84th percentile, as ``measure_noise_scale`` has it."""
    low, high = np.percentile(pulls, _ONE_SIGMA)
    return float((high - low) / 2.0)


def is_quiet(pulls: Float64) -> BoolArray:
    """Places on which nothing stands out by three sigma, where sigma is that of the darker half.

    Sources that are no part of the list make the brighter half wide, but not the darker one.
    """
    kept = np.ones(pulls.size, dtype=np.bool_)
    for _ in range(_ROUNDS):
        low, middle = np.percentile(pulls[kept], (_ONE_SIGMA[0], 50.0))
        fresh = np.abs(pulls - middle) < _QUIET_SIGMA * (middle - low)
        if np.array_equal(fresh, kept) or not fresh.any():
            break
        kept = fresh
    return kept
