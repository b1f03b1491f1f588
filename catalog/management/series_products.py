"""What the forced light curve of a series leaves behind: a table and a chart."""

from __future__ import annotations

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
        ReferenceFlux,
        SeriesReference,
    )

#: What the numbers are in, a pure number in nothing; fluxes are in the reference's own unit.
_UNITS = {
    "flux_ratio": "",
    "chi2": "",
    "n_matched": "",
    "mjd": "d",
    "exposure_s": "s",
    "x": "pix",
    "y": "pix",
    "rms_pix": "pix",
    "summed_magnitude": "mag",
    "summed_magnitude_error": "mag",
    "limiting_magnitude": "mag",
}
_FLUXES = (
    "difference_flux",
    "difference_flux_error",
    "limiting_flux",
    "summed_flux",
    "summed_flux_error",
)


@dataclass
class SeriesRow:
    """One line of the light curve; NaN and empty where the frame gave no answer."""

    frame: str
    facts: ObservationMetadata | None = None
    epoch: ForcedEpoch | None = None
    difference: EpochDifference | None = None
    remark: str = ""

    @property
    def mjd(self) -> float:
        """Mid-exposure, NaN where the header does not tell."""
        told = None if self.facts is None else self.facts.mid_mjd
        return float("nan") if told is None else told


@dataclass(frozen=True)
class SeriesCurve:
    """The measured series."""

    rows: list[SeriesRow]
    reference: SeriesReference
    target: Position
    reference_flux: ReferenceFlux
    zero_point: float | None

    def summed(self, row: SeriesRow) -> tuple[float, float]:
        """Reference plus difference flux; its error is the difference's, which varies."""
        if row.epoch is None:
            return float("nan"), float("nan")
        return self.reference_flux.flux + row.epoch.flux, row.epoch.flux_error

    def magnitude(self, row: SeriesRow) -> tuple[float, float, float]:
        """AB magnitude of the summed flux, its error, and the 5 sigma limit of the difference."""
        flux, error = self.summed(row)
        if self.zero_point is None or not (np.isfinite(flux) and error > 0):
            return (float("nan"),) * 3
        found = flux_to_mag(flux, error, self.zero_point)
        if found.mag is None or found.mag_error is None:
            return float("nan"), float("nan"), found.limit_mag
        return found.mag, found.mag_error, found.limit_mag


def _columns(curve: SeriesCurve, row: SeriesRow) -> dict[str, Any]:
    """One row of the table."""
    nan = float("nan")
    epoch, made = row.epoch, row.difference
    summed, summed_error = curve.summed(row)
    magnitude, magnitude_error, limit = curve.magnitude(row)
    rms = None if made is None else made.registration.rms_pix
    return {
        "frame": row.frame,
        "mjd": row.mjd,
        "exposure_s": (row.facts.exposure_s if row.facts else None) or nan,
        "band": (row.facts.band if row.facts else None) or "",
        "x": epoch.position.x if epoch else nan,
        "y": epoch.position.y if epoch else nan,
        "difference_flux": epoch.flux if epoch else nan,
        "difference_flux_error": epoch.flux_error if epoch else nan,
        "limiting_flux": LIMIT_SIGMA * epoch.flux_error if epoch else nan,
        "summed_flux": summed,
        "summed_flux_error": summed_error,
        "summed_magnitude": magnitude,
        "summed_magnitude_error": magnitude_error,
        "limiting_magnitude": limit,
        "flux_ratio": epoch.flux_ratio if epoch else nan,
        "chi2": epoch.chi2 if epoch else nan,
        "flags": " ".join(plane_names(epoch.flags)) if epoch else "",
        "n_matched": made.registration.n_matched if made else 0,
        "rms_pix": nan if rms is None else rms,
        "method": made.subtraction.method if made else "",
        "quality": made.subtraction.quality if made else "",
        "remark": row.remark or "; ".join(made.subtraction.quality_reasons if made else ()),
    }


def write_table(path: Path, curve: SeriesCurve) -> None:
    """light_curve.ecsv: one row for each frame, numbers masked where there are none."""
    from astropy.table import Column, MaskedColumn, Table

    table = Table(masked=True)
    flux = flux_unit(curve.reference.frame.image.unit)
    units: dict[str, Any] = _UNITS | dict.fromkeys(_FLUXES, flux)
    rows = [_columns(curve, row) for row in curve.rows]
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        if values.dtype.kind == "f":
            unknown = ~np.isfinite(values)
            values = np.where(unknown, 0.0, values)
            table[name] = MaskedColumn(values, mask=unknown, unit=units[name])
        else:
            table[name] = Column(values, unit=units.get(name))
    table.meta = {
        "reference": list(curve.reference.names),
        "reference_notes": list(curve.reference.notes),
        "reference_flux": float(curve.reference_flux.flux),
        "reference_flux_error": float(curve.reference_flux.flux_error),
        "reference_x": curve.target.x,
        "reference_y": curve.target.y,
        "zero_point": curve.zero_point,
        "flux_unit": curve.reference.frame.image.unit,
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
        if row.epoch is None or not (np.isfinite(row.mjd) and np.isfinite(row.epoch.flux)):
            continue
        magnitude, error, limit = (_or_none(value) for value in curve.magnitude(row))
        epochs.append(
            Epoch(
                key=row.frame,
                mjd=row.mjd,
                band=(row.facts.band if row.facts else None) or "",
                flux=row.epoch.flux,
                flux_error=row.epoch.flux_error,
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
