"""The planes of a frame that are resampled together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.masks import MaskArray

FloatArray = NDArray[np.float32]

#: A bit that no mask plane has, while the work lasts.
OUTSIDE = np.uint16(1 << 15)


@dataclass(frozen=True)
class Planes:
    """What is resampled: values, their variance where it is known, and the mask; one shape."""

    values: FloatArray
    variance: FloatArray | None
    mask: MaskArray

    @classmethod
    def empty(cls, shape: tuple[int, int], *, with_variance: bool) -> Planes:
        """Planes to be filled."""
        variance = np.empty(shape, dtype=np.float32) if with_variance else None
        return cls(np.empty(shape, dtype=np.float32), variance, np.empty(shape, dtype=np.uint16))

    def at(self, rows: slice) -> Planes:
        """Views of some rows."""
        variance = None if self.variance is None else self.variance[rows]
        return Planes(self.values[rows], variance, self.mask[rows])

    def blank(self) -> None:
        """Make all of them lie outside of what was resampled."""
        self.values[:] = 0.0
        self.mask[:] = OUTSIDE
        if self.variance is not None:
            self.variance[:] = 0.0

    def copy_from(self, other: Planes) -> None:
        """Take the pixels of others of the same shape."""
        self.values[:], self.mask[:] = other.values, other.mask
        if self.variance is not None and other.variance is not None:
            self.variance[:] = other.variance
