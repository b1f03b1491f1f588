"""An elliptical Moffat profile: the analytic core of a PSF, exact at any sub-pixel position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Moffat:
    """Elliptical Moffat ``(1 + q / width^2)^-beta`` with q a quadratic form of shear (e1, e2).

    Attributes
    ----------
    width : float
        Geometric mean core width [pix].
    beta : float
        Wing exponent, above 1.
    e1, e2 : float
        Shear along the axes and the diagonal.
    """

    width: float
    beta: float
    e1: float = 0.0
    e2: float = 0.0

    @property
    def fwhm(self) -> float:
        """Geometric mean full width at half maximum [pix]."""
        return 2.0 * self.width * float(np.sqrt(2.0 ** (1.0 / self.beta) - 1.0))

    def image(self, dx: Float64, dy: Float64) -> Float64:
        """Surface density at offsets from the centre [1/pix^2], of unit total flux."""
        total = np.sqrt(max(1.0 - self.e1**2 - self.e2**2, 1e-6))
        q = (1 - self.e1) * dx**2 + (1 + self.e1) * dy**2 - 2 * self.e2 * dx * dy
        profile = (1.0 + q / (total * self.width**2)) ** -self.beta
        return np.asarray(profile * (self.beta - 1.0) / (np.pi * self.width**2))

    def cutouts(self, dx: Float64, dy: Float64, *, half: int) -> Float64:
        """Images of stars at offsets from the central pixel, shape (n, 2 half + 1, 2 half + 1)."""
        axis = np.arange(-half, half + 1, dtype=np.float64)
        x = axis[None, None, :] - np.asarray(dx)[:, None, None]
        y = axis[None, :, None] - np.asarray(dy)[:, None, None]
        return self.image(x, y)


def moffat_of_fwhm(fwhm: float, *, beta: float = 3.0) -> Moffat:
    """Round Moffat of a given FWHM [pix]."""
    return Moffat(width=fwhm / (2.0 * float(np.sqrt(2.0 ** (1.0 / beta) - 1.0))), beta=beta)
