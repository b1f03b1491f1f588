"""The point sources of a frame too coarse to interpolate, resampled by their own profile."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from astrid_site.imaging.continuous_psf import ContinuousPsf, continuous_psf
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import is_bad
from preprocessing.algorithms.registration import Registration

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]
Indices = NDArray[np.intp]

#: PSFs narrower than this [pix] leave ghosts of stars where a Lanczos-3 kernel interpolates them.
WIDEST_PIX = 2.2
#: The same on a grid of finer pixels, and how much finer they must be: there the ghosts lie at
#: frequencies of which the resampled frame has no noise to hide them. With a PSF of 2.3 pixels
#: on pixels half as wide they left a chi2 of 10 at bright stars, and without them 1.
WIDEST_ON_FINER_PIX = 3.2
_FINER = 0.8
#: Significance of the highest pixel of a star whose ghosts matter, and the most that are fitted.
_MIN_PEAK = 10.0
_MAX_STARS = 4000
_BATCH = 500
_ROUNDS = 8
_DAMPING = 0.7
_LEAST_SHARE = 0.2
#: Half width of the pixels that tell flux and place, error granted to the profile, largest step.
_CORE_PIX = 2
_MODEL_ERROR = 0.02
_LARGEST_STEP = 0.3
_STRAY_PIX = 1.2
_SLOPE_PIX = 0.05
_NEWTON_STEPS = 4


@dataclass(frozen=True)
class PointSources:
    """Stars of a frame: places [pix] and fluxes, shape (n,), and the profile they have."""

    x: Float64
    y: Float64
    flux: Float64
    profile: ContinuousPsf

    def __len__(self) -> int:
        return len(self.x)


def find_point_sources(image: Image, *, step: float = 1.0) -> PointSources | None:
    """Fit the profile of a frame to its bright peaks; None where nothing needs it.

    Parameters
    ----------
    image : Image
        Background-subtracted frame.
    step : float
        Width of the pixels onto which it will be resampled, in its own.

    Returns
    -------
    PointSources or None
        None without PSF or variance, with a PSF wide enough to be interpolated, or without peaks.

    Notes
    -----
    What is no star is fitted as one, too: light that the profile does not explain stays in the
    frame and is interpolated as ever.
    """
    widest = WIDEST_ON_FINER_PIX if step < _FINER else WIDEST_PIX
    if image.psf is None or image.variance is None or image.psf.fwhm_pix >= widest:
        return None
    row, column = _peaks(image)
    if len(row) == 0:
        return None
    return _fit(image, continuous_psf(image.psf), row=row, column=column)


def _peaks(image: Image) -> tuple[Indices, Indices]:
    """Rows and columns of the highest significant pixels with good ones around, brightest first."""
    variance = np.asarray(image.variance)
    bad = is_bad(image.mask) | ~(variance > 0)
    sigma = np.sqrt(np.where(bad, np.float32(1), variance))
    data = np.where(bad, np.float32(0), image.data)
    high = (data > _MIN_PEAK * sigma) & (data == ndimage.maximum_filter(data, 3))
    high &= ~ndimage.binary_dilation(bad, np.ones((3, 3)))
    high[:_CORE_PIX], high[-_CORE_PIX:] = False, False
    high[:, :_CORE_PIX], high[:, -_CORE_PIX:] = False, False
    row, column = np.nonzero(high)
    order = np.argsort(-data[row, column], kind="stable")[:_MAX_STARS]
    return row[order], column[order]


def _fit(image: Image, profile: ContinuousPsf, *, row: Indices, column: Indices) -> PointSources:
    """Flux and place of every peak, all others taken off, in a few rounds."""
    x, y = column.astype(np.float64), row.astype(np.float64)
    bad = is_bad(image.mask) | ~(np.asarray(image.variance) > 0)
    offset = np.arange(-_CORE_PIX, _CORE_PIX + 1)
    rows, columns = row[:, None, None] + offset[:, None], column[:, None, None] + offset
    variance = np.asarray(image.variance)[rows, columns].astype(np.float64)
    # by the light of all stars there: pixels that a neighbour rules must not outweigh the core
    variance += np.square(_MODEL_ERROR * image.data[rows, columns])
    weight = np.where(bad[rows, columns], 0.0, 1.0 / np.where(variance > 0, variance, 1.0))
    central = profile.at(x, y, dx=np.zeros((len(x), 1)), dy=np.zeros((len(x), 1)))[:, 0]
    flux = image.data[row, column] / central
    for _ in range(_ROUNDS):
        stars = PointSources(x, y, flux, profile)
        left = image.data - draw(stars, image.shape)
        design = _design(stars, columns=columns, rows=rows)
        data = left[rows, columns] + flux[:, None, None] * design[0]
        step = _solve(design, data, weight=weight)
        # all stars move at once: neighbours that each take all of a shared light would oscillate
        found = np.maximum(step[:, 0], _LEAST_SHARE * flux)
        flux = _DAMPING * found + (1.0 - _DAMPING) * flux
        move = step[:, 1:] / np.maximum(found, 1e-30)[:, None]
        move = _DAMPING * np.clip(move, -_LARGEST_STEP, _LARGEST_STEP)
        x, y = x + move[:, 0], y + move[:, 1]
        stray = np.hypot(x - column, y - row) > _STRAY_PIX
        x, y = np.where(stray, column, x), np.where(stray, row, y)
    kept = ~stray & (flux > 0)
    return PointSources(x[kept], y[kept], flux[kept], profile)


def _design(stars: PointSources, *, columns: Indices, rows: Indices) -> tuple[Float64, ...]:
    """The profile on each star's core, and its derivatives to the star's place."""
    dx = columns - stars.x[:, None, None] + np.zeros(rows.shape)
    dy = rows - stars.y[:, None, None] + np.zeros(columns.shape)

    def value(shift_x: float, shift_y: float) -> Float64:
        return stars.profile.at(stars.x, stars.y, dx=dx - shift_x, dy=dy - shift_y)

    h = _SLOPE_PIX
    along_x = (value(h, 0.0) - value(-h, 0.0)) / (2.0 * h)
    along_y = (value(0.0, h) - value(0.0, -h)) / (2.0 * h)
    return value(0.0, 0.0), along_x, along_y


def _solve(design: tuple[Float64, ...], data: Float64, *, weight: Float64) -> Float64:
    """Flux, and flux times the step in x and y, of each star: shape (n, 3)."""
    n = len(data)
    columns = np.stack(design, axis=-1).reshape(n, -1, 3)
    flat = weight.reshape(n, -1)
    normal = np.einsum("npa,np,npb->nab", columns, flat, columns)
    scale = np.trace(normal, axis1=1, axis2=2) + 1e-30
    normal += 1e-9 * scale[:, None, None] * np.eye(3)
    right = np.einsum("npa,np,np->na", columns, flat, data.reshape(n, -1))
    return np.asarray(np.linalg.solve(normal, right[..., None])[..., 0])


def draw(stars: PointSources, shape: tuple[int, int]) -> FloatArray:
    """The stars on their own frame."""
    return _draw(
        stars,
        shape,
        column=np.rint(stars.x).astype(np.intp),
        row=np.rint(stars.y).astype(np.intp),
        start=(stars.x, stars.y),
        matrices=np.broadcast_to(np.eye(2), (len(stars), 2, 2)),
        half=stars.profile.reach,
    )


def draw_resampled(
    stars: PointSources, registration: Registration, shape: tuple[int, int]
) -> FloatArray:
    """The stars as the samples of their profile at the pixel centres of another grid.

    Their flux is kept: a value is the light in a pixel of the old frame around the new one's
    centre, times the new pixel's area in old ones.
    """
    x, y = _on_new_grid(stars, registration, shape)
    matrices = registration.derivatives(x, y)
    areas = np.abs(np.linalg.det(matrices))
    scale = float(np.sqrt(np.median(areas)))
    return _draw(
        replace(stars, flux=stars.flux * areas),
        shape,
        column=np.rint(x).astype(np.intp),
        row=np.rint(y).astype(np.intp),
        start=(x, y),
        matrices=matrices,
        half=int(np.ceil(stars.profile.reach / scale)),
    )


def _draw(
    stars: PointSources,
    shape: tuple[int, int],
    *,
    column: Indices,
    row: Indices,
    start: tuple[Float64, Float64],
    matrices: Float64,
    half: int,
) -> FloatArray:
    """Add stars at ``start`` to an empty grid whose offsets ``matrices`` turn into the stars'."""
    scene = np.zeros(shape, dtype=np.float64)
    offset = np.arange(-half, half + 1)
    for first in range(0, len(stars), _BATCH):
        part = slice(first, first + _BATCH)
        rows = row[part, None, None] + offset[:, None] + np.zeros_like(offset)
        columns = column[part, None, None] + offset + np.zeros_like(offset)[:, None]
        along_x = columns - start[0][part, None, None]
        along_y = rows - start[1][part, None, None]
        m = matrices[part, :, :, None, None]
        dx = m[:, 0, 0] * along_x + m[:, 0, 1] * along_y
        dy = m[:, 1, 0] * along_x + m[:, 1, 1] * along_y
        values = stars.profile.at(stars.x[part], stars.y[part], dx=dx, dy=dy)
        values *= stars.profile.window(dx, dy) * stars.flux[part, None, None]
        inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        np.add.at(scene, (rows[inside], columns[inside]), values[inside])
    return scene.astype(np.float32)


def _on_new_grid(
    stars: PointSources, registration: Registration, shape: tuple[int, int]
) -> tuple[Float64, Float64]:
    """Places of the stars on the new grid: the map's inverse by Newton's method."""
    x, y = np.full(len(stars), shape[1] / 2.0), np.full(len(stars), shape[0] / 2.0)
    for _ in range(_NEWTON_STEPS):
        there = registration.to_reference(x, y)
        missing = np.stack([stars.x - there[0], stars.y - there[1]], axis=-1)
        step = np.linalg.solve(registration.derivatives(x, y), missing[..., None])[..., 0]
        x, y = x + step[:, 0], y + step[:, 1]
    return x, y
