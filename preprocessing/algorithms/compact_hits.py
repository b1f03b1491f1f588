"""One to four pixels that hold more light than any star could put into so few."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.masks import BoolArray
from astrid_site.imaging.moffat import Moffat

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]
Index = NDArray[np.intp]

#: The least significance of a compact hit, as a share of that of a single sharp pixel. At 4.5 sigma
#: noise costs some 15 pixels per million; at 5 a hit as bright as a candidate of 6 sigma stays in.
COMPACT_SHARE = 0.75
#: How much sharper and how much more elongated than the PSF a star may be anywhere on a frame.
_SHARPER = 0.88
_ELONGATED = ((0.0, 0.0), (0.2, 0.0), (-0.2, 0.0), (0.0, 0.2), (0.0, -0.2))
#: Beyond all that: what the profile's form does to the comparison.
_MARGIN = 1.05
#: Pixels around a shape to which the PSF is fitted [pix].
_HALF = 3
_RADIUS = 2.6
#: Beside a hit this significance is enough.
_NEAR_SIGMA = 2.5
#: A shape's pixels below this share of their mean, or this many sigma, were not hit.
_LEAST_SHARE = 1.0 / 3.0
_LEAST_PIXEL = 1.5
# mean of the eight neighbours over the pixel; sources spread more light than this, noise little
_SPREAD, _NEAR_SPREAD = 0.6, 0.8

_LINES = ((0, 1), (1, 0), (1, 1), (1, -1))


@dataclass(frozen=True)
class CompactFilters:
    """Shapes of hits and what tells each from a star.

    Attributes
    ----------
    shapes : tuple of tuple of (int, int)
        (dy, dx) of the pixels of each shape.
    weights : NDArray[float32], shape (n_shapes, 49)
        Filters of 7 x 7 pixels with unit noise: zero or less on every star, positive on a hit.
    """

    shapes: tuple[tuple[tuple[int, int], ...], ...]
    weights: FloatArray


def compact_filters(psf: Moffat) -> CompactFilters:
    """Filters that compare pixels, pairs, threes in line and squares with the PSF around them.

    Notes
    -----
    For a shape s the filter is ``1_s - k P``: the light in the shape less the light of a star in
    its middle that fits the pixels within 2.6 pixels. The factor k is the largest that
    ``sum(Q 1_s) / sum(Q P)`` takes for stars Q 12 % narrower than the PSF and elongated by 0.2
    either way, at any place within 1.5 pixels, and 5 %: such stars give zero or less.
    """
    axis = np.arange(-_HALF, _HALF + 1, dtype=np.float64)
    dx, dy = np.meshgrid(axis, axis)
    shapes: list[tuple[tuple[int, int], ...]] = [((0, 0),), ((0, 0), (0, 1), (1, 0), (1, 1))]
    for y, x in _LINES:
        shapes += [((0, 0), (y, x)), ((-y, -x), (0, 0), (y, x))]
    stars = _sharp_stars(psf, dx, dy)
    weights = []
    for shape in shapes:
        y0, x0 = (float(middle) for middle in np.mean(shape, axis=0))
        near = np.hypot(dx - x0, dy - y0) <= _RADIUS
        profile = np.where(near, psf.image(dx - x0, dy - y0), 0.0)
        inside = np.zeros_like(profile)
        for y, x in shape:
            inside[y + _HALF, x + _HALF] = 1.0
        light, fitted = (np.tensordot(stars, part, 2) for part in (inside, profile))
        weight = inside - _MARGIN * float((light / fitted).max()) * profile
        weights.append(weight.ravel() / np.sqrt(np.square(weight).sum()))
    return CompactFilters(tuple(shapes), np.array(weights, dtype=np.float32))


def _sharp_stars(psf: Moffat, dx: Float64, dy: Float64) -> Float64:
    """Stars as sharp as any may be, near the middle, shape (n, 7, 7)."""
    steps = np.linspace(-1.5, 1.5, 13)
    x, y = (grid.ravel()[:, None, None] for grid in np.meshgrid(steps, steps))
    return np.concatenate(
        [
            Moffat(_SHARPER * psf.width, psf.beta, _shear(psf.e1 + e1), _shear(psf.e2 + e2)).image(
                dx - x, dy - y
            )
            for e1, e2 in _ELONGATED
        ]
    )


def _shear(value: float) -> float:
    """A shear that a Moffat can have."""
    return float(np.clip(value, -0.6, 0.6))


def compact_hits(
    data: FloatArray,
    noise: FloatArray,
    trusted: BoolArray,
    *,
    at: Index,
    filters: CompactFilters,
    sigma: float,
    near: bool,
) -> Index:
    """Flat positions of pixels that belong to a shape no star can make.

    Parameters
    ----------
    data, noise : NDArray[float32], shape (ny, nx)
        Background-subtracted pixels and the standard deviation of the sky.
    trusted : NDArray[bool], shape (ny, nx)
        Pixels whose values mean something; a shape with any other around it is not judged, for
        half a star is sharper than a whole one.
    at : NDArray[intp], shape (n,)
        Flat positions to test.
    filters : CompactFilters
        Of the frame's PSF.
    sigma : float
        Least significance.
    near : bool
        Whether the positions touch a hit; 2.5 sigma are then enough.

    Returns
    -------
    NDArray[intp], shape (m,)
        Sorted, trusted, each over 1.5 sigma of the sky; may hold more than ``at``.
    """
    at = _unlike_sources(data, at, spread=_NEAR_SPREAD if near else _SPREAD)
    if at.size == 0:
        return at
    nx = data.shape[1]
    offset = np.arange(-_HALF, _HALF + 1)
    steps = (offset[:, None] * nx + offset).ravel()
    at = at[trusted.ravel()[at[:, None] + steps].all(axis=1)]
    significance = data.ravel()[at[:, None] + steps] @ filters.weights.T
    significance /= noise.ravel()[at][:, None]
    limit = min(sigma, _NEAR_SIGMA) if near else sigma
    found = [
        _members(data, noise, at[significance[:, number] > limit], shape=shape)
        for number, shape in enumerate(filters.shapes)
    ]
    hit = np.unique(np.concatenate(found))
    return hit[trusted.ravel()[hit]]


def _members(
    data: FloatArray, noise: FloatArray, at: Index, *, shape: tuple[tuple[int, int], ...]
) -> Index:
    """Flat positions of the pixels of a shape at ``at`` that have their part in its light."""
    places = np.stack([at + dy * data.shape[1] + dx for dy, dx in shape])
    values = data.ravel()[places]
    least = np.float32(_LEAST_SHARE) * values.mean(axis=0)
    floor = np.float32(_LEAST_PIXEL) * noise.ravel()[places]
    return np.asarray(places[(values > least) & (values > floor)], dtype=np.intp)


def _unlike_sources(data: FloatArray, at: Index, *, spread: float) -> Index:
    """Positions far enough inside whose neighbours are much fainter than they are."""
    ny, nx = data.shape
    rows, columns = np.divmod(at, nx)
    inside = (rows >= _HALF) & (rows < ny - _HALF) & (columns >= _HALF) & (columns < nx - _HALF)
    at = at[inside]
    flat = data.ravel()
    around = np.zeros(at.size, dtype=np.float32)
    for step in (1, -1, nx - 1, nx, nx + 1, 1 - nx, -nx, -nx - 1):
        around += flat[at + step]
    return np.asarray(at[around < np.float32(8.0 * spread) * flat[at]], dtype=np.intp)
