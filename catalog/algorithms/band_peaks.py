"""The maximum of each band of one object, or why none is told, and the curves to draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from astrid_site.imaging.errors import AlgorithmError
from catalog.algorithms.common_scale import MICROJANSKY
from catalog.algorithms.peak_fit import PeakFit, fit_peak

#: AB magnitude of one microjansky.
_MICROJANSKY_AB = 23.9
_MAGNITUDES_PER_RATIO = 2.5 / math.log(10.0)


@dataclass(frozen=True)
class BandFlux:
    """A difference flux in one band, with its error, in the unit of the object's chart."""

    band: str
    mjd: float
    flux: float
    flux_error: float


@dataclass(frozen=True)
class BandPeak:
    """One band's maximum; ``reason`` says why there is no fit."""

    band: str
    unit: str
    fit: PeakFit | None
    reason: str = ""

    @property
    def magnitude(self) -> float | None:
        """AB magnitude at the maximum, where fluxes are in microjansky."""
        if self.fit is None or self.unit != MICROJANSKY or self.fit.peak_flux <= 0:
            return None
        return _MICROJANSKY_AB - 2.5 * math.log10(self.fit.peak_flux)

    @property
    def magnitude_error(self) -> float | None:
        """Its error [mag]."""
        if self.fit is None or self.magnitude is None:
            return None
        return _MAGNITUDES_PER_RATIO * self.fit.peak_flux_error / self.fit.peak_flux


def fit_bands(fluxes: Sequence[BandFlux], *, unit: str) -> list[BandPeak]:
    """Fit every band by itself, in the order of their names.

    Parameters
    ----------
    fluxes : sequence of BandFlux
        Difference fluxes of one object, all in ``unit``.
    unit : str
        Of the fluxes.

    Returns
    -------
    list of BandPeak
        One for each band.
    """
    found = []
    for band in sorted({flux.band for flux in fluxes}):
        rows = np.array([(f.mjd, f.flux, f.flux_error) for f in fluxes if f.band == band])
        try:
            found.append(BandPeak(band, unit, fit_peak(rows[:, 0], rows[:, 1], rows[:, 2])))
        except AlgorithmError as error:
            found.append(BandPeak(band, unit, None, error.message))
    return found


def peak_curves(
    peaks: Sequence[BandPeak], quantity: Literal["magnitude", "flux"], *, unit: str
) -> dict[str, list[tuple[float, float]]]:
    """Fits as (MJD, value) in a chart's quantity; none where the chart's unit is another."""
    drawn = {peak.band: peak.fit.curve for peak in peaks if peak.fit and peak.unit == unit}
    if quantity == "flux":
        return {band: list(curve) for band, curve in drawn.items()}
    if unit != MICROJANSKY:
        return {}
    return {
        band: [(t, _MICROJANSKY_AB - 2.5 * math.log10(f)) for t, f in curve if f > 0]
        for band, curve in drawn.items()
    }
