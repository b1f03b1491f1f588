"""A laid-out light curve as an SVG file that stands alone."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from catalog.algorithms.light_curve_chart import Chart, Mark

#: Okabe and Ito's colours, one for each band.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#333}.axis{stroke:#333;fill:none}"
    ".grid{stroke:#ddd}.zero{stroke:#888;stroke-dasharray:4 3}"
)


def draw_light_curve(chart: Chart, *, title: str) -> str:
    """The chart as SVG text on a white ground, every mark with its numbers as a tooltip."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {chart.width:g} {chart.height:g}" '
        f'width="{chart.width:g}" height="{chart.height:g}" role="img" '
        f"aria-label={quoteattr(title)}>",
        f"<title>{escape(title)}</title>",
        f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>',
        *_axes(chart),
        *(part for mark in chart.marks for part in _mark(mark)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _axes(chart: Chart) -> Iterator[str]:
    """Grid, axes, ticks and labels."""
    for tick in chart.y_ticks:
        yield f'<path class="grid" d="M{chart.left} {tick.at}H{chart.right}"/>'
        yield _text(tick.label, x=chart.left - 6, y=tick.at + 4, anchor="end")
    if chart.zero is not None:
        yield f'<path class="zero" d="M{chart.left} {chart.zero}H{chart.right}"/>'
    yield f'<path class="axis" d="M{chart.left} {chart.top}V{chart.bottom}H{chart.right}"/>'
    for tick in chart.x_ticks:
        yield f'<path class="axis" d="M{tick.at} {chart.bottom}v4"/>'
        yield _text(tick.label, x=tick.at, y=chart.bottom + 16, anchor="middle")
    yield _text("MJD (UTC)", x=chart.right, y=chart.height - 4, anchor="end")
    turned = f'transform="translate(11 {chart.top}) rotate(-90)"'
    yield f'<text {turned} text-anchor="end">{escape(chart.y_label)}</text>'


def _text(text: str, *, x: float, y: float, anchor: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _mark(mark: Mark) -> Iterator[str]:
    """One epoch: an error bar with a disc, or a triangle for a limit."""
    colour = _COLOURS[mark.series % len(_COLOURS)]
    yield f'<g fill="{colour}" stroke="{colour}"><title>{escape(mark.text)}</title>'
    if mark.error_low is not None:
        yield f'<path d="M{mark.x} {mark.error_low}V{mark.error_high}"/>'
    if mark.is_limit:
        yield f'<path d="M{mark.x - 4} {mark.y - 3}h8l-4 7z"/>'
    else:
        yield f'<circle cx="{mark.x}" cy="{mark.y}" r="3"/>'
    yield "</g>"
