"""What the forced light curves of a series leave behind: a table and a chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astrid_site.imaging.masks import plane_names
from astrid_site.imaging.photometry import LIMIT_SIGMA, flux_to_mag
from detection.management.subtraction_products import flux_unit
from observations.algorithms.headers import ObservationMetadata

if TYPE_CHECKING:
    from catalog.algorithms.forced_series import (
        EpochDifference,
        ForcedEpoch,
        Position,
        SeriesReference,
    )
    from catalog.algorithms.reference_flux import ReferenceFlux

#: Flag of an epoch that is part of the reference, beside those of the mask.
REFERENCE = "REFERENCE"
#: What the numbers are in, a pure number in nothing; fluxes are in the reference's own unit.
_UNITS = {
    "flux_ratio": "",
    "flux_ratio_error": "",
    "chi2": "",
    "n_matched": "",
    "mjd": "d",
    "exposure_s": "s",
    "x": "pix",
    "y": "pix",
    "reference_x": "pix",
    "reference_y": "pix",
    "rms_pix": "pix",
    "summed_magnitude": "mag",
    "summed_magnitude_error": "mag",
    "limiting_magnitude": "mag",
}
_FLUXES = (
    "reference_flux",
    "reference_flux_error",
    "difference_flux",
    "difference_flux_error",
    "limiting_flux",
    "summed_flux",
    "summed_flux_error",
)


@dataclass
class SeriesRow:
    """One line of the light curve; NaN and empty where the frame gave no answer.

    ``own_error`` is the error of the flux on the frame itself, for an epoch of the reference: the
    difference holds the epoch twice and says nothing of it.
    """

    frame: str
    facts: ObservationMetadata | None = None
    epoch: ForcedEpoch | None = None
    difference: EpochDifference | None = None
    own_error: float | None = None
    remark: str = ""

    @property
    def mjd(self) -> float:
        """Mid-exposure, NaN where the header does not tell."""
        told = None if self.facts is None else self.facts.mid_mjd
        return float("nan") if told is None else told


@dataclass(frozen=True)
class SeriesCurve:
    """One measured position; its reference flux is None where the reference is masked."""

    name: str
    rows: list[SeriesRow]
    reference: SeriesReference
    target: Position
    reference_flux: ReferenceFlux | None
    zero_point: float | None

    def change(self, row: SeriesRow) -> tuple[float, float]:
        """Difference flux and its error; NaN for an epoch of the reference."""
        if row.epoch is None or row.own_error is not None:
            return float("nan"), float("nan")
        return row.epoch.flux, row.epoch.flux_error

    def summed(self, row: SeriesRow) -> tuple[float, float]:
        """Reference plus difference flux; its error is the difference's, or the epoch's own."""
        if row.epoch is None or self.reference_flux is None:
            return float("nan"), float("nan")
        error = row.epoch.flux_error if row.own_error is None else row.own_error
        return self.reference_flux.flux + row.epoch.flux, error

    def magnitude(self, row: SeriesRow) -> tuple[float, float, float]:
        """AB magnitude of the summed flux, its error, and the 5 sigma limit of the epoch."""
        flux, error = self.summed(row)
        if self.zero_point is None or not (np.isfinite(flux) and error > 0):
            return (float("nan"),) * 3
        found = flux_to_mag(flux, error, self.zero_point)
        limit = self.zero_point - 2.5 * float(np.log10(self.limit(row)))
        if found.mag is None or found.mag_error is None:
            return float("nan"), float("nan"), limit
        return found.mag, found.mag_error, limit

    def limit(self, row: SeriesRow) -> float:
        """Flux of 5 sigma of the noise alone, to which a scale that is uncertain adds nothing."""
        if row.epoch is None:
            return float("nan")
        return LIMIT_SIGMA * (row.epoch.noise if row.own_error is None else row.own_error)


def _columns(curve: SeriesCurve, row: SeriesRow) -> dict[str, Any]:
    """One row of the table."""
    nan = float("nan")
    epoch, made = row.epoch, row.difference
    rms = None if made is None else made.registration.rms_pix
    return {
        "name": curve.name,
        "frame": row.frame,
        "mjd": row.mjd,
        "exposure_s": (row.facts.exposure_s if row.facts else None) or nan,
        "band": (row.facts.band if row.facts else None) or "",
        "x": epoch.position.x if epoch else nan,
        "y": epoch.position.y if epoch else nan,
        **_fluxes(curve, row),
        "flux_ratio": epoch.flux_ratio if epoch else nan,
        "flux_ratio_error": epoch.flux_ratio_error if epoch else nan,
        "chi2": epoch.chi2 if epoch else nan,
        "flags": " ".join(_flags(row)),
        "n_matched": made.registration.n_matched if made else 0,
        "rms_pix": nan if rms is None else rms,
        "method": made.subtraction.method if made else "",
        "quality": made.subtraction.quality if made else "",
        "remark": row.remark or "; ".join(made.subtraction.quality_reasons if made else ()),
    }


def _fluxes(curve: SeriesCurve, row: SeriesRow) -> dict[str, float]:
    """What was measured of the position on the reference and in one epoch."""
    nan = float("nan")
    there = curve.reference_flux
    change, change_error = curve.change(row)
    summed, summed_error = curve.summed(row)
    magnitude, magnitude_error, limit = curve.magnitude(row)
    return {
        "reference_x": curve.target.x,
        "reference_y": curve.target.y,
        "reference_flux": there.flux if there else nan,
        "reference_flux_error": there.flux_error if there else nan,
        "difference_flux": change,
        "difference_flux_error": change_error,
        "limiting_flux": curve.limit(row),
        "summed_flux": summed,
        "summed_flux_error": summed_error,
        "summed_magnitude": magnitude,
        "summed_magnitude_error": magnitude_error,
        "limiting_magnitude": limit,
    }


def _flags(row: SeriesRow) -> list[str]:
    planes = plane_names(row.epoch.flags) if row.epoch else []
    return [*planes, *([] if row.own_error is None else [REFERENCE])]


def write_table(path: Path, curves: Sequence[SeriesCurve]) -> None:
    """light_curve.ecsv: a row for each position and frame, numbers masked where there are none."""
    from astropy.table import Column, MaskedColumn, Table

    table = Table(masked=True)
    reference = curves[0].reference
    flux = flux_unit(reference.frame.image.unit)
    units: dict[str, Any] = _UNITS | dict.fromkeys(_FLUXES, flux)
    rows = [_columns(curve, row) for curve in curves for row in curve.rows]
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        if values.dtype.kind == "f":
            unknown = ~np.isfinite(values)
            values = np.where(unknown, 0.0, values)
            table[name] = MaskedColumn(values, mask=unknown, unit=units[name])
        else:
            table[name] = Column(values, unit=units.get(name))
    table.meta = {
        "reference": list(reference.names),
        "reference_notes": list(reference.notes),
        "zero_point": curves[0].zero_point,
        "flux_unit": reference.frame.image.unit,
    }
    partial = path.with_name(path.name + ".part")
    table.write(partial, format="ascii.ecsv", overwrite=True)
    partial.replace(path)


def write_chart(path: Path, curve: SeriesCurve) -> None:
    """light_curve.svg: summed magnitude where a zero point is known, else difference flux."""
    from catalog.algorithms.light_curve_chart import Epoch, lay_out_chart
    from catalog.algorithms.light_curve_svg import draw_light_curve

    has_magnitudes = curve.zero_point is not None
    epochs = []
    for row in curve.rows:
        flux, flux_error = curve.summed(row) if has_magnitudes else curve.change(row)
        if not (np.isfinite(row.mjd) and np.isfinite(flux)):
            continue
        magnitude, error, limit = (_or_none(value) for value in curve.magnitude(row))
        epochs.append(
            Epoch(
                key=row.frame,
                mjd=row.mjd,
                band=(row.facts.band if row.facts else None) or "",
                flux=flux,
                flux_error=flux_error,
                magnitude=magnitude,
                magnitude_error=error,
                limit=limit,
            )
        )
    chart = lay_out_chart(
        epochs, quantity="magnitude" if has_magnitudes else "flux", width=880, height=320
    )
    if chart is None:
        path.unlink(missing_ok=True)
        return
    unit = curve.reference.frame.image.unit
    label = "summed magnitude (AB)" if has_magnitudes else f"difference flux [{unit}]"
    title = f"Forced light curve, {len(epochs)} of {len(curve.rows)} frames"
    path.write_text(draw_light_curve(replace(chart, y_label=label), title=title))


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
