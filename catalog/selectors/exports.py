"""The rows that exports write, in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from astrid_site.imaging.flux_density import microjansky_factor
from catalog.algorithms.object_search import ObjectSearch
from catalog.algorithms.table_columns import LIGHT_CURVE_COLUMNS, OBJECT_COLUMNS
from catalog.models import AstroObject, LightCurvePoint
from catalog.selectors.objects import light_curve
from catalog.selectors.search import search_rows


def object_rows(search: ObjectSearch) -> Iterator[list[tuple[Any, ...]]]:
    """Objects of a search as rows of ``OBJECT_COLUMNS``."""
    return search_rows(search, [column.read_from for column in OBJECT_COLUMNS])


def light_curve_rows(astro_object: AstroObject) -> Iterator[list[tuple[Any, ...]]]:
    """Points of one object, in order of time, as rows of ``LIGHT_CURVE_COLUMNS``."""
    yield [
        tuple(point_value(point, column.read_from) for column in LIGHT_CURVE_COLUMNS)
        for point in light_curve(astro_object)
    ]


def point_value(point: LightCurvePoint, name: str) -> Any:
    """One cell of a table of points."""
    match name:
        case "flux_ujy" | "flux_error_ujy":
            value = point.flux if name == "flux_ujy" else point.flux_error
            if value is None or point.zero_point is None:
                return None
            return value * microjansky_factor(point.zero_point)
        case "flags":
            return " ".join(point.flags)
        case "observation":
            return str(point.observation_id)
    return attrgetter(name)(point)
