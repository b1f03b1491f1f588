"""What pages show of objects: light-curve charts and the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from astrid_site.core.keyset import keyset_page
from catalog import selectors
from catalog.algorithms.flag_words import flag_words
from catalog.algorithms.light_curve_chart import (
    Chart,
    Epoch,
    FluxKind,
    Quantity,
    lay_out_chart,
)
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
    """The charts of one object; None where there is nothing to draw in that quantity.

    ``magnitude`` and ``flux`` are of the differences, ``total`` is of the science images: in
    magnitudes, or in fluxes where these have none.
    """

    magnitude: ChartPair | None
    flux: ChartPair | None
    total: ChartPair | None
    n_points: int
    n_totals: int
    n_undated: int
    has_faded: bool

    @property
    def telling(self) -> ChartPair | None:
        """The one chart that shows what happened: fluxes where light was lost, else magnitudes."""
        return self.flux if self.has_faded else self.magnitude or self.flux


@dataclass(frozen=True)
class EpochRow:
    """One line of the table of epochs: what each kind of flux says, and why one is missing."""

    observation_id: UUID
    mjd: float | None
    band: str
    difference: LightCurvePoint | None
    total: LightCurvePoint | None
    is_reference: bool
    notes: list[str]


def light_curve(
    astro_object: AstroObject | None,
    *,
    current: UUID | None = None,
    height: float = 210,
) -> LightCurve:
    """Charts of an object's forced photometry; ``current`` is the observation being looked at."""
    return chart_points(
        selectors.light_curve(astro_object) if astro_object else [], current=current, height=height
    )


def chart_points(
    rows: Sequence[LightCurvePoint], *, current: UUID | None = None, height: float = 210
) -> LightCurve:
    """Charts of points of both kinds, each kind in its own."""
    differences = [row for row in rows if row.kind == LightCurvePoint.Kind.DIFFERENCE]
    totals = [row for row in rows if row.kind == LightCurvePoint.Kind.TOTAL]
    epochs = [_epoch(row, row.mjd, current=current) for row in differences if row.mjd is not None]
    total_epochs = [_epoch(row, row.mjd, current=current) for row in totals if row.mjd is not None]
    return LightCurve(
        magnitude=_charts(epochs, "magnitude", height),
        flux=_charts(epochs, "flux", height),
        total=_charts(total_epochs, _total_quantity(totals), height, kind="total"),
        n_points=sum(row.difference_run_id is not None for row in differences),
        n_totals=len(totals),
        n_undated=len({row.observation_id for row in rows if row.mjd is None}),
        has_faded=any(_is_lost(row) for row in differences),
    )


def _total_quantity(totals: Sequence[LightCurvePoint]) -> Quantity:
    """Magnitudes, unless a flux among them is on no scale."""
    measured = [row for row in totals if row.flux is not None]
    return "magnitude" if all(row.zero_point is not None for row in measured) else "flux"


def epoch_rows(rows: Sequence[LightCurvePoint]) -> list[EpochRow]:
    """Lines of the table, both kinds of one epoch side by side, in order of time."""
    epochs: dict[UUID, dict[str, LightCurvePoint]] = {}
    for row in rows:
        epochs.setdefault(row.science_image_id, {})[row.kind] = row
    return [_epoch_row(kinds) for kinds in epochs.values()]


def _epoch_row(kinds: Mapping[str, LightCurvePoint]) -> EpochRow:
    difference = kinds.get(LightCurvePoint.Kind.DIFFERENCE)
    total = kinds.get(LightCurvePoint.Kind.TOTAL)
    either = next(iter(kinds.values()))
    notes = [(words, "difference") for words in flag_words(difference.flags if difference else [])]
    notes += [(words, "total") for words in flag_words(total.flags if total else [])]
    if difference is None:
        notes.insert(0, ("not subtracted", "difference"))
    return EpochRow(
        observation_id=either.observation_id,
        mjd=either.mjd,
        band=either.band,
        difference=difference,
        total=total,
        is_reference=difference is not None and selectors.REFERENCE in difference.flags,
        notes=_joined(notes),
    )


def _joined(notes: Sequence[tuple[str, str]]) -> list[str]:
    """Each note once; one that holds for the total flux alone says so."""
    of_kind: dict[str, list[str]] = {}
    for words, kind in notes:
        of_kind.setdefault(words, []).append(kind)
    return [f"{words} (total)" if kinds == ["total"] else words for words, kinds in of_kind.items()]


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
        is_reference=selectors.REFERENCE in row.flags,
    )


def _charts(
    epochs: list[Epoch], quantity: Quantity, height: float, *, kind: FluxKind = "difference"
) -> ChartPair | None:
    wide = lay_out_chart(epochs, quantity=quantity, kind=kind, width=WIDE, height=height)
    narrow = lay_out_chart(epochs, quantity=quantity, kind=kind, width=NARROW, height=NARROW_HEIGHT)
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
