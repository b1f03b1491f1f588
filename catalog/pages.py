"""What pages show of objects: light-curve charts and the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from astrid_site.core.keyset import keyset_page
from catalog import selectors
from catalog.algorithms.light_curve_chart import Chart, Epoch, Quantity, lay_out_chart
from catalog.models import AstroObject, LightCurvePoint

DEFAULT_RADIUS_ARCSEC = 60.0
#: Widths charts are laid out for; on the page their letters then have about their own size.
WIDE, NARROW, NARROW_HEIGHT = 880.0, 370.0, 220.0
#: More rows than this are not read by anybody; the page says how many there are.
MAX_CONE_ROWS = 500


@dataclass(frozen=True)
class ChartPair:
    """One chart laid out for a wide and for a narrow screen; only one of them is displayed."""

    wide: Chart
    narrow: Chart


@dataclass(frozen=True)
class LightCurve:
    """The charts of one object; None where there is nothing to draw in that quantity."""

    magnitude: ChartPair | None
    flux: ChartPair | None
    n_points: int
    n_undated: int
    has_faded: bool

    @property
    def telling(self) -> ChartPair | None:
        """The one chart that shows what happened: fluxes where light was lost, else magnitudes."""
        return self.flux if self.has_faded else self.magnitude or self.flux


def light_curve(
    astro_object: AstroObject | None,
    *,
    current: UUID | None = None,
    height: float = 210,
) -> LightCurve:
    """Charts of an object's forced photometry; ``current`` is the observation being looked at."""
    rows = selectors.light_curve(astro_object) if astro_object else []
    epochs = [_epoch(row, row.mjd, current=current) for row in rows if row.mjd is not None]
    return LightCurve(
        magnitude=_charts(epochs, "magnitude", height),
        flux=_charts(epochs, "flux", height),
        n_points=len(rows),
        n_undated=len(rows) - len(epochs),
        has_faded=any(_is_lost(row) for row in rows),
    )


def _is_lost(row: LightCurvePoint) -> bool:
    """Whether an epoch is significantly fainter than the reference."""
    return row.flux is not None and row.flux < -5.0 * (row.flux_error or 0.0)


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


def _charts(epochs: list[Epoch], quantity: Quantity, height: float) -> ChartPair | None:
    wide = lay_out_chart(epochs, quantity=quantity, width=WIDE, height=height)
    narrow = lay_out_chart(epochs, quantity=quantity, width=NARROW, height=NARROW_HEIGHT)
    return ChartPair(wide, narrow) if wide and narrow else None


@dataclass(frozen=True)
class ObjectTable:
    """Rows of the table; a cone has no further pages."""

    rows: list[AstroObject]
    after: str
    is_first: bool
    is_cone: bool
    n_beyond: int


def object_table(filters: Mapping[str, Any], *, cursor: str = "") -> ObjectTable:
    """Objects of a cone, nearest first, or all of them, latest detection first."""
    wanted = {"q": filters.get("name"), **{k: filters.get(k) for k in ("state", "survey")}}
    rows = selectors.object_list(wanted)
    if filters.get("ra") is None or filters.get("dec") is None:
        page = keyset_page(rows, field="last_detected_at", cursor=cursor)
        selectors.name_surveys(page.rows)
        return ObjectTable(page.rows, page.after, page.is_first, is_cone=False, n_beyond=0)
    radius = filters.get("radius") or DEFAULT_RADIUS_ARCSEC
    found = selectors.cone_search(filters["ra"] % 360.0, filters["dec"], radius, rows=rows)
    shown = found[:MAX_CONE_ROWS]
    selectors.name_surveys(shown)
    return ObjectTable(shown, "", True, is_cone=True, n_beyond=len(found) - len(shown))
