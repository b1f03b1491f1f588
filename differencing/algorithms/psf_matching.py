"""The kernel that turns one image's PSF into the other's, fitted to stars over the frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.psf import position_terms
from differencing.algorithms.kernel_equations import Equations, StampPlanes, build_equations
from differencing.algorithms.kernel_solver import KernelSolver, kernel_penalty, noise_correlation
from differencing.algorithms.stamps import StarPositions

Tensor = torch.Tensor
FloatArray = NDArray[np.float32]

#: Strengths of the regularisation among which cross-validation chooses.
_STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
#: Fewest stars for a spatial order to be tried; cross-validation decides.
_STARS_FOR_ORDER = {0: 0, 1: 6, 2: 24, 3: 60}
_MAX_ITERATIONS = 4
_CLIP_SIGMA = 4.0
#: Excess chi2 of a star, in units of what the model's error is expected to leave of it.
_MAX_EXCESS = 5.0
#: Independent noise leaves a chi2 of about 1; far less means that the images share theirs.
_SHARED_CHI2 = 0.25
#: Of models that leave so little (of one frame taken twice), the simplest is as good as any.
_LEAST_CHI2 = 0.05
#: Share of chi2 that each order of variation must gain.
_LEAST_GAIN = 0.001
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
    Noise of the moving image adds its variance to the normal matrix, which would shrink the
    kernel: it is taken off (errors in variables [3]_).

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
    .. [3] Fuller 1987, Measurement Error Models, section 2.2.
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
    penalty = kernel_penalty(kernel_half_width, device=str(planes.fixed.device))
    prior = torch.from_numpy(expected.reshape(len(expected), -1)).double().to(penalty.device)
    orders = _orders(len(positions), fixed=spatial_order, highest=max_spatial_order)
    first = order_of_rejection(orders, n_stars=len(positions))
    correlation = noise_correlation(
        planes.moving_correlation, kernel_half_width, device=str(penalty.device)
    )
    full = KernelSolver(penalty, prior, correlation, n_terms=len(prior), strength=_STRENGTHS[2])
    equations = _without_shared_noise(equations, full.of_order(0))
    rich = full.of_order(first)
    keep = _reject(equations, rich, min_stars=min_stars, sigma=2 * _CLIP_SIGMA)
    order, strength = _choose_model(equations.select(keep), full, orders=orders)
    solver = replace(full.of_order(order), strength=strength)
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


def _without_shared_noise(equations: Equations, solver: KernelSolver) -> Equations:
    """Equations that take the images' noise for one where both hold the same (a frame twice)."""
    bare = replace(equations, noise=torch.zeros_like(equations.noise))
    keep = torch.ones(len(bare.b), dtype=torch.bool, device=bare.b.device)
    left = solver.chi2(bare, solver.solve(solver.sum_up(bare, keep))).median()
    return bare if float(left) < _SHARED_CHI2 else equations


def _orders(n_stars: int, *, fixed: int | None, highest: int) -> list[int]:
    """Spatial orders among which cross-validation chooses."""
    if fixed is not None:
        return [fixed]
    return [o for o in range(highest + 1) if n_stars >= _STARS_FOR_ORDER[min(o, 3)]]


def order_of_rejection(orders: list[int], *, n_stars: int) -> int:
    """Spatial order of the model that rejects stars before the order is chosen.

    The richest one: bright stars that a simpler one cannot fit are what calls for it. Among few
    stars it would bend to the one that moved or varies.
    """
    return orders[-1] if n_stars >= _MANY_STARS else orders[0]


def _reject(equations: Equations, solver: KernelSolver, *, min_stars: int, sigma: float) -> Tensor:
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


def _choose_model(
    equations: Equations, full: KernelSolver, *, orders: list[int]
) -> tuple[int, float]:
    """Spatial order and strength that best predict stars left out of the fit."""
    n_folds = 2 if len(equations.b) >= _MANY_TO_HALVE else 3

    def judge(order: int, strengths: tuple[float, ...]) -> list[float]:
        solver = full.of_order(order)
        return _held_out_chi2(equations, solver, n_folds=n_folds, strengths=strengths)

    # one after the other: all combinations would triple the cost of the fit and change little
    order = min(orders, key=lambda n: judge(n, _STRENGTHS[2:3])[0] + _LEAST_GAIN * n)
    losses = judge(order, _STRENGTHS)
    return order, _STRENGTHS[losses.index(min(losses))]


def _held_out_chi2(
    equations: Equations, solver: KernelSolver, *, n_folds: int, strengths: tuple[float, ...]
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
            totals[k] += float((weight[left_out] * chi2.clamp(min=_LEAST_CHI2).log()).sum())
    return [total / float(weight.sum()) for total in totals]
