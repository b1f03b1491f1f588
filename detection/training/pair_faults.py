"""What is put into raw frames: changes of known truth, and faults that no mask tells of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import UNUSABLE, is_bad
from astrid_site.imaging.photometry import shift_psf
from astrid_site.imaging.psf import PsfField
from astrid_site.imaging.sky_pair import PairConfig, simulate_pair
from detection.training.pair_chain import RawPair, as_delivered
from preprocessing.algorithms.preprocess import preprocess_image

Values = NDArray[np.float64]
#: Relative changes of so many stars.
DrawChange = Callable[[np.random.Generator, int], Values]

#: A simulated transient below this ideal S/N is none that anybody could find.
_MIN_TRUE_SNR = 3.0
#: Stars that are made to vary have at least this S/N.
_MIN_STAR_SNR = 40.0


def simulate_raw_pair(config: PairConfig, *, is_swapped: bool) -> tuple[RawPair, PsfField]:
    """Two frames with transients, which fade where the frames are swapped; and the later's PSF."""
    made = simulate_pair(config)
    clear = made.truth[np.asarray(made.truth["snr_ideal"]) >= _MIN_TRUE_SNR]
    earlier, later, psf, names, sign = made.reference, made.science, made.science_psf, "", 1.0
    if is_swapped:
        earlier, later, psf = later, earlier, made.reference_psf
        names, sign = "_reference", -1.0
    x, y = (np.asarray(clear[axis + names], dtype=np.float64) for axis in ("x", "y"))
    new = ["transient on host" if host == "galaxy" else "transient" for host in clear["host"]]
    kinds = ["fading"] * len(new) if is_swapped else new
    changes = np.column_stack([x, y, np.full(len(x), sign)])
    snr = np.asarray(clear["snr_difference"], dtype=np.float64)
    return RawPair(earlier, later, changes, kinds, snr), psf


def vary_stars(
    pair: RawPair, psf: PsfField, rng: np.random.Generator, *, n_stars: int, draw: DrawChange
) -> RawPair:
    """Change clean stars of the later frame, up or down, by shares of their flux."""
    if n_stars == 0:
        return pair
    stars = preprocess_image(as_delivered(pair.later)).stars
    inside = _inside(pair.later, stars.x, stars.y, margin=psf.size // 2 + 1)
    usable = np.flatnonzero(stars.is_star & inside & (stars.snr > _MIN_STAR_SNR))
    chosen = rng.choice(usable, size=min(n_stars, len(usable)), replace=False)
    change = draw(rng, len(chosen))
    x, y = stars.x[chosen], stars.y[chosen]
    data = _add_sources(pair.later.data, psf, x=x, y=y, flux=change * stars.flux[chosen])
    return RawPair(
        pair.earlier,
        pair.later.with_(data=data),
        np.concatenate([pair.changes, np.column_stack([x, y, np.sign(change)])]),
        [*pair.kinds, *["variable"] * len(chosen)],
        np.concatenate([pair.snr, np.full(len(chosen), np.nan)]),
    )


def inject_sources(
    earlier: Image, image: Image, rng: np.random.Generator, *, n_sources: int
) -> RawPair:
    """Put sources of S/N 5 to 150 into a later frame, on blank sky and beside what is there.

    Those that would fall on masked pixels are left out; the significance in the difference is
    unknown, since the earlier frame's noise is.

    Raises
    ------
    AlgorithmError
        If preprocessing finds no PSF to put in.
    """
    done = preprocess_image(image)
    variance, psf = done.image.variance, done.image.psf
    if variance is None or psf is None:
        msg = "the preprocessed frame has no variance or no PSF to put sources in with"
        raise ValueError(msg)
    ny, nx = image.shape
    margin = psf.size // 2 + 1
    x = rng.uniform(margin, nx - margin, n_sources)
    y = rng.uniform(margin, ny - margin, n_sources)
    near = rng.random(n_sources) < 0.5
    if len(done.stars):
        chosen = rng.integers(0, len(done.stars), n_sources)
        offset = rng.normal(0.0, 3.0, (2, n_sources))
        x = np.where(near, done.stars.x[chosen] + offset[0], x)
        y = np.where(near, done.stars.y[chosen] + offset[1], y)
    free = _inside(image, x, y, margin=margin)
    x, y, near = x[free], y[free], near[free]
    free = ~is_bad(done.image.mask, UNUSABLE)[np.rint(y).astype(int), np.rint(x).astype(int)]
    x, y, near = x[free], y[free], near[free]
    stamp = psf.at(nx / 2.0, ny / 2.0)
    noise = np.sqrt(
        variance[np.rint(y).astype(int), np.rint(x).astype(int)] / float(np.sum(stamp**2))
    )
    flux = noise * np.exp(rng.uniform(np.log(5.0), np.log(150.0), len(x)))
    data = _add_sources(image.data, psf, x=x, y=y, flux=flux)
    kinds = ["transient on host" if n else "transient" for n in near]
    changes = np.column_stack([x, y, np.ones(len(x))])
    return RawPair(earlier, image.with_(data=data), changes, kinds, np.full(len(x), np.nan))


def warm_columns(image: Image, rng: np.random.Generator, *, n_columns: int) -> Image:
    """Raise columns by half to three times the sky's noise over part of their length."""
    ny, nx = image.shape
    data, noise = image.data.copy(), _noise(image)
    for column in rng.choice(nx, size=n_columns, replace=False):
        start = int(rng.integers(0, ny // 2))
        data[start:, column] += np.float32(noise * rng.uniform(0.5, 3.0))
    return image.with_(data=data)


def hot_pixels(image: Image, rng: np.random.Generator, *, n_pixels: int, noise: float) -> Image:
    """Single pixels too high or, fewer, too low by 6 to 80 times a noise."""
    ny, nx = image.shape
    data = image.data.copy()
    rows, columns = rng.integers(0, ny, n_pixels), rng.integers(0, nx, n_pixels)
    depth = np.exp(rng.uniform(np.log(6.0), np.log(80.0), n_pixels))
    sign = np.where(rng.random(n_pixels) < 0.7, 1.0, -1.0)
    data[rows, columns] = np.maximum(data[rows, columns] + noise * sign * depth, 0.0)
    return image.with_(data=data)


def spoil(image: Image, rng: np.random.Generator, *, n_columns: int, n_pixels: int) -> Image:
    """Warm columns, and hot and dead pixels."""
    warm = warm_columns(image, rng, n_columns=n_columns)
    return hot_pixels(warm, rng, n_pixels=n_pixels, noise=_noise(image))


def _noise(image: Image) -> float:
    """Upper half-width of the lower pixels: the noise, since sources widen only the other side."""
    low, middle = np.percentile(image.data, [15.865, 50.0])
    return float(middle - low)


def _inside(image: Image, x: Values, y: Values, *, margin: int) -> NDArray[np.bool_]:
    ny, nx = image.shape
    return (x > margin) & (x < nx - 1 - margin) & (y > margin) & (y < ny - 1 - margin)


def _add_sources(
    data: NDArray[np.float32], psf: PsfField, *, x: Values, y: Values, flux: Values
) -> NDArray[np.float32]:
    """Add point sources to a copy."""
    data = data.copy()
    half = psf.size // 2
    for cx, cy, total in zip(x, y, flux, strict=True):
        ix, iy = round(float(cx)), round(float(cy))
        stamp = shift_psf(psf.at(float(cx), float(cy)), np.array([cx - ix]), np.array([cy - iy]))
        rows, columns = slice(iy - half, iy + half + 1), slice(ix - half, ix + half + 1)
        data[rows, columns] += np.float32(total) * stamp[0]
    return data
