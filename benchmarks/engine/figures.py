"""The figures to reach, and what may be said of a measured one: reached, not reached, undecided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scipy.stats import binom, poisson

Record = dict[str, float | int | None]

#: Chance below which a count is no accident of a small scene.
_DOUBT = 0.05


@dataclass(frozen=True)
class Figure:
    """One row of the table: how to show it, and whether it reaches its goal."""

    name: str
    goal: str
    show: Callable[[Record], str]
    judge: Callable[[Record], str]
    #: Pixels across a frame from which on the goal is meant.
    least_size: int = 0


def reached(is_reached: bool, *, could_be: bool) -> str:
    """A verdict in words."""
    if is_reached:
        return "reached"
    return "undecided" if could_be else "not reached"


def completeness(snr: float, goal: float) -> Figure:
    """Share of the transients of one S/N in the candidate list."""

    def counts(record: Record) -> tuple[int, int]:
        return int(record.get(f"found_{snr:g}") or 0), int(record.get(f"true_{snr:g}") or 0)

    def show(record: Record) -> str:
        found, true = counts(record)
        return f"{found / true:.3f} ({found}/{true})" if true else "-"

    def judge(record: Record) -> str:
        found, true = counts(record)
        if not true:
            return "-"
        return reached(found >= goal * true, could_be=binom.cdf(found, true, goal) > _DOUBT)

    return Figure(f"completeness at S/N {snr:g}", f">= {goal:g}", show, judge)


def false_rate(key: str, name: str, goal: float | None) -> Figure:
    """False candidates per Mpix."""

    def show(record: Record) -> str:
        count, mpix = int(record.get(key) or 0), float(record.get("mpix") or 0)
        return f"{count / mpix:.2f} ({count})" if mpix else "-"

    def judge(record: Record) -> str:
        count, mpix = int(record.get(key) or 0), float(record.get("mpix") or 0)
        if goal is None or not mpix:
            return "-"
        chance = poisson.sf(count - 1, goal * mpix)
        return reached(count <= goal * mpix, could_be=bool(chance > _DOUBT))

    return Figure(name, "-" if goal is None else f"<= {goal:g}", show, judge)


def band(
    key: str, name: str, *, middle: float, half: float, error: str | None = None, digits: int = 3
) -> Figure:
    """A number that must lie within a band; ``error`` names its standard error."""

    def show(record: Record) -> str:
        value = record.get(key)
        if value is None:
            return "-"
        spread = record.get(error) if error else None
        return f"{value:.{digits}f}" + ("" if spread is None else f" +- {spread:.{digits}f}")

    def judge(record: Record) -> str:
        value = record.get(key)
        if value is None:
            return "-"
        away = abs(value - middle)
        slack = 2.0 * float(record.get(error) or 0.0) if error else 0.0
        return reached(away <= half, could_be=away - slack <= half)

    goal = f"{middle:g} +- {half:g}"
    return Figure(name, goal, show, judge)


def at_most(
    key: str,
    name: str,
    limit: float | None,
    *,
    unit: str = "",
    error: str | None = None,
    digits: int = 2,
    least_size: int = 0,
) -> Figure:
    """A number that must not exceed a limit."""

    def show(record: Record) -> str:
        value = record.get(key)
        if value is None:
            return "-"
        spread = record.get(error) if error else None
        return f"{value:.{digits}f}" + ("" if spread is None else f" +- {spread:.{digits}f}")

    def judge(record: Record) -> str:
        value = record.get(key)
        if value is None or limit is None:
            return "-"
        slack = 2.0 * float(record.get(error) or 0.0) if error else 0.0
        return reached(value <= limit, could_be=value - slack <= limit)

    goal = "-" if limit is None else f"<= {limit:g}{unit}"
    return Figure(name, goal, show, judge, least_size)


_FULL = 4096
QUALITY = (
    completeness(5.0, 0.66),
    completeness(7.0, 0.99),
    completeness(10.0, 0.995),
    at_most("significance", "score / ideal score at S/N 10 to 20", None, digits=3),
    false_rate("false_away", "false per Mpix, away from saturated stars", 0.2),
    false_rate("false", "false per Mpix, all", 0.6),
    false_rate("false_brighter", "of those, brightening ones", None),
    false_rate("false_excluded", "false at masks and edges, per judged Mpix", None),
    band("chi2", "chi2 at bright stars, median", middle=1.0, half=0.05, error="chi2_error"),
    at_most("chi2_p90", "chi2 at bright stars, 90 %", 1.25, error="chi2_p90_error"),
    at_most("chi2_own", "the same with its own errors, median", None),
    band("pull_width", "pull width of blank pixels", middle=1.0, half=0.02),
    band("score_width", "width of its score on blank sky", middle=1.0, half=0.02),
    band("lag1", "lag-1 correlation of blank pixels", middle=0.0, half=0.02),
    band("bias", "flux bias", middle=0.0, half=0.005, error="bias_error", digits=4),
    at_most("scatter", "flux scatter / ideal", 1.03, error="scatter_error"),
)
COST = (
    at_most("warm_wall_s", "warm wall, best [s]", 1.0, least_size=_FULL),
    at_most("warm_wall_median_s", "warm wall, median [s]", 1.0, least_size=_FULL),
    at_most("warm_cpu_s", "warm cpu, best [s]", 2.0, least_size=_FULL),
    at_most("warm_write_s", "of it writing products, wall [s]", None),
    at_most("cold_wall_s", "cold wall, best [s]", 4.0, least_size=_FULL),
    at_most("cold_wall_median_s", "cold wall, median [s]", 4.0, least_size=_FULL),
    at_most("cold_cpu_s", "cold cpu, best [s]", None),
    at_most("peak_mb", "peak memory [MB]", None, digits=0),
    at_most("warm_peak_mb", "peak memory of a warm worker [MB]", None, digits=0),
    at_most("peak_mb_per_mpix", "peak memory per Mpix [MB]", 72.0, digits=0, least_size=_FULL),
)
#: CPU seconds of a warm worker at one size over those at half the size.
GROWTH_LIMIT = 4.2


def verdict(figure: Figure, record: Record, *, size: int) -> str:
    """What may be said of a figure; its goal may be meant for larger frames only."""
    return figure.judge(record) if size >= figure.least_size else "-"
