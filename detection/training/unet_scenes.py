"""Tiles to train the U-Net on: simulated nights through the pipeline, each pixel with its truth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from detection.algorithms.triplets import stack_planes
from detection.training.nights import Night, draw_night, simulate_night
from detection.training.pair_chain import DifferencedPair, RawPair, difference_pair

FloatArray = NDArray[np.float32]
Truth = NDArray[np.uint8]
Progress = Callable[[str], object]

#: Width of a training tile [pix].
TILE = 128
#: Values of the truth; pixels nobody can tell of do not count.
NO, YES, UNKNOWN = 0, 1, 2
#: A change is at its place within this many pixels, and near it within that many.
_AT_PIX, _NEAR_PIX = 1.5, 3.5
#: A change fainter than this in the difference teaches nothing.
_LEAST_SNR = 3.5
_STAR_SNR = 15.0
#: Transients of training: fainter and more of them than the nights of the real-bogus network have.
_SNR_RANGE, _PER_MPIX, _SHAPE = (4.0, 30.0), 400.0, (512, 512)


@dataclass(frozen=True)
class Scene:
    """One difference with its truth.

    Attributes
    ----------
    planes : NDArray[float32], shape (4, ny, nx)
        Science, template, difference, score; NaN where there is nothing.
    truth : NDArray[uint8], shape (3, ny, nx)
        0 no, 1 yes, 2 unknown, of each of the network's classes.
    """

    planes: FloatArray
    truth: Truth


@dataclass(frozen=True)
class Tiles:
    """Tiles of many scenes; rows belong together.

    Attributes
    ----------
    planes : NDArray[float32], shape (n, 4, 128, 128)
    truth : NDArray[uint8], shape (n, 3, 128, 128)
    """

    planes: FloatArray
    truth: Truth

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def sha256(self) -> str:
        """Of both arrays."""
        digest = hashlib.sha256(np.ascontiguousarray(self.planes).data)
        digest.update(np.ascontiguousarray(self.truth).data)
        return digest.hexdigest()


def draw_faint_night(
    seed: int,
    *,
    snr_range: tuple[float, float],
    per_mpix: float,
    shape: tuple[int, int] = _SHAPE,
) -> Night:
    """The night of a seed with transients of other brightness and number, on other frames."""
    night = draw_night(seed)
    pair = replace(
        night.pair, transient_snr=snr_range, transient_density_per_mpix=per_mpix, shape=shape
    )
    return replace(night, pair=pair)


def simulate_scene(seed: int, *, shape: tuple[int, int] = _SHAPE) -> Scene:
    """One simulated night through the pipeline, in two of five with satellite trails.

    Raises
    ------
    AlgorithmError
        If the frames drawn cannot be subtracted at all.
    """
    night = draw_faint_night(seed, snr_range=_SNR_RANGE, per_mpix=_PER_MPIX, shape=shape)
    raw = simulate_night(night, np.random.default_rng([seed, 64]))
    rng = np.random.default_rng([seed, 71])
    n_trails = int(rng.integers(1, 3)) if rng.random() < 0.4 else 0
    later, trails = draw_trails(raw.later, rng, n_trails=n_trails, fwhm=night.pair.science_fwhm_pix)
    raw = replace(raw, later=later)
    made = difference_pair(raw, night.treatment)
    planes = stack_planes(made.science, made.template, made.difference)
    truth = np.stack([_changes(raw, made), _stars(made), trails])
    # what is not seen is not judged
    truth[0][~np.isfinite(planes[2])] = UNKNOWN
    return Scene(planes, truth)


def draw_trails(
    image: Image, rng: np.random.Generator, *, n_trails: int, fwhm: float
) -> tuple[Image, Truth]:
    """Lines across a raw frame as wide as its PSF, and the pixels they are seen in."""
    ny, nx = image.shape
    y, x = np.mgrid[:ny, :nx].astype(np.float32)
    low, middle = np.percentile(image.data, [15.865, 50.0])
    data, seen = image.data.copy(), np.zeros((ny, nx), dtype=np.uint8)
    for _ in range(n_trails):
        angle, (cx, cy) = rng.uniform(0, np.pi), rng.uniform((0, 0), (nx, ny))
        across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        level = float(middle - low) * float(np.exp(rng.uniform(np.log(1.0), np.log(30.0))))
        sigma = fwhm / 2.3548
        data += np.float32(level) * np.exp(-0.5 * (across / sigma) ** 2)
        seen[np.abs(across) < 0.75 * fwhm] = YES
    return image.with_(data=data), seen


def write_scenes(folder: Path, seeds: Sequence[int], *, progress: Progress) -> None:
    """Make one file of tiles for each seed that has none yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        path = folder / f"scene-{seed:06d}.npz"
        if path.exists():
            continue
        try:
            tiles = cut_tiles(simulate_scene(seed))
        except AlgorithmError as error:
            # a night that the engine refuses shows nothing to anybody
            progress(f"scene {seed}: refused: {error}")
            continue
        draft = path.with_suffix(".draft")
        with draft.open("wb") as stream:
            np.savez(stream, allow_pickle=False, planes=tiles.planes, truth=tiles.truth)
        draft.replace(path)
        progress(f"scene {seed}: {len(tiles)} tiles")


def read_scenes(folder: Path, seeds: Sequence[int]) -> Tiles:
    """Tiles of those seeds that were not refused, in their order.

    Raises
    ------
    ValueError
        If there are none.
    """
    parts = [tiles for seed in seeds for tiles in _read(folder / f"scene-{seed:06d}.npz")]
    if not parts:
        msg = f"{folder}: holds none of the {len(seeds)} scenes; each was refused or never made"
        raise ValueError(msg)
    return Tiles(
        np.concatenate([part.planes for part in parts]),
        np.concatenate([part.truth for part in parts]),
    )


def cut_tiles(scene: Scene) -> Tiles:
    """Tiles of 128 pixels side by side; what does not fill one is left out."""
    ny, nx = scene.truth.shape[1:]
    places = [
        (slice(top, top + TILE), slice(left, left + TILE))
        for top in range(0, ny - TILE + 1, TILE)
        for left in range(0, nx - TILE + 1, TILE)
    ]
    return Tiles(
        np.stack([scene.planes[:, rows, columns] for rows, columns in places]),
        np.stack([scene.truth[:, rows, columns] for rows, columns in places]),
    )


def _read(path: Path) -> Iterator[Tiles]:
    if path.exists():
        with np.load(path, allow_pickle=False) as stored:
            yield Tiles(stored["planes"], stored["truth"])


def _changes(raw: RawPair, made: DifferencedPair) -> Truth:
    """Where something changed; unknown around it, and where what changed is too faint."""
    truth = np.zeros(made.science.shape, dtype=np.uint8)
    snr = np.where(np.isfinite(raw.snr), raw.snr, _seen_snr(raw, made))
    places = [(float(x), float(y)) for x, y in raw.changes[:, :2]]
    for x, y in places:
        _disc(truth, x, y, radius=_NEAR_PIX, value=UNKNOWN)
    for (x, y), significance in zip(places, snr, strict=True):
        if significance >= _LEAST_SNR:
            _disc(truth, x, y, radius=_AT_PIX, value=YES)
    return truth


def _seen_snr(raw: RawPair, made: DifferencedPair) -> NDArray[np.float64]:
    """What the score says at each change's place, taken with its sign."""
    ny, nx = made.science.shape
    column = np.clip(np.rint(raw.changes[:, 0]).astype(int), 0, nx - 1)
    row = np.clip(np.rint(raw.changes[:, 1]).astype(int), 0, ny - 1)
    return np.asarray(made.difference.score[row, column] * raw.changes[:, 2], dtype=np.float64)


def _stars(made: DifferencedPair) -> Truth:
    """Where the pipeline itself lists clean stars; other sources are not judged."""
    truth = np.zeros(made.science.shape, dtype=np.uint8)
    stars = made.stars
    order = np.argsort(stars.is_star, kind="stable")
    for i in order:
        is_clear = stars.is_star[i] and stars.snr[i] >= _STAR_SNR
        value = YES if is_clear else UNKNOWN
        _disc(truth, float(stars.x[i]), float(stars.y[i]), radius=0.75 * made.fwhm_pix, value=value)
    return truth


def _disc(truth: Truth, x: float, y: float, *, radius: float, value: int) -> None:
    """Set the pixels within a radius of (x, y) [pix]."""
    ny, nx = truth.shape
    reach = int(np.ceil(radius)) + 1
    top, left = max(round(y) - reach, 0), max(round(x) - reach, 0)
    bottom, right = min(round(y) + reach + 1, ny), min(round(x) + reach + 1, nx)
    if top >= bottom or left >= right:
        return
    rows, columns = np.mgrid[top:bottom, left:right]
    inside = np.hypot(columns - x, rows - y) <= radius
    truth[top:bottom, left:right][inside] = value
