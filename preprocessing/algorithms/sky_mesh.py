"""A smooth surface through the mean levels of a mesh of boxes, as stiff as their noise allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import CubicSpline

Float64 = NDArray[np.float64]
FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

#: A box with fewer usable pixels than this share of it tells nothing.
_LEAST_SHARE = 0.05
_STIFFNESS = np.logspace(-2, 10, 61)
#: Degrees of freedom count 1.4 times: plain cross-validation follows the noise of few boxes.
_COST = 1.4
_ROUNDS = 60
_CLIP = 6.0
_LEAST_MESH = 5
_CONVERGED = 0.02


@dataclass(frozen=True)
class Mesh:
    """Boxes of nearly one size over a frame.

    Attributes
    ----------
    y_edges, x_edges : NDArray[int]
        First rows and columns of the boxes, and the frame's height and width.
    """

    y_edges: NDArray[np.intp]
    x_edges: NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, int]:
        """Boxes along y and x."""
        return len(self.y_edges) - 1, len(self.x_edges) - 1

    def area(self) -> NDArray[np.intp]:
        """Pixels of each box."""
        return np.asarray(np.diff(self.y_edges)[:, None] * np.diff(self.x_edges))

    def centres(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the pixels in the middle of the boxes."""
        return (self.y_edges[1:] + self.y_edges[:-1]) // 2, (
            self.x_edges[1:] + self.x_edges[:-1]
        ) // 2

    def middles(self) -> tuple[Float64, Float64]:
        """Where the middles of the boxes are, y and x [pix]."""
        y, x = self.y_edges.astype(np.float64), self.x_edges.astype(np.float64)
        return 0.5 * (y[1:] + y[:-1] - 1.0), 0.5 * (x[1:] + x[:-1] - 1.0)

    def scaled(self, shape: tuple[int, int]) -> Mesh:
        """The same boxes on a frame of twice the pixels an axis."""
        y_edges, x_edges = 2 * self.y_edges, 2 * self.x_edges
        y_edges[-1], x_edges[-1] = shape
        return Mesh(y_edges, x_edges)


def lay_mesh(shape: tuple[int, int], box: int) -> Mesh:
    """Boxes of about ``box`` pixels, no narrow one left over at the end."""
    return Mesh(*(_edges(n, box) for n in shape))


def _edges(n_pixels: int, box: int) -> NDArray[np.intp]:
    n = max(1, round(n_pixels / box))
    return np.rint(np.linspace(0, n_pixels, n + 1)).astype(np.intp)


def box_means(
    values: FloatArray, left_out: BoolArray, mesh: Mesh, *, limit: float
) -> tuple[Float64, Float64]:
    """Mean in each box of the usable values within the limit, and their number.

    Parameters
    ----------
    values : NDArray[float32], shape (ny, nx)
        Values that scatter around 0.
    left_out : NDArray[bool], shape (ny, nx)
        Pixels not to use.
    mesh : Mesh
        The boxes.
    limit : float
        Values beyond plus or minus this are left out.

    Returns
    -------
    tuple of NDArray[float64], each of the mesh's shape
        Means (0 in a box that tells nothing) and numbers of values (0 there).
    """
    sums, counts = np.zeros(mesh.shape), np.zeros(mesh.shape)
    columns = mesh.x_edges[:-1]
    for row, (first, last) in enumerate(zip(mesh.y_edges[:-1], mesh.y_edges[1:], strict=True)):
        part = values[first:last]
        used = np.abs(part) < limit
        used &= ~left_out[first:last]
        columns_sum = np.where(used, part, np.float32(0)).sum(axis=0)
        sums[row] = np.add.reduceat(columns_sum, columns, dtype=np.float64)
        counts[row] = np.add.reduceat(np.count_nonzero(used, axis=0), columns)
    counts[counts < _LEAST_SHARE * mesh.area()] = 0.0
    return np.where(counts > 0, sums / np.maximum(counts, 1.0), 0.0), counts


def smooth_mesh(values: Float64, trust: Float64, mesh: Mesh) -> Float64:
    """The smoothest surface through the boxes that their scatter allows.

    Parameters
    ----------
    values : NDArray[float64], shape (n, m)
        Mean level of each box.
    trust : NDArray[float64], shape (n, m)
        0 where nothing is known to 1 where all is.
    mesh : Mesh
        The boxes.

    Returns
    -------
    NDArray[float64], shape (n, m)

    Notes
    -----
    Penalised least squares on second differences, which cost a plane nothing, or on third ones,
    which cost a parabola nothing: the weaker the evidence for curvature, the nearer to those.
    Which, and how stiff, generalised cross-validation says. Boxes that stand out alone from those
    around them do not count.

    References
    ----------
    .. [1] Garcia 2010, Computational Statistics & Data Analysis 54, 1167, equations 8 to 15.
    """
    trust = np.where(_is_alone(values, trust), 0.0, trust)
    known = trust > 0
    if not known.any():
        return values
    # boxes are not quite evenly spaced: what a slope makes of that is taken out before
    slope = _plane(values, known, mesh)
    # third differences leave a strong curvature free up to the border, second ones less noise
    fits = [_stiffened(values - slope, trust, order=order) for order in (2, 3)]
    return slope + min(fits, key=lambda fit: fit.score).level


def _plane(values: Float64, known: BoolArray, mesh: Mesh) -> Float64:
    """The plane through the known boxes."""
    y, x = mesh.middles()
    ny, nx = mesh.y_edges[-1], mesh.x_edges[-1]
    terms = np.stack(np.broadcast_arrays(1.0, y[:, None] / ny, x / nx), axis=-1)
    solution, *_ = np.linalg.lstsq(terms[known], values[known], rcond=None)
    return np.asarray(terms @ solution)


@dataclass(frozen=True)
class _Fit:
    """A smooth surface and its cross-validation score."""

    level: Float64
    score: float


def _stiffened(values: Float64, trust: Float64, *, order: int) -> _Fit:
    """The smooth surface by Garcia's iteration, which starts from the nearest known boxes."""
    known = trust > 0
    nearest = ndimage.distance_transform_edt(~known, return_indices=True)[1]
    level = values[tuple(nearest)]
    (rough_y, along_y), (rough_x, along_x) = (_penalty(n, order) for n in values.shape)
    roughness = rough_y[:, None] + rough_x
    kept = np.ones_like(roughness)
    for _ in range(_ROUNDS):
        modes = along_y.T @ (trust * (values - level) + level) @ along_x
        kept = 1.0 / (1.0 + _stiffness(modes, roughness) * roughness)
        before, level = level, along_y @ (kept * modes) @ along_x.T
        misfit = float(np.abs(trust * (values - level)).mean())
        if float(np.abs(level - before)[known].max()) <= _CONVERGED * misfit:
            break
    power = float((trust * np.square(values - level)).sum())
    return _Fit(level, power / _freedom(kept) ** 2)


def _stiffness(modes: Float64, roughness: Float64) -> float:
    """The stiffness of least generalised cross-validation score."""
    power = np.square(modes)
    scores = [
        float((np.square(1.0 - kept) * power).sum()) / _freedom(kept) ** 2
        for kept in (1.0 / (1.0 + stiffness * roughness) for stiffness in _STIFFNESS)
    ]
    return float(_STIFFNESS[int(np.argmin(scores))])


def _freedom(kept: Float64) -> float:
    """Share of the boxes that is left to tell the noise."""
    return max(1.0 - _COST * float(kept.mean()), 1e-3)


def _penalty(n: int, order: int) -> tuple[Float64, Float64]:
    """Eigenvalues and eigenvectors of the summed squares of differences of n values."""
    order = min(order, max(n - 2, 0))
    differences = np.diff(np.eye(n), n=order, axis=0)
    values, vectors = np.linalg.eigh(differences.T @ differences)
    # polynomials of lower order cost nothing, not the rounding error of nothing
    values[:order] = 0.0
    return values, vectors


def _is_alone(values: Float64, trust: Float64) -> BoolArray:
    """Boxes that differ from the means of the opposite boxes around them, unlike their neighbours.

    A slope cancels in those means, and a curvature is the neighbours' too.
    """
    if min(values.shape) < _LEAST_MESH:
        return np.zeros(values.shape, dtype=np.bool_)
    filled = np.where(trust > 0, values, ndimage.median_filter(values, 3, mode="nearest"))
    # a plane goes on beyond the border
    wide = np.pad(filled, 1, mode="reflect", reflect_type="odd")
    rows, columns = values.shape
    pairs = [
        wide[1 + y : 1 + y + rows, 1 + x : 1 + x + columns]
        + wide[1 - y : 1 - y + rows, 1 - x : 1 - x + columns]
        for y, x in ((0, 1), (1, 0), (1, 1), (1, -1))
    ]
    bump = filled - 0.5 * np.median(pairs, axis=0)
    bump -= ndimage.median_filter(bump, 3, mode="nearest")
    width = 1.4826 * float(np.median(np.abs(bump)))
    return np.asarray(np.abs(bump) > _CLIP * width) & (width > 0)


def spread(levels: Float64, mesh: Mesh) -> FloatArray:
    """The surface on all pixels whose means over the boxes are the given levels.

    Returns
    -------
    NDArray[float32], shape (ny, nx)
        A spline of second degree each axis; no box is extrapolated.
    """
    return next(spread_strips(levels, mesh, height=int(mesh.y_edges[-1])))[1]


def spread_strips(
    levels: Float64, mesh: Mesh, *, height: int
) -> Iterator[tuple[slice, FloatArray]]:
    """The surface of ``spread`` by strips of some rows, and which rows they are."""
    along_y, along_x = _pixel_means(mesh.y_edges).astype(np.float32), _pixel_means(mesh.x_edges)
    # the offset apart: single precision is then that of the surface's relief
    offset = float(np.median(levels))
    relief = ((levels - offset) @ along_x.T).astype(np.float32)
    for first in range(0, len(along_y), height):
        rows = slice(first, min(first + height, len(along_y)))
        surface = along_y[rows] @ relief
        surface += np.float32(offset)
        yield rows, surface


def _pixel_means(edges: NDArray[np.intp]) -> Float64:
    """Means over pixels as sums of means over boxes: the spline through their running sum."""
    widths = np.diff(edges)
    sums = np.vstack([np.zeros(len(widths)), np.cumsum(np.diag(widths.astype(float)), axis=0)])
    return np.diff(CubicSpline(edges, sums)(np.arange(edges[-1] + 1)), axis=0)
