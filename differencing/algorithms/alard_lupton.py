"""The classic matching kernel: a few Gaussians times polynomials, fitted by least squares."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from differencing.algorithms.kernel_equations import Equations, StampPlanes, build_equations
from differencing.algorithms.kernel_solver import count_terms
from differencing.algorithms.psf_matching import KernelField, order_of_rejection
from differencing.algorithms.stamps import StarPositions

Tensor = torch.Tensor
FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]

#: Degrees of the polynomials on the narrow, the middle and the wide Gaussian.
DEGREES = (6, 4, 2)
#: Their widths, in units of the one Gaussian that comes closest to the kernel.
_WIDTHS = (0.5, 1.0, 2.0)
#: That Gaussian's least sigma [pix]: a narrower one is a single pixel.
_LEAST_SIGMA = 1.4
#: Fewest stars for each order of variation across the frame: 49, 145 and 289 numbers are fitted.
_STARS_FOR_ORDER = (0, 12, 40)
_MAX_ITERATIONS = 4
_CLIP_SIGMA = 3.0
#: Share of chi2 that each order of variation must gain.
_LEAST_GAIN = 0.001
#: Of the matrix scaled to a unit diagonal: the functions of a basis resemble each other.
_RIDGE = 1e-7


def fit_gaussian_kernel(
    planes: StampPlanes,
    positions: StarPositions,
    *,
    kernel_half_width: int,
    stamp_half_width: int,
    spatial_order: int | None,
    max_spatial_order: int = 2,
    min_stars: int = 5,
    expected: FloatArray,
) -> KernelField:
    """Fit the kernel of Alard & Lupton that minimises ``fixed - K * moving - constant``.

    Parameters
    ----------
    planes : StampPlanes
        Images and variances.
    positions : StarPositions
        Stars; near an edge only the pixels inside the frame count.
    kernel_half_width, stamp_half_width : int
        Half widths of the kernel and of the pixels compared [pix].
    spatial_order : int, optional
        Order of the variation; chosen by cross-validation up to ``max_spatial_order`` when None.
    max_spatial_order : int
        Highest order tried, at most 2.
    min_stars : int
        Fewest stars.
    expected : NDArray[float32], shape (n_terms, size, size)
        The kernel that the two measured PSFs imply. Only the width of its first term is used, to
        choose those of the Gaussians.

    Returns
    -------
    KernelField
        The kernel, with strength 0 as nothing is regularised.

    Raises
    ------
    AlgorithmError
        With fewer stars than ``min_stars``, or if the kernel is not positive; carries ``n_stars``
        and ``n_required``, or ``flux_ratio``.

    Notes
    -----
    The basis is that of [1]_ eq. 3: ``exp(-r^2 / 2 s^2) x^i y^j`` with i + j up to 6, 4 and 2 for
    three widths s in the ratio 1 : 2 : 4 around that of the kernel. As in [2]_ eqs. 5-8 all
    functions but the first have sum 0 and vary across the frame, so that the flux ratio is one
    number. Stars whose chi2 stands out are left out, and each star's weight is bounded. Noise of
    the moving image is left in the normal matrix, as in the papers.

    References
    ----------
    .. [1] Alard & Lupton 1998, ApJ 503, 325.
    .. [2] Alard 2000, A&AS 144, 363.
    """
    if len(positions) < min_stars:
        msg = f"only {len(positions)} usable stars to match the images, {min_stars} needed"
        raise AlgorithmError(msg, n_stars=len(positions), n_required=min_stars)
    power = float(np.square(expected[0] / expected[0].sum()).sum())
    basis = gaussian_basis(kernel_half_width, sigma_pix=1.0 / math.sqrt(4.0 * math.pi * power))
    highest = max_spatial_order if spatial_order is None else spatial_order
    equations = build_equations(
        planes,
        positions,
        kernel_half_width=kernel_half_width,
        stamp_half_width=stamp_half_width,
        order=highest,
        kernel_power=power,
    )
    projected = _project(equations, torch.from_numpy(basis).to(equations.a.device))
    keep = torch.ones(len(positions), dtype=torch.bool, device=projected.a.device)
    first = order_of_rejection(_orders(len(positions), highest), n_stars=len(positions))
    keep = _reject(projected, keep, order=first, least=min_stars)
    order = highest if spatial_order is not None else _choose_order(projected, keep, highest)
    keep = _reject(projected, keep, order=order, least=min_stars)
    solution = _solve(projected, keep, order=order)
    kernel = KernelField(
        coefficients=_images(solution, basis),
        order=order,
        shape=(int(planes.fixed.shape[0]), int(planes.fixed.shape[1])),
        strength=0.0,
        n_stars=int(keep.sum()),
        n_rejected=int((~keep).sum()),
        chi2=float(_chi2(projected, solution)[keep].median()),
    )
    ratio = float(kernel.term_sums[0])
    if not ratio > 0:
        msg = f"the two images do not match: the kernel's flux ratio is {ratio:.3g}"
        raise AlgorithmError(msg, flux_ratio=ratio)
    return kernel


def gaussian_basis(half_width: int, *, sigma_pix: float) -> Float64:
    """Functions of which a kernel is composed, the first of sum 1, the others of sum 0.

    Parameters
    ----------
    half_width : int
        Half width of the kernel [pix].
    sigma_pix : float
        Width of the Gaussian that comes closest to the kernel [pix].

    Returns
    -------
    NDArray[float64], shape (49, size * size)
        The first has unit sum, the others unit length.
    """
    offset = np.arange(-half_width, half_width + 1, dtype=np.float64)
    y, x = (grid.ravel() for grid in np.meshgrid(offset, offset, indexing="ij"))
    rows: list[Float64] = []
    for width, degree in zip(_WIDTHS, DEGREES, strict=True):
        sigma = width * max(sigma_pix, _LEAST_SIGMA)
        u, v = x / sigma, y / sigma
        gauss = np.exp(-0.5 * (u**2 + v**2))
        rows += [u**i * v**j * gauss for i in range(degree + 1) for j in range(degree + 1 - i)]
    first = rows[0] / rows[0].sum()
    others = np.array([row - row.sum() * first for row in rows[1:]])
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    return np.vstack([first, others])


@dataclass(frozen=True)
class _Projected:
    """Each star's equations in the functions of the basis: chi2 = c - 2 p b + p A p."""

    a: Tensor
    b: Tensor
    c: Tensor
    n_pixels: Tensor
    terms: Tensor
    whole: Equations


def _project(equations: Equations, basis: Tensor) -> _Projected:
    # matrices are float32: one at a time becomes float64, for all would be twice the memory
    a = torch.stack([basis @ star.double() @ basis.T for star in equations.a])
    return _Projected(
        a=a,
        b=equations.b.double() @ basis.T,
        c=equations.c.double(),
        n_pixels=equations.n_pixels,
        terms=equations.terms.double(),
        whole=equations,
    )


def _orders(n_stars: int, highest: int) -> list[int]:
    return [n for n in range(min(highest, 2) + 1) if n_stars >= _STARS_FOR_ORDER[n]]


def _solve(equations: _Projected, keep: Tensor, *, order: int) -> Tensor:
    """Coefficients (n_terms, n_functions), the first function's of the constant term alone."""
    n_terms, n_functions = count_terms(order), equations.b.shape[1]
    terms = equations.terms[:, :n_terms]
    weighted = terms * equations.whole.influence(keep).double()[:, None]
    matrix = torch.einsum("si,sj,skl->ikjl", weighted, terms, equations.a)
    right = torch.einsum("si,sk->ik", weighted, equations.b).reshape(-1)
    size = n_terms * n_functions
    matrix = matrix.reshape(size, size)
    free = torch.ones(size, dtype=torch.bool, device=matrix.device)
    free[n_functions::n_functions] = False
    inner = matrix[free][:, free]
    scale = torch.diagonal(inner).clamp(min=1e-300).rsqrt()
    scaled = inner * scale[:, None] * scale
    scaled += _RIDGE * torch.eye(len(scaled), dtype=scaled.dtype, device=scaled.device)
    solution = right.new_zeros(size)
    solution[free] = scale * torch.linalg.solve(scaled, scale * right[free])
    return solution.reshape(n_terms, n_functions)


def _chi2(equations: _Projected, solution: Tensor) -> Tensor:
    """Reduced chi2 of each star's cutout."""
    own = equations.terms[:, : len(solution)] @ solution
    moved = torch.einsum("skl,sl->sk", equations.a, own)
    total = equations.c - 2.0 * (own * equations.b).sum(dim=1) + (own * moved).sum(dim=1)
    reduced: Tensor = total / equations.n_pixels.clamp(min=1)
    return reduced


def _reject(equations: _Projected, keep: Tensor, *, order: int, least: int) -> Tensor:
    """Stars kept after iterative rejection of those with an outlying chi2."""
    for _ in range(_MAX_ITERATIONS):
        chi2 = _chi2(equations, _solve(equations, keep, order=order))
        middle = chi2[keep].median()
        spread = 1.4826 * (chi2[keep] - middle).abs().median()
        # the brightest stars show the model's own error: less than twice the median is no outlier
        fresh = chi2 < middle + torch.maximum(_CLIP_SIGMA * spread, middle)
        if int(fresh.sum()) < least or bool((fresh == keep).all()):
            break
        keep = fresh
    return keep


def _choose_order(equations: _Projected, keep: Tensor, highest: int) -> int:
    """Order of the variation that best predicts stars left out of the fit."""
    orders = _orders(int(keep.sum()), highest)
    if len(orders) == 1:
        return orders[0]
    return min(orders, key=lambda n: _held_out_chi2(equations, keep, n) + _LEAST_GAIN * n)


def _held_out_chi2(equations: _Projected, keep: Tensor, order: int) -> float:
    """Mean logarithm of the reduced chi2 of each half of the stars, predicted from the other."""
    half = torch.arange(len(keep), device=keep.device) % 2 == 0
    parts = []
    for left_out in (half, ~half):
        chi2 = _chi2(equations, _solve(equations, keep & ~left_out, order=order))
        parts.append(chi2[keep & left_out].clamp(min=1e-3).log())
    return float(torch.cat(parts).mean())


def _images(solution: Tensor, basis: Float64) -> FloatArray:
    size = math.isqrt(basis.shape[1])
    images = (solution.cpu().numpy() @ basis).reshape(-1, size, size)
    return np.asarray(images, dtype=np.float32)
