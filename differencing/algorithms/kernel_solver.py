"""Solving the equations of a matching kernel: expected kernel, free pixels, regularisation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from astrid_site.imaging.psf import position_terms
from differencing.algorithms.kernel_equations import Equations

Tensor = torch.Tensor


def count_terms(order: int) -> int:
    """Polynomial terms of two coordinates up to an order."""
    return (order + 1) * (order + 2) // 2


def _order_of(n_terms: int) -> int:
    return (math.isqrt(8 * n_terms + 1) - 3) // 2


def kernel_penalty(half_width: int, *, device: str) -> Tensor:
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


def noise_correlation(
    correlation: NDArray[np.float32] | None, half_width: int, *, device: str
) -> Tensor:
    """Correlation (M, M) of the noise that a kernel's pixels meet, from that at each lag (dy, dx).

    The identity for white noise, None.
    """
    size = 2 * half_width + 1
    if correlation is None:
        return torch.eye(size**2, dtype=torch.float64, device=device)
    reach = correlation.shape[0] // 2
    known = np.zeros((4 * half_width + 1, 4 * half_width + 1))
    inner = min(reach, 2 * half_width)
    middle = 2 * half_width
    known[middle - inner : middle + inner + 1, middle - inner : middle + inner + 1] = correlation[
        reach - inner : reach + inner + 1, reach - inner : reach + inner + 1
    ]
    row, column = (grid.ravel() for grid in np.indices((size, size)))
    lags = known[row[:, None] - row + middle, column[:, None] - column + middle]
    return torch.from_numpy(lags).to(device)


def _derivatives(kernel: Tensor) -> list[Tensor]:
    """First and second derivatives of a flattened kernel: shifts, widths and elongations."""
    size = round(len(kernel) ** 0.5)
    image = kernel.reshape(size, size).cpu().numpy()
    along_y, along_x = np.gradient(image)
    second_yy, second_yx = np.gradient(along_y)
    second_xx = np.gradient(along_x, axis=1)
    images = (along_x, along_y, second_xx, second_yx, second_yy)
    return [torch.from_numpy(np.ascontiguousarray(part).ravel()) for part in images]


def _mean_and_variation(prior: Tensor) -> Iterator[Tensor]:
    """A kernel field as its first term alone and all the others, flattened; no empty one."""
    for part in (slice(0, 1), slice(1, None)):
        row = torch.zeros_like(prior)
        row[part] = prior[part]
        if bool(row.any()):
            yield row.reshape(-1)


@dataclass(frozen=True)
class KernelSums:
    """Equations summed over stars: the normal matrix, its right side, and the kernel expected.

    ``noise`` (n_terms, n_terms) is what noise of the moving image adds to each term's diagonal.
    """

    matrix: Tensor
    noise: Tensor
    right: Tensor
    expected: Tensor


@dataclass(frozen=True)
class KernelSolver:
    """Solves the summed equations of a set of stars for one model.

    ``correlation`` (M, M) is that of the moving image's noise between the kernel's pixels.
    """

    penalty: Tensor
    prior: Tensor
    correlation: Tensor
    n_terms: int
    strength: float

    def of_order(self, order: int) -> KernelSolver:
        """The same with the expected kernel's variation reduced to a lower order.

        To drop the higher terms would leave the kernel of the frame's centre, not its mean.
        """
        axis = np.linspace(0.0, 2.0, 9)
        u, v = (grid.ravel() for grid in np.meshgrid(axis, axis))
        rich, poor = (
            position_terms(u, v, shape=(3, 3), order=n) for n in (_order_of(len(self.prior)), order)
        )
        lower = torch.from_numpy(np.linalg.lstsq(poor, rich, rcond=None)[0])
        prior = lower.to(self.prior.device) @ self.prior
        return replace(self, prior=prior, n_terms=len(prior))

    def sum_up(self, equations: Equations, keep: Tensor) -> KernelSums:
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
        noise = (weighted * equations.noise[:, None]).T @ terms
        return KernelSums(matrix, noise, right, self._expected(matrix, noise, right).reshape(-1))

    def solve(self, sums: KernelSums) -> Tensor:
        """Kernel of each term, shape (n_terms, M), float64.

        The free pixels vary one order less than the modes of ``_expected``: across the frame a
        kernel changes smoothly, and the highest order's pixels would only fit noise.
        """
        matrix, expected = sums.matrix, sums.expected.clone()
        m = self.prior.shape[1]
        scale = torch.diagonal(matrix)[:m].mean() * self.strength
        free = m * count_terms(max(0, _order_of(self.n_terms) - 1))
        block = matrix[:free, :free].clone()
        for start in range(0, free, m):
            # variation across the frame is expected to be smaller than the kernel itself
            part = slice(start, start + m)
            block[part, part] += scale * (1.0 if start == 0 else 3.0) * self.penalty
        # noise of the moving image looks like more signal there: left in the right side, it would
        # draw the kernel towards nothing; in the block it only holds it to the expected one
        own = expected.reshape(self.n_terms, m) @ self.correlation
        added = (sums.noise @ own).reshape(-1)
        missing = (sums.right - matrix @ expected + added)[:free]
        expected[:free] += torch.linalg.solve(block, missing)
        solution: Tensor = expected.reshape(self.n_terms, m)
        return solution

    def _expected(self, matrix: Tensor, noise: Tensor, right: Tensor) -> Tensor:
        """The PSFs' kernel with the flux ratio, shift and width that fit the stars best.

        Found by unpenalised least squares in a few smooth modes: a registration error or a
        change of seeing since the PSFs were measured must not cost a penalty.
        """
        modes = self._modes()
        by_term = modes.reshape(len(modes), self.n_terms, -1)
        projected = modes @ matrix @ modes.T
        met = by_term @ self.correlation
        projected = projected - torch.einsum("ajm,jk,bkm->ab", by_term, noise, met)
        ridge = 1e-9 * torch.diagonal(projected).mean()
        projected = projected + ridge * torch.eye(
            len(modes), dtype=matrix.dtype, device=matrix.device
        )
        solution = torch.linalg.solve(projected, modes @ right)
        kernels: Tensor = (solution @ modes).reshape(self.n_terms, -1)
        return kernels

    def _modes(self) -> Tensor:
        """The PSFs' central kernel, its variation, its derivatives in every term; unit length.

        The variation has an amplitude of its own: that of PSFs known from a few dozen crowded
        stars is half noise, and taken whole it left sources around every bright star.
        """
        m = self.prior.shape[1]
        shapes = _derivatives(self.prior[0])
        rows = list(_mean_and_variation(self.prior))
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
        # the matrices are float32: to copy them as float64 would cost more than all the rest;
        # they are symmetric, and rows times matrices measured four times as fast as the transpose
        moved = torch.bmm(kernels.float()[:, None], equations.a)[:, 0].double()
        own = (kernels * moved).sum(dim=1)
        total = equations.c.double() - 2 * (kernels * equations.b.double()).sum(dim=1) + own
        # noise that a kernel lets through is no misfit: count what the expected kernel would
        usual = (self.prior[0] @ self.correlation @ self.prior[0]) / self.prior[0].sum().square()
        let_through = (kernels @ self.correlation * kernels).sum(dim=1)
        total += equations.noise * (usual * kernels.sum(dim=1).square() - let_through)
        reduced: Tensor = total / equations.n_pixels.clamp(min=1)
        return reduced
