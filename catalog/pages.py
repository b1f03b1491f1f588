"""What pages show of objects: light-curve charts and the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse

from catalog import selectors
from catalog.algorithms.band_peaks import BandFlux, BandPeak, fit_bands, peak_curves
from catalog.algorithms.common_scale import (
    IMAGE_UNITS,
    MICROJANSKY,
    REFERENCE_UNITS,
    FrameFlux,
    ScaledFlux,
    to_common_scale,
)
from catalog.algorithms.flag_words import flag_words
from catalog.algorithms.light_curve_chart import (
    Chart,
    Epoch,
    FluxKind,
    Quantity,
    lay_out_chart,
)
from catalog.algorithms.object_search import ObjectSearch
from catalog.algorithms.table_files import FORMATS
from catalog.models import AstroObject, ForcedRequest, LightCurvePoint
from catalog.selectors.forced_requests import forced_points
from observations.models import Survey

#: Widths charts are laid out for; on the page their letters then have about their own size.
WIDE, NARROW, NARROW_HEIGHT = 880.0, 370.0, 220.0
#: More rows than this are not read by anybody; the page says how many there are.
MAX_CONE_ROWS = 500


@dataclass(frozen=True)
class ChartPair:
    """One chart laid out for a wide and for a narrow screen; only one of them is displayed."""

    wide: Chart
    narrow: Chart
    #: Epochs that are not drawn, as their fluxes are in image units.
    n_apart: int = 0


@dataclass(frozen=True)
class LightCurve:
    """The charts of one object; None where there is nothing to draw in that quantity.

    ``magnitude`` and ``flux`` are of the differences, ``total`` is of the science images: in
    magnitudes, or in fluxes where these have none. All fluxes of a chart are in one unit.
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
    survey: str
    difference: LightCurvePoint | None
    total: LightCurvePoint | None
    difference_flux: ScaledFlux | None
    total_flux: ScaledFlux | None
    is_reference: bool
    notes: list[str]


@dataclass(frozen=True)
class EpochTable:
    """The table of epochs; ``unit`` is that of every flux that does not say another."""

    rows: list[EpochRow]
    unit: str
    has_surveys: bool


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
    rows: Sequence[LightCurvePoint],
    *,
    current: UUID | None = None,
    height: float = 210,
    peaks: Sequence[BandPeak] = (),
) -> LightCurve:
    """Charts of points of both kinds, each kind in its own, all fluxes of a chart on one scale.

    Fitted ``peaks`` are drawn over the differences.
    """
    fluxes = scale_fluxes(rows)
    unit = _main_unit(fluxes.values())
    differences = [row for row in rows if row.kind == LightCurvePoint.Kind.DIFFERENCE]
    totals = [row for row in rows if row.kind == LightCurvePoint.Kind.TOTAL]

    def draw(points: Sequence[LightCurvePoint], quantity: Quantity) -> ChartPair | None:
        kind: FluxKind = "total" if points is totals else "difference"
        drawn = () if points is totals else peaks
        curve = _Curve(points, fluxes, unit, current, peak_curves(drawn, quantity, unit=unit))
        return _draw(curve, quantity, kind=kind, height=height)

    return LightCurve(
        magnitude=draw(differences, "magnitude"),
        flux=draw(differences, "flux"),
        total=draw(totals, "magnitude" if unit in ("", MICROJANSKY) else "flux"),
        n_points=sum(row.difference_run_id is not None for row in differences),
        n_totals=len(totals),
        n_undated=len({row.observation_id for row in rows if row.mjd is None}),
        has_faded=any(_is_lost(row) for row in differences),
    )


def forced_places(row: ForcedRequest) -> list[tuple[list[float], LightCurve, EpochTable]]:
    """Position, charts and table of every place of a request."""
    told = zip(row.places, forced_points(row), strict=True)
    return [(place, chart_points(points), epoch_table(points)) for place, points in told]


def forced_export_links(row: ForcedRequest) -> list[tuple[str, str]]:
    """Every format in which a request is taken away, and where."""
    return [
        (kind.label, reverse("api:forced-export", args=[row.pk, name]))
        for name, kind in FORMATS.items()
    ]


def fit_peaks(rows: Sequence[LightCurvePoint]) -> list[BandPeak]:
    """The maximum of each band of the differences, in the unit of their chart."""
    fluxes = scale_fluxes(rows)
    unit = _main_unit(fluxes.values())
    told = [
        BandFlux(row.band, row.mjd, fluxes[row.pk].flux, fluxes[row.pk].flux_error)
        for row in rows
        if row.kind == LightCurvePoint.Kind.DIFFERENCE
        and row.mjd is not None
        and row.pk in fluxes
        and fluxes[row.pk].unit == unit
    ]
    return fit_bands(told, unit=unit) if unit != IMAGE_UNITS else []


def scale_fluxes(rows: Sequence[LightCurvePoint]) -> dict[UUID, ScaledFlux]:
    """Fluxes of one object's points on one scale, each with its unit, by the keys of the points."""
    measured = [row for row in rows if row.flux is not None]
    is_bare = all(row.zero_point is None for row in measured)
    tied = selectors.flux_ratios(rows) if measured and is_bare else {}
    scaled = to_common_scale(
        [
            FrameFlux(
                row.flux or 0.0,
                row.flux_error or 0.0,
                row.zero_point,
                *tied.get(row.science_image_id, (None, None)),
            )
            for row in measured
        ]
    )
    return {row.pk: flux for row, flux in zip(measured, scaled, strict=True)}


def _main_unit(fluxes: Iterable[ScaledFlux]) -> str:
    """The best of the units; nothing where nothing was measured."""
    found = {flux.unit for flux in fluxes}
    return next((u for u in (MICROJANSKY, REFERENCE_UNITS, IMAGE_UNITS) if u in found), "")


def epoch_table(rows: Sequence[LightCurvePoint]) -> EpochTable:
    """Lines of the table, both kinds of one epoch side by side, in order of time."""
    fluxes = scale_fluxes(rows)
    epochs: dict[UUID, dict[str, LightCurvePoint]] = {}
    for row in rows:
        epochs.setdefault(row.science_image_id, {})[row.kind] = row
    lines = [_epoch_row(kinds, fluxes) for kinds in epochs.values()]
    return EpochTable(
        rows=lines,
        unit=_main_unit(fluxes.values()),
        has_surveys=len({line.survey for line in lines}) > 1,
    )


def _epoch_row(kinds: Mapping[str, LightCurvePoint], fluxes: Mapping[UUID, ScaledFlux]) -> EpochRow:
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
        survey=either.observation.survey.name,
        difference=difference,
        total=total,
        difference_flux=fluxes.get(difference.pk) if difference else None,
        total_flux=fluxes.get(total.pk) if total else None,
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


@dataclass(frozen=True)
class _Curve:
    """Points of one kind, with their fluxes where these are in the unit of the chart."""

    points: Sequence[LightCurvePoint]
    fluxes: Mapping[UUID, ScaledFlux]
    unit: str
    current: UUID | None
    fits: Mapping[str, Sequence[tuple[float, float]]]

    def epochs(self) -> list[Epoch]:
        """What can be drawn: dated points on the common scale, and epochs of the reference."""
        return [
            self._epoch(row, row.mjd)
            for row in self.points
            if row.mjd is not None and not self.is_apart(row)
        ]

    def is_apart(self, row: LightCurvePoint) -> bool:
        """Whether a point's flux is in another unit than that of the chart."""
        return row.pk in self.fluxes and self.fluxes[row.pk].unit != self.unit

    def _epoch(self, row: LightCurvePoint, mjd: float) -> Epoch:
        scaled = self.fluxes.get(row.pk)
        return Epoch(
            key=str(row.observation_id),
            mjd=mjd,
            band=row.band,
            flux=scaled.flux if scaled else None,
            flux_error=scaled.flux_error if scaled else None,
            magnitude=row.magnitude,
            magnitude_error=row.magnitude_error,
            limit=row.limiting_magnitude,
            is_current=row.observation_id == self.current,
            is_reference=selectors.REFERENCE in row.flags,
            survey=row.observation.survey.name,
        )


def _draw(curve: _Curve, quantity: Quantity, *, kind: FluxKind, height: float) -> ChartPair | None:
    epochs = curve.epochs()
    unit = f"{IMAGE_UNITS}, not comparable" if curve.unit == IMAGE_UNITS else curve.unit
    wide, narrow = (
        lay_out_chart(
            epochs,
            quantity=quantity,
            kind=kind,
            unit=unit,
            width=width,
            height=high,
            fits=curve.fits,
        )
        for width, high in ((WIDE, height), (NARROW, NARROW_HEIGHT))
    )
    n_apart = sum(row.mjd is not None and curve.is_apart(row) for row in curve.points)
    return ChartPair(wide, narrow, n_apart) if wide and narrow else None


@dataclass(frozen=True)
class ObjectTable:
    """Rows of the table; a cone has no further pages."""

    rows: list[AstroObject]
    after: str
    is_first: bool
    is_cone: bool
    n_beyond: int


def object_table(search: ObjectSearch, *, cursor: str = "") -> ObjectTable:
    """Objects of a cone, nearest first, or all of a search, latest detection first."""
    cone = search.cone
    if cone is None:
        page = selectors.search_page(search, cursor=cursor)
        selectors.name_surveys(page.rows)
        return ObjectTable(page.rows, page.after, page.is_first, is_cone=False, n_beyond=0)
    rows = selectors.matching(replace(search, ra=None, dec=None, radius_arcsec=None))
    found = selectors.cone_search(cone.ra, cone.dec, cone.radius_arcsec, rows=rows)
    shown = found[:MAX_CONE_ROWS]
    selectors.name_surveys(shown)
    return ObjectTable(shown, "", True, is_cone=True, n_beyond=len(found) - len(shown))


@dataclass(frozen=True)
class ExportLink:
    """One way to take the rows of a search away."""

    label: str
    address: str


def export_links(search: ObjectSearch) -> list[ExportLink]:
    """Every format that a search is written in."""
    query = urlencode(search.as_parameters())
    return [
        ExportLink(
            file_format.label,
            f"{reverse('api:object-export', args=[name])}{f'?{query}' if query else ''}",
        )
        for name, file_format in FORMATS.items()
    ]


@dataclass(frozen=True)
class CoveragePage:
    """Frames that looked at a place, and how deep they went against time."""

    ra: float
    dec: float
    coverage: selectors.Coverage
    depth: ChartPair | None


def coverage_page(
    ra: float,
    dec: float,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    survey: Survey | None = None,
    band: str = "",
) -> CoveragePage:
    """The answer to “were we watching?”; points are what an object there was measured at."""
    found = selectors.coverage_of(ra, dec, since=since, until=until, survey=survey, band=band)
    epochs = [
        Epoch(
            key=str(frame.observation.pk),
            mjd=frame.observation.mid_mjd,
            band=frame.observation.band,
            magnitude=frame.point.magnitude if frame.point else None,
            magnitude_error=frame.point.magnitude_error if frame.point else None,
            limit=frame.limit,
            survey=frame.observation.survey.name,
        )
        for frame in found.frames
        if frame.observation.mid_mjd is not None
    ]
    wide, narrow = (
        lay_out_chart(epochs, quantity="magnitude", width=width, height=NARROW_HEIGHT)
        for width in (WIDE, NARROW)
    )
    label = "5 \N{GREEK SMALL LETTER SIGMA} limit or magnitude (AB)"
    drawn = (
        ChartPair(replace(wide, y_label=label), replace(narrow, y_label=label))
        if (wide and narrow)
        else None
    )
    return CoveragePage(ra, dec, found, drawn)
