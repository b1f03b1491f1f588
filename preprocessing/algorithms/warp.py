"""Resample a reference onto the grid of a science frame, with its noise, mask and PSF."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.continuous_psf import ContinuousPsf
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskArray, MaskPlane, is_bad
from astrid_site.imaging.psf import PsfField, measure_fwhm, position_terms
from preprocessing.algorithms.registration import Registration
from preprocessing.algorithms.two_pass import (
    GRID_STEP,
    LineKernel,
    Planes,
    hardly_turns,
    resample_in_two_passes,
)
from preprocessing.algorithms.warp_noise import resampled_correlation
from preprocessing.algorithms.warp_stars import draw, draw_resampled, find_point_sources

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]
Index = NDArray[np.integer]

_LOBES = 3
_NEWTON_STEPS = 4
_PHASES = 1024
_BLOCK_PIXELS = 1 << 16


def warp(
    reference: Image, registration: Registration, *, shape: tuple[int, int], threads: int = 1
) -> Image:
    """Resample a reference onto the pixel grid of a science frame.

    Parameters
    ----------
    reference : Image
        Background-subtracted frame; variance and PSF are carried where present.
    registration : Registration
        Map from science to reference pixels.
    shape : tuple of int
        (ny, nx) of the science frame.
    threads : int
        Parts of the frame resampled at the same time.

    Returns
    -------
    Image
        On the science grid, untouched where the map is the identity. The flux of a point source
        is kept: values are multiplied by the area of a science pixel in reference pixels. The
        variance is the exact variance of each resampled pixel; ``noise_correlation`` tells how
        neighbours are correlated. A pixel
        is flagged with every plane set within the footprint of its kernel; where the footprint
        leaves the reference it is 0 and ``NO_DATA``. The world coordinates are dropped: the
        science frame's hold.

    Notes
    -----
    Positions are exact on a grid of 32 pixels and bilinear between, which is good to under
    0.001 pixel for distortions of any survey camera. The kernel is a separable Lanczos-3,
    stretched by the ratio of the pixel scales where science pixels are coarser, so that nothing
    is aliased. Stars of a PSF that is too narrow for that kernel are resampled by their own profile
    (``warp_stars``). Where the map hardly turns the frame it is applied along rows and then along
    columns (``two_pass``). Cost is linear in the number of pixels.

    References
    ----------
    .. [1] Duchon 1979, J. Appl. Meteor. 18, 1016 (Lanczos filter).
    """
    if registration.is_identity and reference.shape == shape:
        return reference.with_(wcs=None)
    grid_x, grid_y, area = _coarse_grid(registration, shape)
    step = float(np.sqrt(np.median(area)))
    kernel = lanczos_kernel(max(1.0, step))
    columns = _columns_along_rows(reference.shape, registration, shape)
    stars = find_point_sources(reference, step=step)
    bare = reference
    if stars is not None:
        bare = reference.with_(data=reference.data - draw(stars, reference.shape))
    if columns is None:
        planes = _gather_planes(bare, kernel, grid_x, grid_y, area=area, shape=shape)
    else:
        source = Planes(bare.data, reference.variance, reference.mask)
        planes = resample_in_two_passes(
            source, kernel, columns=columns, rows=grid_y, area=area, shape=shape, threads=threads
        )
    if stars is not None:
        light = draw_resampled(stars, registration, shape)
        planes.values[:] += np.where(is_bad(planes.mask, MaskPlane.NO_DATA), np.float32(0), light)
    psf = None
    if reference.psf is not None:
        profile = None if stars is None else stars.profile
        psf = warp_psf(reference.psf, registration, shape=shape, profile=profile)
    nodes = tuple(v.ravel() for v in _node_positions(shape, step=GRID_STEP))
    correlation = resampled_correlation(
        grid_x.ravel(), grid_y.ravel(), registration.derivatives(*nodes), kernel=kernel
    )
    return reference.with_(
        data=planes.values,
        variance=planes.variance,
        mask=planes.mask,
        psf=psf,
        wcs=None,
        noise_correlation=correlation,
    )


def _columns_along_rows(
    reference_shape: tuple[int, int], registration: Registration, shape: tuple[int, int]
) -> Float64 | None:
    """Reference column seen in each reference row and science column, on every 32nd of both.

    None where the map turns the frame too much to be applied along rows and then along columns.
    """
    x, y = _node_positions(shape, step=GRID_STEP)
    if not hardly_turns(registration.derivatives(x.ravel(), y.ravel())):
        return None
    columns, rows = _node_positions((reference_shape[0], shape[1]), step=GRID_STEP)
    # the science row from which each reference row is seen in each science column
    seen = rows.copy()
    for _ in range(_NEWTON_STEPS):
        ahead, here = (registration.to_reference(columns, seen + h)[1] for h in (1.0, 0.0))
        seen -= (here - rows) / (ahead - here)
    return registration.to_reference(columns, seen)[0]


def _gather_planes(
    reference: Image,
    kernel: LineKernel,
    grid_x: Float64,
    grid_y: Float64,
    *,
    area: Float64,
    shape: tuple[int, int],
) -> Planes:
    """Resample by gathering the samples of every pixel, however the map turns the frame."""
    ny, nx = shape
    footprint = _footprint_mask(reference.mask, kernel.reach)
    planes = Planes.empty(shape, with_variance=reference.variance is not None)
    rows_per_block = max(1, _BLOCK_PIXELS // nx)
    for first in range(0, ny, rows_per_block):
        rows = np.arange(first, min(first + rows_per_block, ny))
        x, y = fine(grid_x, rows, nx).ravel(), fine(grid_y, rows, nx).ravel()
        scale = fine(area, rows, nx).ravel().astype(np.float32)
        part = planes.at(slice(first, first + len(rows)))
        taps = _locate(x, y, reference.shape, kernel)
        values = _resample(reference.data, taps, kernel)
        part.values[:] = np.where(taps.inside, values * scale, 0).reshape(-1, nx)
        if part.variance is not None and reference.variance is not None:
            spread = _resample(reference.variance, taps, kernel, squared=True)
            part.variance[:] = np.where(taps.inside, spread * scale**2, 0).reshape(-1, nx)
        flags = footprint.ravel().take(taps.corner)
        flags[~taps.inside] = np.uint16(MaskPlane.NO_DATA)
        part.mask[:] = flags.reshape(-1, nx)
    return planes


def lanczos_kernel(stretch: float) -> LineKernel:
    """Lanczos-3 weights for all phases, ``stretch`` times as wide, each phase of unit sum."""
    reach = int(np.ceil(_LOBES * stretch))
    phase = np.arange(_PHASES + 1)[:, None] / _PHASES
    t = (phase - np.arange(1 - reach, reach + 1)[None, :]) / stretch
    raw = np.where(np.abs(t) < _LOBES, np.sinc(t) * np.sinc(t / _LOBES), 0.0)
    return LineKernel((raw / raw.sum(axis=1, keepdims=True)).astype(np.float32), reach)


def warp_psf(
    psf: PsfField,
    registration: Registration,
    *,
    shape: tuple[int, int],
    profile: ContinuousPsf | None = None,
) -> PsfField:
    """The PSF field of a reference as it is after the reference has been warped.

    Parameters
    ----------
    psf : PsfField
        PSF on the reference grid.
    registration : Registration
        Map from science to reference pixels.
    shape : tuple of int
        (ny, nx) of the science frame.
    profile : ContinuousPsf, optional
        By which the stars were resampled, if they were.

    Returns
    -------
    PsfField
        Field of the same order on the science grid: PSF images of a few positions, resampled by
        the profile or the warp's own kernel through the local linear map, and a polynomial
        through them.
    """
    ny, nx = shape
    n = psf.order + 2 if psf.order else 1
    edge = np.linspace(0.0, 1.0, n) if n > 1 else np.array([0.5])
    x, y = (v.ravel() for v in np.meshgrid(edge * (nx - 1), edge * (ny - 1)))
    matrices = registration.derivatives(x, y)
    areas = np.abs(np.linalg.det(matrices))
    kernel = lanczos_kernel(max(1.0, float(np.sqrt(np.median(areas)))))
    reference_x, reference_y = registration.to_reference(x, y)
    images = psf.at(reference_x, reference_y)
    half = max(3, round((psf.size // 2) / float(np.sqrt(np.median(areas)))))
    if profile is not None:
        warped = _sample_profile(profile, reference_x, reference_y, matrices=matrices, half=half)
    else:
        warped = np.stack(
            [
                _warp_one_psf(image, matrix, half=half, kernel=kernel)
                for image, matrix in zip(images, matrices, strict=True)
            ]
        )
    terms = position_terms(x, y, shape=shape, order=psf.order)
    size = 2 * half + 1
    solution = np.linalg.lstsq(terms, warped.reshape(len(warped), -1), rcond=None)[0]
    field = PsfField(
        solution.reshape(-1, size, size).astype(np.float32), psf.order, shape, 0.0, psf.n_stars
    )
    centre = field.at((nx - 1) / 2.0, (ny - 1) / 2.0)[0]
    return PsfField(field.coefficients, psf.order, shape, measure_fwhm(centre), psf.n_stars)


def _warp_one_psf(image: FloatArray, matrix: Float64, *, half: int, kernel: LineKernel) -> Float64:
    """One PSF image seen through a linear map, unit sum."""
    axis = np.arange(-half, half + 1, dtype=np.float64)
    dx, dy = (v.ravel() for v in np.meshgrid(axis, axis))
    pad = kernel.reach + 1
    padded = np.pad(image, pad)
    centre = image.shape[0] // 2 + pad
    x = matrix[0, 0] * dx + matrix[0, 1] * dy + centre
    y = matrix[1, 0] * dx + matrix[1, 1] * dy + centre
    taps = _locate(x, y, (padded.shape[0], padded.shape[1]), kernel)
    values = np.where(taps.inside, _resample(padded, taps, kernel), 0).astype(np.float64)
    return np.asarray((values / values.sum()).reshape(2 * half + 1, 2 * half + 1))


def _sample_profile(
    profile: ContinuousPsf, x: Float64, y: Float64, *, matrices: Float64, half: int
) -> Float64:
    """PSF images seen through linear maps, unit sum, without interpolation."""
    axis = np.arange(-half, half + 1, dtype=np.float64)
    along_x, along_y = np.meshgrid(axis, axis)
    m = matrices[:, :, :, None, None]
    images = profile.at(
        x,
        y,
        dx=m[:, 0, 0] * along_x + m[:, 0, 1] * along_y,
        dy=m[:, 1, 0] * along_x + m[:, 1, 1] * along_y,
    )
    return np.asarray(images / images.sum(axis=(1, 2), keepdims=True))


@dataclass(frozen=True)
class _Taps:
    """Where the samples of n output pixels lie in the input.

    ``corner`` is the flat index of the floor of the position (0 where outside).
    """

    corner: Index
    phase_x: Index
    phase_y: Index
    inside: NDArray[np.bool_]
    width: int


def _locate(x: Float64, y: Float64, shape: tuple[int, int], kernel: LineKernel) -> _Taps:
    """Samples and phases for positions on a frame of ``shape``."""
    ny, nx = shape
    column, row = np.floor(x), np.floor(y)
    reach = kernel.reach
    inside = (column >= reach - 1) & (column < nx - reach)
    inside &= (row >= reach - 1) & (row < ny - reach)
    phase_x = np.rint((x - column) * _PHASES).astype(np.int32)
    phase_y = np.rint((y - row) * _PHASES).astype(np.int32)
    corner = np.where(inside, row * nx + column, (reach - 1) * (nx + 1)).astype(np.int64)
    return _Taps(corner, phase_x, phase_y, inside, nx)


def _resample(
    source: FloatArray, taps: _Taps, kernel: LineKernel, *, squared: bool = False
) -> FloatArray:
    """Weighted sums of the samples around each output pixel; with squared weights for variances."""
    weights = kernel.weights**2 if squared else kernel.weights
    along_x = [weights[:, k].take(taps.phase_x) for k in range(kernel.taps)]
    along_y = [weights[:, k].take(taps.phase_y) for k in range(kernel.taps)]
    flat = source.ravel()
    start = taps.corner - (kernel.reach - 1) * (taps.width + 1)
    total = np.zeros(taps.corner.size, dtype=np.float32)
    row = np.empty_like(total)
    sample = np.empty_like(total)
    for j in range(kernel.taps):
        row[:] = 0
        for k in range(kernel.taps):
            # wrap does not happen: positions outside point at a valid footprint
            np.take(flat, start + (j * taps.width + k), out=sample, mode="wrap")
            sample *= along_x[k]
            row += sample
        row *= along_y[j]
        total += row
    return total


def fine(grid: Float64, rows: Index, nx: int) -> Float64:
    """Bilinear values of a coarse grid on all pixels of some rows, shape (n_rows, nx)."""
    i, f = rows // GRID_STEP, (rows % GRID_STEP) / GRID_STEP
    lines = grid[i] * (1.0 - f)[:, None] + grid[i + 1] * f[:, None]
    n_cells = -(-nx // GRID_STEP)
    start, step = lines[:, :n_cells, None], np.diff(lines[:, : n_cells + 1])[:, :, None]
    values = start + step * (np.arange(GRID_STEP) / GRID_STEP)
    return np.asarray(values.reshape(len(rows), -1)[:, :nx])


def _nodes(
    registration: Registration, shape: tuple[int, int], *, step: int
) -> tuple[Float64, Float64, Float64]:
    """Reference positions and pixel areas on every ``step``-th pixel, beyond the far edges."""
    x, y = _node_positions(shape, step=step)
    to_x, to_y = registration.to_reference(x, y)
    matrices = registration.derivatives(x.ravel(), y.ravel())
    return to_x, to_y, np.abs(np.linalg.det(matrices)).reshape(x.shape)


def _node_positions(shape: tuple[int, int], *, step: int) -> tuple[Float64, Float64]:
    """Every ``step``-th pixel of a frame, beyond its far edges."""
    ny, nx = shape
    x, y = np.meshgrid(
        np.arange(0, nx + step, step, dtype=np.float64),
        np.arange(0, ny + step, step, dtype=np.float64),
    )
    return x, y


def _coarse_grid(
    registration: Registration, shape: tuple[int, int]
) -> tuple[Float64, Float64, Float64]:
    """Reference x, y and pixel area on the nodes between which the warp interpolates."""
    return _nodes(registration, shape, step=GRID_STEP)


def _footprint_mask(mask: MaskArray, reach: int) -> MaskArray:
    """Union of the mask over the kernel footprint whose floor position is each pixel."""
    ny, nx = mask.shape
    padded = np.pad(mask, (reach - 1, reach))
    along_y = padded[:ny].copy()
    for k in range(1, 2 * reach):
        along_y |= padded[k : k + ny]
    footprint = along_y[:, :nx].copy()
    for k in range(1, 2 * reach):
        footprint |= along_y[:, k : k + nx]
    return footprint
