"""The page of all figures, as Markdown."""

from __future__ import annotations

from typing import Any

from detection.training.real_bogus_card import figures_table, interval_text

Json = Any

#: What others published of the pipeline that this one grew from; both leak objects between splits.
_ANCHORS = {"188 samples": 0.910, "a leaking split": 0.968}
_HEAD = """# Figures of the models

Made by `python -m benchmarks.learning` on {day}; edit the benchmark, not this page. Intervals of
95 % by drawing groups (pairs of frames, skies, objects) with replacement. What is held out is of
other seeds, cameras and nights than what was learnt.
"""


def write_page(
    *,
    network: dict[str, Json],
    combined: dict[str, Json],
    detector: dict[str, Json],
    speed: dict[str, Json],
    day: str,
) -> str:
    """The goals first, then the tables behind them."""
    parts = [
        _HEAD.format(day=day),
        _goals(network, combined, detector, speed),
        _sets(network, combined),
        _baselines(network),
        _detector(detector),
        _speed(speed),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _goals(network: Json, combined: Json, detector: Json, speed: Json) -> str:
    rows = []
    for name, figures in combined["sets"].items():
        if name.startswith("real"):
            continue
        champion = figures["all"]["combined"]
        rows.append(_reduction(name, champion))
        rows.append(_at_most(f"ECE, champion, {name}", champion["calibration_error"], 0.02))
    folds, unseen = network["grouped_folds"], network["unseen_survey"]
    rows.append(_at_least("real ZTF, gold, five grouped folds: ROC AUC", folds["gold"], 0.985))
    rows.append(_at_least("real ZTF, gold, never seen: ROC AUC", unseen["gold"], 0.95))
    best, gain = best_gain(detector)
    gains = {f"the most of all tried: {best}": gain}
    for name in ("U-Net alone", "the pipeline with its second detector"):
        gains[name] = detector[name]["gain 4.5-5.5"]
    for name, figure in gains.items():
        rows.append(
            f"| completeness at S/N 4.5 to 5.5 gained at like purity, {name} | 0.05 | "
            f"{interval_text(figure)} | {_verdict(figure, at_least=0.05)} |"
        )
    both = speed["threads"] * speed["per_cpu_second"]
    reached = "yes" if both >= 1500 else "NO"
    rows.append(
        f"| triplets/s, {speed['threads']} cores (from processor time) | 1,500 | {both:,} | "
        f"{reached} |"
    )
    for what, anchor in _ANCHORS.items():
        value = network["grouped_folds"]["gold"]["auc_pr"]
        rows.append(
            f"| AUCPR, grouped; anchor from {what} | {anchor} | {interval_text(value)} | "
            f"{_verdict(value, at_least=anchor)} |"
        )
    text = "\n".join(["| figure | goal | value | reached |", "|---|---|---|---|", *rows])
    note = (
        "\n\n*?* is a goal within the interval. The vetted bogus of ZTF were chosen by a low score "
        "of the\nsurvey's own network: they are easy ones, and their figures read optimistic. The "
        "anchors were\nmeasured on other data with the same objects on both sides, so that beating "
        "them proves little.\n"
    )
    return text + note


def _reduction(name: str, champion: Json) -> str:
    found, n_bogus = champion["reduction_at_1pct_loss"], champion["n_bogus"]
    factor = found["factor"]
    reached = "yes" if factor is None or factor >= 20 else "NO"
    value = f"{factor} ({found['n_passing']} of {n_bogus} pass)"
    return f"| fewer bogus at 1 % loss of S/N 6, champion, {name} | 20 | {value} | {reached} |"


def _at_most(name: str, figure: Json, goal: float) -> str:
    reached = _verdict({k: -figure[k] for k in ("value", "low", "high")}, at_least=-goal)
    return f"| {name} | {goal} | {interval_text(figure)} | {reached} |"


def _at_least(name: str, figures: Json, goal: float) -> str:
    figure = figures["roc_auc"]
    return f"| {name} | {goal} | {interval_text(figure)} | {_verdict(figure, at_least=goal)} |"


def _verdict(figure: Json, *, at_least: float) -> str:
    """Yes and no, and a question mark where the interval holds the goal."""
    reached = "yes" if figure["value"] >= at_least else "NO"
    low, high = sorted((figure["low"], figure["high"]))
    return f"{reached} ?" if low < at_least <= high else reached


def best_gain(detector: Json) -> tuple[str, Json]:
    """The contestant that finds most at S/N 4.5 to 5.5, and by how much more."""
    gains = {
        name: figures["gain 4.5-5.5"]
        for name, figures in detector.items()
        if isinstance(figures, dict)
    }
    best = max(gains, key=lambda name: gains[name]["value"])
    return best, gains[best]


def _sets(network: Json, combined: Json) -> str:
    columns = {}
    for name, figures in combined["sets"].items():
        columns[f"{name}: champion"] = figures["all"]["combined"]
        columns[f"{name}: champion, after the cuts"] = figures["kept"]["combined"]
    columns["network: simulated skies"] = network["simulated"]["all"]
    for name, figures in network["simulated"]["surveys"].items():
        columns[f"network: {name}"] = figures
    columns["network: ZTF gold, never seen"] = network["unseen_survey"]["gold"]
    columns["network: ZTF gold, five grouped folds"] = network["grouped_folds"]["gold"]
    text = "## Everything measured of scores\n\n" + figures_table(columns)
    text += "\n## By class, ZTF, five grouped folds\n\n| class | n | median score | above 0.5 | "
    text += "ROC AUC against the other class |\n|---|---|---|---|---|\n"
    for kind, row in network["grouped_folds"]["kinds"].items():
        auc = "-" if row["roc_auc"] is None else f"{row['roc_auc']:.3f}"
        share = f"{100 * row['above_half']:.0f} %"
        text += f"| {kind} | {row['n']} | {row['median_score']:.3f} | {share} | {auc} |\n"
    return text


def _baselines(network: Json) -> str:
    sets = {
        "simulated skies": (network["simulated"]["baselines"], network["simulated"]["all"]),
        "ZTF gold, five folds": (
            network["grouped_folds"]["baselines"],
            network["grouped_folds"]["gold"],
        ),
        "ZTF gold, never seen": (
            network["unseen_survey"]["baselines"],
            network["unseen_survey"]["gold"],
        ),
    }
    names = ("snr", "sharpness", "dipole")
    text = "## Baselines, ROC AUC\n\n| on | S/N | sharpness | dipole | network |\n"
    text += "|---|---|---|---|---|\n"
    for name, (simple, ours) in sets.items():
        cells = [interval_text(simple[each]["roc_auc"]) for each in names]
        cells.append(interval_text(ours["roc_auc"]))
        text += f"| {name} | " + " | ".join(cells) + " |\n"
    return text


def _detector(detector: Json) -> str:
    contestants = {name: row for name, row in detector.items() if isinstance(row, dict)}
    bins = [key for key in next(iter(contestants.values())) if key.startswith("completeness")]
    head = ["by", "false a night", "purity", *bins, "gain at 4.5-5.5"]
    text = (
        "## Faint transients at no more false ones\n\n"
        f"{detector['n_nights']} simulated nights of 512x512 pixels that nothing has learnt from; "
        "each threshold was set\n"
        f"on {detector['n_calibration']} others so that there no more false candidates pass than "
        "the classical detector lets\nthrough at 5 sigma with its cuts. S/N is that of the best "
        "difference of the two frames.\n\n"
    )
    text += "| " + " | ".join(head) + " |\n|" + "---|" * len(head) + "\n"
    for name, row in contestants.items():
        cells = [interval_text(row[key]) for key in ("false_per_night", "purity", *bins)]
        text += f"| {name} | " + " | ".join([*cells, interval_text(row["gain 4.5-5.5"])]) + " |\n"
    return text


def _speed(speed: Json) -> str:
    text = (
        "## Speed of the network\n\n"
        f"{speed['per_cpu_second']:,} triplets for each second of one processor; "
        f"{speed['per_second']:,} a second of wall clock on\n{speed['threads']} threads under a "
        f"load of {speed['load']} (other work was running: the wall clock says less than the "
        "code costs).\n\n| triplets in a call | p50 [ms] | p95 [ms] |\n|---|---|---|\n"
    )
    for n, row in speed["latency_ms"].items():
        text += f"| {n} | {row['p50']} | {row['p95']} |\n"
    return text
