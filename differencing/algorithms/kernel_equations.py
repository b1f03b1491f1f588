"""Normal equations of a matching kernel, one set for each star's cutout."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from astrid_site.imaging.psf import position_terms
from differencing.algorithms.stamps import StarPositions, cut_stamps

Tensor = torch.Tensor

#: Fractional error granted to the model, so that a few very bright stars do not decide alone.
_MODEL_ERROR = 0.002
#: Most weight of a star, in units of that of the third brightest (of a later one among many).
_MAX_INFLUENCE = 2.0
#: Stars worked on at once; on the CPU more save no time, and each takes 2 MB four times over.
_CHUNK, _CPU_CHUNK = 16, 4
_BLOCKS = 4


@dataclass(frozen=True)
class StampPlanes:
    """The planes a kernel is fitted to, tensors of shape (ny, nx) on one device.

    Attributes
    ----------
    fixed, moving : Tensor
        The kernel convolves ``moving`` to look like ``fixed``.
    fixed_variance, moving_variance : Tensor
        Their variances.
    bad : Tensor
        True where either image is unusable.
    threads : int
        Chunks of stars worked on at the same time.
    moving_correlation : NDArray[float32] or None
        Correlation of the moving image's noise at each lag (dy, dx), 1 in the middle; None for
        white noise.
    """

    fixed: Tensor
    moving: Tensor
    fixed_variance: Tensor
    moving_variance: Tensor
    bad: Tensor
    threads: int = 1
    moving_correlation: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Equations:
    """Normal equations of each star's cutout: A k = b, chi2 = c - 2 k b + k A k.

    ``noise`` is what the noise of the moving image adds to A, times its correlation matrix.
    """

    a: Tensor
    b: Tensor
    c: Tensor
    n_pixels: Tensor
    terms: Tensor
    noise: Tensor

    def select(self, keep: Tensor | slice) -> Equations:
        """The equations of some stars; those of a slice, or of all, are not copied."""
        if isinstance(keep, Tensor) and bool(keep.all()):
            return self
        columns = (self.a, self.b, self.c, self.n_pixels, self.terms, self.noise)
        return Equations(*(column[keep] for column in columns))

    def influence(self, keep: Tensor) -> Tensor:
        """Weight of each star that keeps any one from deciding alone; 0 for those not kept.

        A star far brighter than the others would be fitted at their cost, and could never stand
        out as an outlier even if it moved or varied.
        """
        information = self.c.double().clamp(min=1e-30)
        kept = information[keep]
        rank = min(len(kept), max(3, len(kept) // 30))
        cap = _MAX_INFLUENCE * kept.sort(descending=True).values[rank - 1]
        return torch.where(keep, (cap / information).clamp(max=1.0), 0.0)


def build_equations(
    planes: StampPlanes,
    positions: StarPositions,
    *,
    kernel_half_width: int,
    stamp_half_width: int,
    order: int,
    kernel_power: float,
) -> Equations:
    """Weighted normal equations of every star, the free constant already eliminated."""
    shape = (int(planes.fixed.shape[0]), int(planes.fixed.shape[1]))
    terms = position_terms(
        positions.x.astype(np.float64), positions.y.astype(np.float64), shape=shape, order=order
    )
    margin = stamp_half_width + kernel_half_width
    fixed = cut_stamps(planes.fixed, positions, half_width=stamp_half_width, outside=0.0)
    weight = _weights(
        planes, positions, stamp_half_width=stamp_half_width, kernel_power=kernel_power
    )
    m = (2 * kernel_half_width + 1) ** 2
    a = fixed.new_empty(len(positions), m, m)
    at_once = _CPU_CHUNK if a.device.type == "cpu" else _CHUNK

    def build(start: int) -> tuple[Tensor, ...]:
        chunk = slice(start, start + at_once)
        part = StarPositions(x=positions.x[chunk], y=positions.y[chunk])
        moving = cut_stamps(planes.moving, part, half_width=margin, outside=0.0)
        bad = cut_stamps(planes.bad, part, half_width=margin, outside=1.0)
        # a bad pixel spoils every pixel that the kernel mixes it into
        spoiled = functional.max_pool2d(bad[:, None], 2 * kernel_half_width + 1, stride=1)[:, 0]
        own = cut_stamps(planes.bad, part, half_width=stamp_half_width, outside=1.0)
        good = torch.where(spoiled.mean(dim=(1, 2), keepdim=True) < 0.5, 1 - spoiled, 1 - own)
        used = weight[chunk] * good
        variance = cut_stamps(planes.moving_variance, part, half_width=margin, outside=0.0)
        noise = _noise_share(variance * (1 - bad), weight=used)
        a[chunk], *others = _stamp_equations(fixed[chunk], moving, weight=used)
        return *others, noise

    with ThreadPoolExecutor(max(planes.threads, 1)) as pool:
        parts = list(pool.map(build, range(0, len(positions), at_once)))
    b, c, n, noise = (torch.cat(column) for column in zip(*parts, strict=True))
    return Equations(a, b, c, n, torch.from_numpy(terms).to(a.device), noise.double())


def _weights(
    planes: StampPlanes, positions: StarPositions, *, stamp_half_width: int, kernel_power: float
) -> Tensor:
    """Inverse variance of the difference at each star's pixels.

    ``kernel_power`` is the sum of the squared kernel of unit sum: what it leaves of white noise.

    Smoothed 3x3: a weight that follows the pixel's own photon noise would favour pixels that
    scattered low, and bias the flux ratio.
    """
    wide = stamp_half_width + 1
    fixed = cut_stamps(planes.fixed, positions, half_width=wide, outside=0.0)
    moving = cut_stamps(planes.moving, positions, half_width=wide, outside=0.0)
    ratio = fixed.sum(dim=(1, 2)) / moving.sum(dim=(1, 2)).clamp(min=1e-30)
    scale = ratio[ratio > 0].median() if bool((ratio > 0).any()) else ratio.new_tensor(1.0)
    variance = cut_stamps(planes.fixed_variance, positions, half_width=wide, outside=1.0)
    moving_variance = cut_stamps(planes.moving_variance, positions, half_width=wide, outside=1.0)
    variance = variance + kernel_power * scale**2 * moving_variance
    smooth = functional.avg_pool2d(variance[:, None], 3, stride=1)[:, 0]
    level = functional.avg_pool2d(fixed[:, None], 3, stride=1)[:, 0]
    return 1.0 / (smooth + (_MODEL_ERROR * level) ** 2).clamp(min=1e-30)


def _stamp_equations(fixed: Tensor, moving: Tensor, *, weight: Tensor) -> tuple[Tensor, ...]:
    """A, b, c and number of good pixels of a chunk of stars."""
    n, size = fixed.shape[:2]
    # row d of the design is the image shifted by +d, which is the kernel's pixel d
    shifted = functional.unfold(moving[:, None], size).transpose(1, 2).flip(1)
    target, w = fixed.reshape(n, -1), weight.reshape(n, -1)
    total = w.sum(dim=1, keepdim=True).clamp(min=1e-30)
    shifted -= ((shifted * w[:, None]).sum(dim=2) / total)[..., None]
    target = target - (target * w).sum(dim=1, keepdim=True) / total
    weighted = shifted * w[:, None]
    b = torch.bmm(weighted, target[..., None])[..., 0]
    a = _symmetric_product(weighted, shifted)
    return a, b, (target.square() * w).sum(dim=1), (w > 0).sum(dim=1)


def _noise_share(variance: Tensor, *, weight: Tensor) -> Tensor:
    """What the moving image's noise adds to the diagonal of A: mean over the kernel's pixels."""
    n = len(weight)
    summed = functional.conv2d(variance[None], weight[:, None], groups=n)[0]
    return summed.mean(dim=(1, 2))


def _symmetric_product(first: Tensor, second: Tensor) -> Tensor:
    """Products (n, m, m) of ``first`` with ``second`` transposed, known to be symmetric.

    Only the blocks up to the diagonal are computed: five eighths of the arithmetic.
    """
    n, m = first.shape[:2]
    product = first.new_empty(n, m, m)
    edges = [m * i // _BLOCKS for i in range(_BLOCKS + 1)]
    for start, stop in pairwise(edges):
        rows = torch.bmm(first[:, start:stop], second[:, :stop].transpose(1, 2))
        product[:, start:stop, :stop] = rows
        product[:, :start, start:stop] = rows[:, :, :start].transpose(1, 2)
    return product
