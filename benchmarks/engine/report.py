"""The figures in words: a block on the screen, and the document."""

from __future__ import annotations

from typing import Any

from benchmarks.engine.figures import COST, GROWTH_LIMIT, QUALITY, Figure, verdict
from benchmarks.engine.regimes import REGIMES
from benchmarks.engine.results import Results

OURS = "AstrID"
_MARKS = {"reached": "yes", "undecided": "?", "not reached": "NO", "-": ""}


def block(results: Results, regime: str, size: int) -> str:
    """Every figure of one regime and size, ours beside its goal and the peers'."""
    record = results.merged(regime, size, OURS)
    others = peers_of(results, regime, size)
    lines = [f"== {regime} ({REGIMES[regime].title}), {size} x {size}, {said(record)}"]
    for figure in (*QUALITY, *COST):
        shown = [f"{figure.name:44s} {figure.goal:12s} {figure.show(record):22s}"]
        shown.append(f"{verdict(figure, record, size=size):12s}")
        shown += [f"{figure.show(other):18s}" for other in others.values()]
        lines.append(" ".join(shown).rstrip())
    if others:
        lines.insert(1, " " * 93 + " ".join(f"{name[:18]:18s}" for name in others))
    return "\n".join(lines) + "\n"


def said(record: dict[str, Any]) -> str:
    """How the engine went about it, or why it could not."""
    if record.get("error"):
        return f"FAILED: {record['error']}"
    reasons = "; ".join(record.get("verdict_reasons") or [])
    return f"{record.get('method')}, verdict {record.get('verdict')}" + (
        f" ({reasons})" if reasons else ""
    )


def peers_of(results: Results, regime: str, size: int) -> dict[str, dict[str, Any]]:
    """The other contestants of a regime and size."""
    return {
        name: results.merged(regime, size, name)
        for kept, width, name in results.measured()
        if kept == regime and width == size and name != OURS
    }


def document(results: Results) -> str:
    """docs/benchmarks.md from everything that was measured."""
    sizes = sorted({size for _, size, name in results.measured() if name == OURS}, reverse=True)
    parts = [_preamble(results)]
    parts += [_overview(results, size) for size in sizes]
    parts += [_costs(results), _peers(results)]
    parts += [
        _section(results, regime, size)
        for size in sizes
        for regime in REGIMES
        if (regime, size, OURS) in results.measured()
    ]
    return "\n".join(part for part in parts if part).rstrip() + "\n"


def _preamble(results: Results) -> str:
    setting = results.setting
    told = ", ".join(f"{name} {version}" for name, version in setting["versions"].items())
    dates = sorted(
        results.merged(*key).get("date", "") for key in results.measured() if key[2] == OURS
    )
    return f"""# Benchmarks of the engine

Made by `python -m benchmarks.engine`; edit the benchmark, not this page. Measured from {dates[0]}
to {dates[-1]} UTC on {setting["machine"]}. Every section says how loaded
the machine was: beside other work wall times are upper limits, and CPU times grow too. A plus
after a commit says that its code had been changed since.

{told}.

A verdict is *reached*, *not reached*, or *undecided* (marked ?) where the goal is missed by no
more than the counting error of its scenes.

{_DEFINITIONS}"""


_DEFINITIONS = """## What is measured

Scenes are drawn from a seed by code that shares nothing with the engine: Moffat stars integrated
over pixels, with width and shape changing over the frame, Sersic galaxies, Poisson and read noise,
sky gradients, saturation with bleeding, bad columns and cosmic rays (in the masks), a reference
turned by 0.1 degrees, scaled by 1.0002 and dithered, headers wrong by 0.05 pixels. Unless the
regime says otherwise: 1.0 arcsec pixels, FWHM 2.3 pixels (reference, 90 s) and 3.1 (science, 30 s),
flux ratio 0.27, 400 stars and 150 galaxies per Mpix. 80 transients per Mpix have S/N 3, 4, 5, 6, 7,
8, 10, 15, 20, 30 or 50; half of them lie on galaxies.

- **S/N**: flux over the least standard error that the pair allows, that is of the matched filter
  on the proper difference with both true PSFs and the variance under the source: sky, read noise
  and host in both frames, and the source's own photons.
- **Completeness, false candidates**: of the final candidate list, matched within 2.5 pixels; false
  beyond 4 pixels of every transient. Both leave out 5 pixels around masked ones and 30 at edges;
  "away" is more than 30 pixels from a saturated or bled pixel. Candidates of both signs count;
  noise alone gives 0.1 (FWHM 3.2 pixels) to 0.3 (2.4) peaks above 5 per Mpix and sign.
- **chi2**: mean squared pull within 4 pixels of unsaturated stars of S/N above 50, under the true
  variance of the pair, scaled by the contestant's own blank sky. Over the 49 pixels within 4 of a
  star pure noise alone gives a median of 0.99 and 1.27 at 90 %.
- **Pull width, lag-1**: pixels without light in either image; pulls by the contestant's own errors.
- **Flux**: recovered transients of S/N 7 to 50, against total true flux; scatter in units of the
  same least error, S/N 7 to 20. The peers' are apertures without correction for what lies outside.
- **Cold** is the whole command with start-up and products written; **warm** the same command again
  in a process that ran it before. Memory counts the command and its FITS reader together, for a
  peer the largest of its processes.
"""


def _overview(results: Results, size: int) -> str:
    """One line for each figure, one column for each regime."""
    regimes = [name for name in REGIMES if (name, size, OURS) in results.measured()]
    if not regimes:
        return ""
    lines = [
        f"## Which goals are reached, {size} x {size}",
        "",
        "| figure | goal | " + " | ".join(regimes) + " |",
        "|---|---|" + "---|" * len(regimes),
    ]
    for figure in QUALITY:
        cells = []
        for name in regimes:
            record = results.merged(name, size, OURS)
            mark = _MARKS[verdict(figure, record, size=size)]
            cells.append(f"{figure.show(record).split(' ')[0]} {mark}".strip())
        lines.append(f"| {figure.name} | {figure.goal} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _costs(results: Results) -> str:
    """Time and memory by regime and size, and how CPU grows."""
    lines = [
        "## Time and memory",
        "",
        "| regime, size | " + " | ".join(figure.name for figure in COST) + " | load |",
        "|---|" + "---|" * (len(COST) + 1),
    ]
    growth = []
    for regime, size, name in sorted(results.measured()):
        if name != OURS:
            continue
        record = results.merged(regime, size, OURS)
        cells = [_marked(figure, record, size=size) for figure in COST]
        lines.append(
            f"| {regime} {size} | " + " | ".join(cells) + f" | {record.get('load', 0):.1f} |"
        )
        growth += _growth(results, regime, size)
    lines += ["", f"Growth of warm CPU with twice the width (goal <= {GROWTH_LIMIT}x): "]
    lines.append(("; ".join(growth) or "not measured") + ".")
    reason = "the command has no such setting" if results.setting.get("cuda") else "none is here"
    lines += ["", f"CUDA device: not measured, {reason}."]
    return "\n".join(lines) + "\n"


def _marked(figure: Figure, record: dict[str, Any], *, size: int) -> str:
    mark = _MARKS[verdict(figure, record, size=size)]
    return f"{figure.show(record)} {mark}".strip()


def _growth(results: Results, regime: str, size: int) -> list[str]:
    small = results.merged(regime, size // 2, OURS).get("warm_cpu_s")
    large = results.merged(regime, size, OURS).get("warm_cpu_s")
    if not small or not large:
        return []
    ratio = large / small
    word = "reached" if ratio <= GROWTH_LIMIT else "not reached"
    return [f"{regime} {size // 2} to {size} {ratio:.2f}x ({word})"]


def _peers(results: Results) -> str:
    """Costs of everyone who ran in the same rounds."""
    lines = [
        "## Peers, in the same rounds",
        "",
        "| regime, size | contestant | wall best / median [s] | cpu [s] | peak [MB] "
        "| S/N 5 | 7 | 10 | false away / all | chi2 / 90 % | lag-1 |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    shown = dict.fromkeys(
        (regime, size) for regime, size, name in results.measured() if name != OURS
    )
    for regime, size in shown:
        everyone = {OURS: results.merged(regime, size, OURS)} | peers_of(results, regime, size)
        for name, record in everyone.items():
            lines.append(f"| {regime} {size} | {name} | " + _peer_cells(record))
    measured = {name for _, _, name in results.measured()}
    lines.append("")
    for name, reason in results.setting.get("missing", {}).items():
        # a later run may lack what an earlier one had
        if name not in measured:
            lines.append(f"- {name}: left out, {reason}.")
    return "\n".join(lines) + "\n"


def _peer_cells(record: dict[str, Any]) -> str:
    if "error" in record:
        return f"{record['error']} |" + " |" * 8
    by_name = {figure.name: figure for figure in QUALITY}
    cells = [
        f"{record['cold_wall_s']:.2f} / {record['cold_wall_median_s']:.2f}",
        f"{record['cold_cpu_s']:.2f}",
        f"{record['peak_mb']:.0f}" if "peak_mb" in record else "-",
    ]
    cells += [by_name[f"completeness at S/N {snr}"].show(record) for snr in (5, 7, 10)]
    for one, two in (
        ("false per Mpix, away from saturated stars", "false per Mpix, all"),
        ("chi2 at bright stars, median", "chi2 at bright stars, 90 %"),
    ):
        cells.append(f"{by_name[one].show(record)} / {by_name[two].show(record)}")
    cells.append(by_name["lag-1 correlation of blank pixels"].show(record))
    return " | ".join(cells) + " |"


def _section(results: Results, regime: str, size: int) -> str:
    """The table of one regime and size."""
    record = results.merged(regime, size, OURS)
    others = peers_of(results, regime, size)
    title = REGIMES[regime].title
    lines = [
        f"### {regime}, {size} x {size}",
        "",
        f"{title[0].upper()}{title[1:]}; {said(record)}. {record.get('date')} UTC, commit "
        f"{record.get('commit')}, {record.get('threads', 1):g} threads, "
        f"load {record.get('load', 0):.1f}, "
        f"scenes: {record['n_scenes']}, bright stars: {record.get('n_stars', 0)}.",
        "",
        "| figure | goal | AstrID | | " + " | ".join(others) + (" |" if others else ""),
        "|---|---|---|---|" + "---|" * len(others),
    ]
    for figure in QUALITY:
        cells = [figure.name, figure.goal, figure.show(record), verdict(figure, record, size=size)]
        cells += [figure.show(other) for other in others.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
