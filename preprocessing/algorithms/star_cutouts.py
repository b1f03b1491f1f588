"""Cutouts around stars and the linear algebra on them: sub-pixel shifts, flux and centre fits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_LANCZOS_ORDER = 5


@dataclass(frozen=True)
class Cutouts:
    """Square cutouts around n stars.

    Attributes
    ----------
    data : NDArray[float64], shape (n, size, size)
        Background-subtracted pixels; 0 where unusable.
    weight : NDArray[float64], shape (n, size, size)
        Inverse variance; 0 where unusable or off the frame.
    column, row : NDArray[int], shape (n,)
        Central pixels.
    """

    data: Float64
    weight: Float64
    column: NDArray[np.intp]
    row: NDArray[np.intp]

    @property
    def half(self) -> int:
        """Pixels from the centre to the edge."""
        return int(self.data.shape[-1] // 2)


def cut(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    *,
    bad: NDArray[np.bool_],
    x: Float64,
    y: Float64,
    half: int,
) -> Cutouts:
    """Cutouts centred on the pixels nearest to positions; pixels off the frame get no weight."""
    ny, nx = data.shape
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    axis = np.arange(-half, half + 1)
    rows = row[:, None, None] + axis[None, :, None]
    columns = column[:, None, None] + axis[None, None, :]
    inside = (rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx)
    rows, columns = np.clip(rows, 0, ny - 1), np.clip(columns, 0, nx - 1)
    good = inside & ~bad[rows, columns] & (variance[rows, columns] > 0)
    values = np.where(good, data[rows, columns], 0.0).astype(np.float64)
    spread = variance[rows, columns].astype(np.float64)
    weight = np.where(good, 1.0 / np.where(good, spread, 1.0), 0.0)
    return Cutouts(values, weight, column, row)


def lanczos_matrices(shift: Float64, size: int) -> Float64:
    """Matrices that move samples on a line by ``shift`` [pix], shape (n, size, size).

    Row i holds the weights with which the samples make the value at ``i - shift``; samples
    outside the line count as zero.
    """
    # a matrix element depends on the distance of row and column alone
    t = np.arange(1 - size, size)[None, :] - np.asarray(shift, dtype=np.float64)[:, None]
    near = np.abs(t) < _LANCZOS_ORDER
    kernel = np.zeros(t.shape)
    kernel[near] = np.sinc(t[near]) * np.sinc(t[near] / _LANCZOS_ORDER)
    axis = np.arange(size)
    matrices: Float64 = kernel[:, axis[:, None] - axis[None, :] + size - 1]
    return matrices


def shift_cutouts(images: Float64, dx: Float64, dy: Float64) -> Float64:
    """Images moved by (dx, dy) [pix], each by its own; shape (n, size, size)."""
    size = images.shape[-1]
    along_x = lanczos_matrices(dx, size)
    along_y = lanczos_matrices(dy, size)
    moved: Float64 = along_y @ images @ np.swapaxes(along_x, -1, -2)
    return moved


@dataclass(frozen=True)
class StarFit:
    """Flux, its error, shift of the centre [pix] and reduced chi-squared of n stars."""

    flux: Float64
    flux_error: Float64
    step_x: Float64
    step_y: Float64
    reduced_chi2: Float64


def fit_flux_and_centre(cutouts: Cutouts, model: Float64, *, model_error: float = 0.0) -> StarFit:
    """One Gauss-Newton step for the flux and the centre of every star at once.

    Parameters
    ----------
    cutouts : Cutouts
        Pixels and inverse variances.
    model : NDArray[float64], shape (n, size, size)
        Unit-flux images of the stars at their current centres.
    model_error : float
        Relative error of the model, so that bright stars are not ruled by a few core pixels.

    Returns
    -------
    StarFit
        Fluxes and the steps by which the centres should move; stars without usable pixels
        have flux 0 and infinite error.
    """
    n = len(model)
    bright = (cutouts.data * cutouts.weight * model).sum(axis=(1, 2))
    norm = (model**2 * cutouts.weight).sum(axis=(1, 2))
    first = np.where(norm > 0, bright / np.where(norm > 0, norm, 1.0), 0.0)
    weight = soften(cutouts.weight, np.abs(first)[:, None, None] * model * model_error)
    slope_y, slope_x = np.gradient(model, axis=(1, 2))
    design = np.stack([model, -slope_x, -slope_y], axis=1).reshape(n, 3, -1)
    flat_weight, flat_data = weight.reshape(n, -1), cutouts.data.reshape(n, -1)
    weighted = design * flat_weight[:, None, :]
    normal = weighted @ design.transpose(0, 2, 1)
    right = (weighted @ flat_data[:, :, None])[..., 0]
    scale = np.trace(normal, axis1=1, axis2=2)
    empty = scale <= 0
    normal[empty] = np.eye(3)
    normal += np.eye(3) * (1e-10 * scale)[:, None, None]
    solution = np.linalg.solve(normal, right[..., None])[..., 0]
    flux = np.where(empty, 0.0, solution[:, 0])
    error = np.where(empty, np.inf, np.sqrt(np.linalg.inv(normal)[:, 0, 0]))
    safe = np.where(flux > 0, flux, np.inf)
    residual = flat_data - (solution[:, None, :] @ design)[:, 0]
    freedom = np.maximum((flat_weight > 0).sum(axis=1) - 3, 1)
    chi2 = (residual**2 * flat_weight).sum(axis=1) / freedom
    step_x = np.clip(solution[:, 1] / safe, -0.5, 0.5)
    step_y = np.clip(solution[:, 2] / safe, -0.5, 0.5)
    return StarFit(flux, error, step_x, step_y, chi2)


def soften(weight: Float64, model_sigma: Float64) -> Float64:
    """Inverse variances after adding a model error [data units] in quadrature."""
    return weight / (1.0 + weight * model_sigma**2)
