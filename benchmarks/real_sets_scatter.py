"""What is left of galaxies and stars in a difference, against its blank sky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating]
Pixels = NDArray[np.bool_]

#: A pixel this many times its noise in both images is signal.
SIGNAL_SIGMA = 10.0
#: A pixel below this in both is blank.
BLANK_SIGMA = 2.0


@dataclass(frozen=True)
class Regions:
    """Pixels that show something in both images, and pixels that show nothing in either."""

    signal: Pixels
    blank: Pixels

    def ratio(self, significance: Values) -> float:
        """Width of a difference in units of its noise where there is light, over that of its sky.

        1 where the images cancel as well as their noise allows. Percentiles are taken, which
        sources that did change and the few cores that no kernel matches do not rule.
        """
        usable = np.isfinite(significance)
        light, sky = (significance[part & usable] for part in (self.signal, self.blank))
        return half_width(light) / half_width(sky)


def find_regions(first: Values, second: Values, *, usable: Pixels) -> Regions:
    """Regions of two images of one shape, each in units of its own noise."""
    signal = usable & (first > SIGNAL_SIGMA) & (second > SIGNAL_SIGMA)
    blank = usable & (first < BLANK_SIGMA) & (second < BLANK_SIGMA)
    return Regions(signal, blank)


def half_width(values: Values) -> float:
    """Half of what lies between the percentiles of plus and minus one sigma."""
    low, high = np.percentile(values, (15.866, 84.134))
    return float(high - low) / 2.0
