"""What a page says of a frame's zero point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from astrid_site.core.templatetags.astro import number

_SOURCES = {"header": "the header", "catalog": "a catalogue"}


def zero_point_rows(metrics: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Rows of a list: the zero point and all that it was found to depend on."""
    value = metrics.get("zero_point")
    problem = metrics.get("zero_point_catalog_problem")
    rows = []
    if value is not None:
        source = _SOURCES.get(str(metrics.get("zero_point_source")), "")
        rows.append(("Zero point", f"{_with_error(value, metrics.get('zero_point_error'))} mag"))
        rows.append(("From", str(metrics.get("zero_point_catalog") or source)))
    if metrics.get("zero_point_source") == "catalog":
        rows += _catalog_rows(metrics)
    if problem:
        rows.append(("Catalogue", f"not used: {problem}"))
    return tuple(rows)


def _catalog_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    clipped = metrics.get("zero_point_n_clipped")
    rows = [
        ("Stars", f"{metrics.get('zero_point_n_stars')}, {clipped} left out"),
        ("Scatter beyond errors", f"{number(metrics.get('zero_point_sigma_int'), 4)} mag"),
    ]
    slope = metrics.get("color_term")
    if slope is None:
        rows.append(("Colour term", "too few stars or colours"))
    else:
        told = _with_error(slope, metrics.get("color_term_error"))
        reference = number(metrics.get("color_term_reference"), 2)
        name = metrics.get("color_term_color")
        rows.append(("Colour term", f"{told} per mag of {name}, at {reference}"))
    sigma = metrics.get("zero_point_trend_sigma")
    if sigma is None:
        rows.append(("Slope over the frame", "too few stars"))
    else:
        along = [number(metrics.get(f"zero_point_trend_{axis}"), 4) for axis in "xy"]
        applied = metrics.get("zero_point_trend_applied") == "yes"
        done = "taken out" if applied else "not significant, left alone"
        rows.append(
            (
                "Slope over the frame",
                f"{along[0]}, {along[1]} mag to the edges, {number(sigma, 1)} σ, {done}",
            )
        )
    return rows


def _with_error(value: float, error: float | None) -> str:
    return number(value, 4) if error is None else f"{number(value, 4)} ± {number(error, 4)}"
