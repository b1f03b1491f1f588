"""Smooth maps between two pixel grids: polynomials of position, and their chains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.psf import position_terms

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class PlaneMap:
    """Polynomial map of pixel positions.

    Attributes
    ----------
    coefficients : NDArray[float64], shape (n_terms, 2)
        Of x' and y' over the terms of ``position_terms``.
    order : int
        Order of the polynomial.
    shape : tuple of int
        (ny, nx) of the grid that scales positions to [-1, 1].
    """

    coefficients: Float64
    order: int
    shape: tuple[int, int]

    def __call__(self, x: Float64, y: Float64) -> tuple[Float64, Float64]:
        """Mapped positions."""
        terms = position_terms(np.ravel(x), np.ravel(y), shape=self.shape, order=self.order)
        mapped = terms @ self.coefficients
        return mapped[:, 0].reshape(np.shape(x)), mapped[:, 1].reshape(np.shape(x))


def identity_map(shape: tuple[int, int]) -> PlaneMap:
    """The map that leaves positions where they are."""
    return similarity_map(np.array([1.0 + 0j, 0j]), flipped=False, shape=shape)


def similarity_map(
    parameters: NDArray[np.complex128], *, flipped: bool, shape: tuple[int, int]
) -> PlaneMap:
    """First-order map of a similarity ``w = a z + b``, or ``a conj(z) + b`` where flipped."""
    a, b = complex(parameters[0]), complex(parameters[1])
    sign = -1.0 if flipped else 1.0
    matrix = np.array([[a.real, -sign * a.imag], [a.imag, sign * a.real]])
    return affine_map(matrix, np.array([b.real, b.imag]), shape=shape)


def affine_map(matrix: Float64, offset: Float64, *, shape: tuple[int, int]) -> PlaneMap:
    """First-order map ``matrix @ (x, y) + offset`` in pixels."""
    half = np.array([max(shape[1] - 1, 1), max(shape[0] - 1, 1)]) / 2.0
    coefficients = np.vstack([offset + matrix @ half, (matrix * half).T])
    return PlaneMap(coefficients, 1, shape)


def fit_map(
    x: Float64,
    y: Float64,
    *,
    to_x: Float64,
    to_y: Float64,
    order: int,
    shape: tuple[int, int],
    weight: Float64 | None = None,
) -> PlaneMap:
    """Least-squares polynomial map from (x, y) to (to_x, to_y).

    Parameters
    ----------
    x, y, to_x, to_y : NDArray[float64], shape (n,)
        Matched positions [pix].
    order : int
        Order of the polynomial.
    shape : tuple of int
        (ny, nx) of the grid of (x, y).
    weight : NDArray[float64], shape (n,), optional
        Inverse variance of each match.
    """
    root = np.ones(np.size(x)) if weight is None else np.sqrt(weight)
    terms = position_terms(x, y, shape=shape, order=order) * root[:, None]
    target = np.column_stack([to_x, to_y]) * root[:, None]
    coefficients = np.linalg.lstsq(terms, target, rcond=None)[0]
    return PlaneMap(np.asarray(coefficients, dtype=np.float64), order, shape)


def shift_map(shift: Float64, shape: tuple[int, int]) -> PlaneMap:
    """A pure shift [pix]."""
    parameters = np.array([1.0 + 0j, complex(shift[0], shift[1])])
    return similarity_map(parameters, flipped=False, shape=shape)


def apply_maps(maps: tuple[PlaneMap, ...], x: Float64, y: Float64) -> tuple[Float64, Float64]:
    """Positions carried through a chain of maps."""
    for step in maps:
        x, y = step(x, y)
    return x, y


def frame_grid(shape: tuple[int, int], n: int) -> tuple[Float64, Float64]:
    """Positions of an n x n grid over a frame, edges included, flattened."""
    ny, nx = shape
    x, y = np.meshgrid(np.linspace(0, nx - 1, n), np.linspace(0, ny - 1, n))
    return x.ravel(), y.ravel()


def is_within(
    x: Float64, y: Float64, shape: tuple[int, int], *, margin: float = 0.0
) -> NDArray[np.bool_]:
    """Whether positions lie on a frame grown by ``margin`` [pix]."""
    ny, nx = shape
    inside: NDArray[np.bool_] = (x >= -margin) & (x <= nx - 1 + margin)
    inside &= (y >= -margin) & (y <= ny - 1 + margin)
    return inside


def overlap_of(
    maps: tuple[PlaneMap, ...], shape: tuple[int, int], reference_shape: tuple[int, int]
) -> float:
    """Fraction of a frame that maps onto the reference."""
    ny, nx = shape
    # cell centres: the very edge would count a whole cell for a shift of a tenth of a pixel
    middle = (np.arange(64) + 0.5) / 64.0
    x, y = np.meshgrid(middle * nx - 0.5, middle * ny - 0.5)
    x, y = apply_maps(maps, x.ravel(), y.ravel())
    return float(is_within(x, y, reference_shape).mean())
