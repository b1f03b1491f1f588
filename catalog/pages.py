"""What pages show of objects: light-curve charts and the table."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from catalog.algorithms.light_curve_chart import Chart, Epoch, Quantity, lay_out_chart
from catalog.models import AstroObject, LightCurvePoint, ObjectDetection
from detection.models import Detection


@dataclass(frozen=True)
class LightCurve:
    """The charts of one object; None where there is nothing to draw in that quantity."""

    magnitude: Chart | None
    flux: Chart | None
    n_points: int
    n_undated: int


def object_of(detection: Detection) -> AstroObject | None:
    """The object a detection belongs to."""
    link = ObjectDetection.objects.select_related("astro_object").filter(detection=detection)
    found = link.first()
    return found.astro_object if found else None


def light_curve(
    astro_object: AstroObject | None,
    *,
    current: UUID | None = None,
    size: tuple[float, float] = (640, 220),
) -> LightCurve:
    """Charts of an object's forced photometry; ``current`` is the observation being looked at."""
    rows = list(_points(astro_object)) if astro_object else []
    epochs = [_epoch(row, row.mjd, current=current) for row in rows if row.mjd is not None]
    return LightCurve(
        magnitude=_chart(epochs, "magnitude", size),
        flux=_chart(epochs, "flux", size),
        n_points=len(rows),
        n_undated=len(rows) - len(epochs),
    )


def _points(astro_object: AstroObject) -> list[LightCurvePoint]:
    return list(LightCurvePoint.objects.filter(astro_object=astro_object).order_by("mjd", "id"))


def _epoch(row: LightCurvePoint, mjd: float, *, current: UUID | None) -> Epoch:
    return Epoch(
        key=str(row.observation_id),
        mjd=mjd,
        band=row.band,
        flux=row.flux,
        flux_error=row.flux_error,
        magnitude=row.magnitude,
        magnitude_error=row.magnitude_error,
        limit=row.limiting_magnitude,
        is_current=row.observation_id == current,
    )


def _chart(epochs: list[Epoch], quantity: Quantity, size: tuple[float, float]) -> Chart | None:
    return lay_out_chart(epochs, quantity=quantity, width=size[0], height=size[1])
