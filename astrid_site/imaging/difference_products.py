"""What a subtraction gives to those who search, measure and test it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.masks import MaskArray
from astrid_site.imaging.psf import PsfField

FloatArray = NDArray[np.float32]


class DifferenceProducts(Protocol):
    """Four planes on one grid, each of shape (ny, nx), and the difference's PSF."""

    @property
    def difference(self) -> FloatArray:
        """Science minus template, science units."""

    @property
    def variance(self) -> FloatArray:
        """Variance of the difference."""

    @property
    def score(self) -> FloatArray:
        """Significance of a point source at each pixel [sigma]; 0 where masked."""

    @property
    def mask(self) -> MaskArray:
        """``MaskPlane`` bits."""

    @property
    def psf(self) -> PsfField:
        """PSF of the difference."""
