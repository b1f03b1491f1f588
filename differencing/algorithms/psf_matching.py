"""The kernel that turns one image's PSF into the other's, fitted to stars over the frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.psf import position_terms
from differencing.algorithms.kernel_equations import Equations, StampPlanes, build_equations
from differencing.algorithms.stamps import StarPositions

Tensor = torch.Tensor
FloatArray = NDArray[np.float32]

#: Strengths of the regularisation among which cross-validation chooses.
_STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
#: Fewest stars for a spatial order to be tried; cross-validation decides.
_STARS_FOR_ORDER = {0: 0, 1: 6, 2: 24, 3: 60}
_MAX_ITERATIONS = 4
_CLIP_SIGMA = 4.0
#: Excess chi2 of a star, in units of what the model's error is expected to leave of it.
_MAX_EXCESS = 5.0
#: Fewer stars than this cannot tell the model's error from one bright star that moves.
_MANY_STARS = 24
#: So many stars are predicted from the other half of them, fewer from two thirds.
_MANY_TO_HALVE = 60
#: Information, in units of the median star's, of a star that counts half in the choice of model.
_WEIGHTY = 5.0


@dataclass(frozen=True)
class KernelField:
    """A delta-basis kernel whose pixels vary as polynomials of position.

    Attributes
    ----------
    coefficients : NDArray[float32], shape (n_terms, size, size)
        Kernel image of each polynomial term of ``position_terms``.
    order : int
        Order of the polynomial.
    shape : tuple of int
        (ny, nx) of the frame.
    strength : float
        Regularisation strength used.
    n_stars, n_rejected : int
        Stars kept and rejected by the fit.
    chi2 : float
        Median reduced chi2 of the kept stars' cutouts.
    """

    coefficients: FloatArray
    order: int
    shape: tuple[int, int]
    strength: float
    n_stars: int
    n_rejected: int
    chi2: float

    def at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> FloatArray:
        """Kernels at positions of shape (n,): images of shape (n, size, size)."""
        terms = position_terms(x, y, shape=self.shape, order=self.order).astype(np.float32)
        return np.asarray(np.einsum("nk,kij->nij", terms, self.coefficients), dtype=np.float32)

    @property
    def term_sums(self) -> NDArray[np.float64]:
        """Sum of each term's kernel: the flux ratio as a polynomial of position."""
        return np.asarray(self.coefficients.sum(axis=(1, 2), dtype=np.float64))


def fit_kernel(
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
    """Fit the spatially varying kernel K that minimises ``fixed - K * moving - constant``.

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
        Highest order tried.
    min_stars : int
        Fewest stars.
    expected : NDArray[float32], shape (n_terms of the highest order tried, size, size)
        The kernel that the two measured PSFs imply, of unit sum, as polynomial terms.

    Returns
    -------
    KernelField
        The kernel with the number of stars kept and rejected.

    Raises
    ------
    AlgorithmError
        With fewer stars than ``min_stars``, or if the kernel is not positive; carries ``n_stars``
        and ``n_required``, or ``flux_ratio``.

    Notes
    -----
    A free constant per cutout absorbs the local difference of the backgrounds. The kernel's
    departure from the one that the PSFs imply is regularised by its curvature and its size;
    strength and spatial order are those which best predict stars left out of the fit, so that a
    dozen faint stars yield the PSFs' kernel and hundreds overrule it. Cutouts that
    do not fit (variables, blends with a transient) are rejected iteratively.

    References
    ----------
    .. [1] Alard & Lupton 1998, ApJ 503, 325 (least squares matching); Alard 2000, A&AS 144, 363
       (spatial variation).
    .. [2] Bramich 2008, MNRAS 386, L77 (delta basis); Becker et al. 2012, MNRAS 425, 1341
       (regularisation).
    """
    _require_stars(len(positions), min_stars)
    size = 2 * kernel_half_width + 1
    equations = build_equations(
        planes,
        positions,
        kernel_half_width=kernel_half_width,
        stamp_half_width=stamp_half_width,
        order=max_spatial_order if spatial_order is None else spatial_order,
        kernel_power=float(np.square(expected[0]).sum()),
    )
    penalty = _penalty(kernel_half_width, device=str(planes.fixed.device))
    prior = torch.from_numpy(expected.reshape(len(expected), -1)).double().to(penalty.device)
    orders = _orders(len(positions), fixed=spatial_order, highest=max_spatial_order)
    # the richest model rejects: bright stars that a simpler one cannot fit are what calls for it;
    # among few stars it would bend to the one that moved
    first = orders[-1] if len(positions) >= _MANY_STARS else orders[0]
    rich = _Solver(penalty=penalty, prior=prior, n_terms=_n_terms(first), strength=_STRENGTHS[2])
    keep = _reject(equations, rich, min_stars=min_stars, sigma=2 * _CLIP_SIGMA)
    order, strength = _choose_model(equations.select(keep), rich, orders=orders)
    solver = replace(rich, n_terms=_n_terms(order), strength=strength)
    keep = _reject(equations, solver, min_stars=min_stars, sigma=_CLIP_SIGMA)
    solution = solver.solve(solver.sum_up(equations, keep))
    chi2 = solver.chi2(equations, solution)
    kernel = KernelField(
        coefficients=solution.reshape(-1, size, size).cpu().numpy().astype(np.float32),
        order=order,
        shape=(int(planes.fixed.shape[0]), int(planes.fixed.shape[1])),
        strength=strength,
        n_stars=int(keep.sum()),
        n_rejected=int((~keep).sum()),
        chi2=float(chi2[keep].median()),
    )
    ratio = float(kernel.term_sums[0])
    if not ratio > 0:
        msg = f"the two images do not match: the kernel's flux ratio is {ratio:.3g}"
        raise AlgorithmError(msg, flux_ratio=ratio)
    return kernel


def _require_stars(n_stars: int, n_required: int) -> None:
    if n_stars < n_required:
        msg = f"only {n_stars} usable stars to match the images, {n_required} needed"
        raise AlgorithmError(msg, n_stars=n_stars, n_required=n_required)


def _n_terms(order: int) -> int:
    return (order + 1) * (order + 2) // 2


def _order_of(n_terms: int) -> int:
    return (math.isqrt(8 * n_terms + 1) - 3) // 2


def _penalty(half_width: int, *, device: str) -> Tensor:
    """Quadratic form that dislikes curvature, less so in the core, and flux in the wings."""
    size = 2 * half_width + 1
    offset = np.arange(size) - half_width
    radius = np.hypot(offset[:, None], offset[None, :])
    identity = np.eye(size)
    second = 2 * identity - np.eye(size, k=1) - np.eye(size, k=-1)
    laplacian = np.kron(second, identity) + np.kron(identity, second)
    # the core of a kernel may be as sharp as a shift or a delta; only its skirt must be smooth
    smoothness = (1.0 - np.exp(-0.5 * (radius / 1.5) ** 2) + 0.02).ravel()
    size_limit = 0.01 + 0.1 * (radius / half_width).ravel() ** 2
    form = laplacian.T @ (smoothness[:, None] * laplacian) + np.diag(size_limit)
    return torch.from_numpy(form).to(device)


def _derivatives(kernel: Tensor) -> list[Tensor]:
    """First and second derivatives of a flattened kernel: shifts, widths and elongations."""
    size = round(len(kernel) ** 0.5)
    image = kernel.reshape(size, size).cpu().numpy()
    along_y, along_x = np.gradient(image)
    second_yy, second_yx = np.gradient(along_y)
    second_xx = np.gradient(along_x, axis=1)
    images = (along_x, along_y, second_xx, second_yx, second_yy)
    return [torch.from_numpy(np.ascontiguousarray(part).ravel()) for part in images]


@dataclass(frozen=True)
class _Sums:
    """Equations summed over stars: the normal matrix, its right side, and the kernel expected."""

    matrix: Tensor
    right: Tensor
    expected: Tensor


@dataclass(frozen=True)
class _Solver:
    """Solves the summed equations of a set of stars for one model."""

    penalty: Tensor
    prior: Tensor
    n_terms: int
    strength: float

    def sum_up(self, equations: Equations, keep: Tensor) -> _Sums:
        """Sum the equations of the stars kept; the same for every strength."""
        terms = equations.terms[:, : self.n_terms]
        j, m = self.n_terms, equations.a.shape[1]
        weighted = terms * equations.influence(keep)[:, None]
        # the matrix is symmetric in the two terms: each pair once
        first, second = torch.tril_indices(j, j, device=terms.device)
        products = weighted[:, first] * terms[:, second]
        pairs = (products.T.float() @ equations.a.reshape(len(terms), -1)).reshape(-1, m, m)
        matrix = terms.new_empty(j, m, j, m)
        matrix[first, :, second] = pairs.double()
        matrix[second, :, first] = pairs.double()
        matrix = matrix.reshape(j * m, j * m)
        right = (weighted.T @ equations.b.double()).reshape(-1)
        return _Sums(matrix, right, self._expected(matrix, right).reshape(-1))

    def solve(self, sums: _Sums) -> Tensor:
        """Kernel of each term, shape (n_terms, M), float64.

        The free pixels vary one order less than the modes of ``_expected``: across the frame a
        kernel changes smoothly, and the highest order's pixels would only fit noise.
        """
        matrix, expected = sums.matrix, sums.expected.clone()
        m = self.prior.shape[1]
        scale = torch.diagonal(matrix)[:m].mean() * self.strength
        free = m * _n_terms(max(0, _order_of(self.n_terms) - 1))
        block = matrix[:free, :free].clone()
        for start in range(0, free, m):
            # variation across the frame is expected to be smaller than the kernel itself
            part = slice(start, start + m)
            block[part, part] += scale * (1.0 if start == 0 else 3.0) * self.penalty
        missing = (sums.right - matrix @ expected)[:free]
        expected[:free] += torch.linalg.solve(block, missing)
        solution: Tensor = expected.reshape(self.n_terms, m)
        return solution

    def _expected(self, matrix: Tensor, right: Tensor) -> Tensor:
        """The PSFs' kernel with the flux ratio, shift and width that fit the stars best.

        Found by unpenalised least squares in a few smooth modes: a registration error or a
        change of seeing since the PSFs were measured must not cost a penalty.
        """
        modes = self._modes()
        projected = modes @ matrix @ modes.T
        ridge = 1e-9 * torch.diagonal(projected).mean()
        projected = projected + ridge * torch.eye(
            len(modes), dtype=matrix.dtype, device=matrix.device
        )
        solution = torch.linalg.solve(projected, modes @ right)
        kernels: Tensor = (solution @ modes).reshape(self.n_terms, -1)
        return kernels

    def _modes(self) -> Tensor:
        """The PSFs' kernel field, and its derivatives in every polynomial term; unit length."""
        m = self.prior.shape[1]
        shapes = _derivatives(self.prior[0])
        rows = [self.prior[: self.n_terms].reshape(-1)]
        for term in range(self.n_terms):
            for shape in shapes if term == 0 else [self.prior[0], *shapes]:
                row = torch.zeros(self.n_terms * m, dtype=self.prior.dtype)
                row[term * m : (term + 1) * m] = shape.to(row.device)
                rows.append(row)
        modes = torch.stack([row.cpu() for row in rows])
        unit: Tensor = modes / modes.norm(dim=1, keepdim=True).clamp(min=1e-300)
        return unit.to(self.prior.device)

    def chi2(self, equations: Equations, solution: Tensor) -> Tensor:
        """Reduced chi2 of each star's cutout."""
        kernels = equations.terms[:, : self.n_terms] @ solution
        # the matrices are float32: to copy them as float64 would cost more than all the rest
        moved = torch.bmm(equations.a, kernels.float()[:, :, None])[:, :, 0].double()
        own = (kernels * moved).sum(dim=1)
        total = equations.c.double() - 2 * (kernels * equations.b.double()).sum(dim=1) + own
        reduced: Tensor = total / equations.n_pixels.clamp(min=1)
        return reduced


def _orders(n_stars: int, *, fixed: int | None, highest: int) -> list[int]:
    """Spatial orders among which cross-validation chooses."""
    if fixed is not None:
        return [fixed]
    return [o for o in range(highest + 1) if n_stars >= _STARS_FOR_ORDER[min(o, 3)]]


def _reject(equations: Equations, solver: _Solver, *, min_stars: int, sigma: float) -> Tensor:
    """Stars kept after iterative rejection of those with an outlying chi2."""
    keep = torch.ones(len(equations.b), dtype=torch.bool, device=equations.b.device)
    for _ in range(_MAX_ITERATIONS):
        chi2 = solver.chi2(equations, solver.solve(solver.sum_up(equations, keep)))
        middle = chi2[keep].median()
        spread = 1.4826 * (chi2[keep] - middle).abs().median()
        # the brightest stars show the model's own error: less than twice the median is no outlier
        allowed = torch.maximum(sigma * spread, middle)
        if len(chi2) >= _MANY_STARS:
            allowed = torch.maximum(allowed, _model_excess(equations, chi2, keep))
        fresh = chi2 < middle + allowed
        if int(fresh.sum()) < min_stars or bool((fresh == keep).all()):
            break
        keep = fresh
    return keep


def _model_excess(equations: Equations, chi2: Tensor, keep: Tensor) -> Tensor:
    """Excess of chi2 that each star may owe to the model, by the typical star's share.

    An imperfect model leaves a share e of every star's light: chi2 grows by e^2 times the star's
    own information. A star whose e is several times the typical one of bright stars varies,
    moves or is blended.
    """
    information = equations.c.double() / equations.n_pixels.clamp(min=1)
    bright = keep & (information >= information[keep].median())
    share = ((chi2 - 1.0).clamp(min=0.0) / information.clamp(min=1e-30))[bright].median()
    return _MAX_EXCESS * share * information


def _choose_model(equations: Equations, rich: _Solver, *, orders: list[int]) -> tuple[int, float]:
    """Spatial order and strength that best predict stars left out of the fit."""
    n_folds = 2 if len(equations.b) >= _MANY_TO_HALVE else 3

    def judge(order: int, strengths: tuple[float, ...]) -> list[float]:
        solver = replace(rich, n_terms=_n_terms(order))
        return _held_out_chi2(equations, solver, n_folds=n_folds, strengths=strengths)

    # one after the other: all combinations would triple the cost of the fit and change little
    order = min(orders, key=lambda candidate: judge(candidate, _STRENGTHS[2:3])[0])
    losses = judge(order, _STRENGTHS)
    return order, _STRENGTHS[losses.index(min(losses))]


def _held_out_chi2(
    equations: Equations, solver: _Solver, *, n_folds: int, strengths: tuple[float, ...]
) -> list[float]:
    """Weighted mean logarithm of the reduced chi2 of stars predicted from the other folds.

    One number for each strength. The logarithm lets no star that varies decide; the weights leave
    the question to stars bright enough to tell one model from another.
    """
    information = equations.c.double() / equations.n_pixels.clamp(min=1)
    weight = information / (information + _WEIGHTY * information.median())
    totals = [0.0] * len(strengths)
    for fold in range(n_folds):
        left_out = slice(fold, None, n_folds)
        keep = torch.ones(len(weight), dtype=torch.bool, device=weight.device)
        keep[left_out] = False
        sums, test = solver.sum_up(equations, keep), equations.select(left_out)
        for k, strength in enumerate(strengths):
            chi2 = solver.chi2(test, replace(solver, strength=strength).solve(sums))
            totals[k] += float((weight[left_out] * chi2.clamp(min=1e-3).log()).sum())
    return [total / float(weight.sum()) for total in totals]
