"""Sources put into raw frames, and what share of them the whole pipeline gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import UNUSABLE, is_bad
from astrid_site.imaging.photometry import shift_psf
from astrid_site.imaging.psf import PsfField
from detection.training.canary_rule import Share, wilson

Values = NDArray[np.float64]

#: Sources of one round stand at least so far apart, in FWHM: they must not change the subtraction.
_APART_FWHM = 16.0
#: A place this near a galaxy, in FWHM, is on it; half of the sources are put there.
_ON_HOST_FWHM = 3.0
_TRIES = 60


@dataclass(frozen=True)
class Sources:
    """Sources to be put into one frame; arrays of shape (n,).

    Attributes
    ----------
    x, y : NDArray[float64]
        0-based pixel of the frame.
    magnitude, flux : NDArray[float64]
        AB, and in data units of the frame.
    host_fwhm : NDArray[float64]
        Distance to the nearest galaxy in FWHM; NaN where there is none.
    sky : NDArray[float64]
        Light of the frame at the place, in data units a pixel, sky taken off.
    """

    x: Values
    y: Values
    magnitude: Values
    flux: Values
    host_fwhm: Values
    sky: Values

    def __len__(self) -> int:
        return len(self.x)


def generator_of_round(sha256: str, *, round_number: int, seed: int) -> np.random.Generator:
    """Random numbers that follow from a file's content: the same frame, the same sources."""
    return np.random.default_rng([seed, round_number, int(sha256[:12], 16)])


def draw_sources(
    science: Image,
    galaxies: Values,
    taken: Values,
    *,
    magnitudes: tuple[float, float],
    rng: np.random.Generator,
) -> Sources:
    """Places and magnitudes of one round.

    Parameters
    ----------
    science : Image
        The calibrated frame with PSF, mask and zero point.
    galaxies, taken : NDArray[float64], shape (m, 2)
        Places (x, y) of extended sources; of what must be kept clear.
    magnitudes : tuple of float
        Brightest and faintest, drawn evenly.
    rng : numpy.random.Generator
        Of places and magnitudes.

    Returns
    -------
    Sources
        As many as fit; none where nothing does.

    Raises
    ------
    ValueError
        If the image lacks PSF or zero point.
    """
    psf, zero_point = science.psf, science.zero_point
    if psf is None or zero_point is None:
        msg = "science: sources of known magnitude need the PSF and the zero point"
        raise ValueError(msg)
    ny, nx = science.shape
    margin, fwhm = psf.size // 2 + 1, psf.fwhm_pix
    bad = is_bad(science.mask, UNUSABLE)
    kept: list[Values] = []
    clear = cKDTree(taken) if len(taken) else None
    for _ in range(_TRIES * max(1, int(nx * ny / (_APART_FWHM * fwhm) ** 2))):
        place = _draw_place(galaxies, (nx, ny), fwhm=fwhm, rng=rng)
        inside = margin <= place[0] < nx - margin and margin <= place[1] < ny - margin
        if not inside or bad[round(place[1]), round(place[0])]:
            continue
        if clear is not None and clear.query(place)[0] < 3 * fwhm:
            continue
        if all(np.hypot(*(place - other)) >= _APART_FWHM * fwhm for other in kept):
            kept.append(place)
    x, y = np.array(kept, dtype=np.float64).reshape(-1, 2).T
    magnitude = rng.uniform(*magnitudes, len(x))
    near = cKDTree(galaxies).query(np.column_stack([x, y]))[0] if len(galaxies) else np.nan
    return Sources(
        x,
        y,
        magnitude,
        10 ** (-0.4 * (magnitude - zero_point)),
        np.broadcast_to(np.asarray(near, dtype=np.float64) / fwhm, x.shape).copy(),
        science.data[np.rint(y).astype(int), np.rint(x).astype(int)].astype(np.float64),
    )


def _draw_place(
    galaxies: Values, size: tuple[int, int], *, fwhm: float, rng: np.random.Generator
) -> Values:
    if len(galaxies) and rng.random() < 0.5:
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0, _ON_HOST_FWHM * fwhm)
        chosen = galaxies[rng.integers(len(galaxies))]
        return np.asarray(chosen + distance * np.array([np.cos(angle), np.sin(angle)]))
    return rng.uniform(0, size)


def put_sources(
    raw: Image, sources: Sources, psf: PsfField, *, gain: float | None, rng: np.random.Generator
) -> Image:
    """The raw frame with the sources' light and its photon noise added.

    Parameters
    ----------
    raw : Image
        On the pixel grid and flux scale that the sources were drawn for.
    sources : Sources
        Drawn by ``draw_sources``.
    psf : PsfField
        Of the calibrated frame.
    gain : float or None
        Electrons per data unit; None adds the light without noise of its own.
    rng : numpy.random.Generator
        Of the photons.
    """
    data, half = raw.data.copy(), psf.size // 2
    for x, y, flux in zip(sources.x, sources.y, sources.flux, strict=True):
        column, row = round(float(x)), round(float(y))
        stamp = shift_psf(psf.at(float(x), float(y)), np.array([x - column]), np.array([y - row]))[
            0
        ]
        light = flux * stamp.astype(np.float64)
        if gain is not None and gain > 0:
            light = rng.poisson(np.maximum(light, 0.0) * gain) / gain + np.minimum(light, 0.0)
        rows, columns = slice(row - half, row + half + 1), slice(column - half, column + half + 1)
        data[rows, columns] += light.astype(np.float32)
    return raw.with_(data=data)


@dataclass(frozen=True)
class Completeness:
    """Share found of the sources of one bin, with its 95 % interval."""

    low: float
    high: float
    n: int
    n_found: int
    share: Share


def completeness(
    values: Values, found: NDArray[np.bool_], edges: Sequence[float]
) -> list[Completeness]:
    """Share found between successive edges; bins without a source are left out.

    Parameters
    ----------
    values : NDArray[float64], shape (n,)
        Magnitude, distance, brightness; NaN is left out.
    found : NDArray[bool], shape (n,)
        Whether each came out at the end.
    edges : sequence of float
        Rising.
    """
    bins = []
    for low, high in pairwise(edges):
        inside = (values >= low) & (values < high)
        n, n_found = int(inside.sum()), int((inside & found).sum())
        if n:
            bins.append(Completeness(low, high, n, n_found, wilson(n_found, n)))
    return bins
