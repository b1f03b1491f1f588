"""The model card of the real-bogus network, written from the figures of its evaluation."""

from __future__ import annotations

from typing import Any

Json = Any

_SHOWN = {
    "roc_auc": "ROC AUC",
    "auc_pr": "AUCPR",
    "missed_at_1pct_fpr": "real missed at 1 % of bogus passing",
    "calibration_error": "ECE",
    "brier": "Brier",
    "matthews": "MCC at 0.5",
}
_HEAD = """# Real-bogus network

Written by `manage.py evaluate_network real_bogus` with the figures beside the weights; do not edit.

An ensemble of {n_members} small convolutional networks ({n_parameters:,} weights each) that looks
at science, template and difference of 63x63 pixels and gives the probability that something in the
sky changed there, with the spread of the members as its error. `manage.py score_triplets FILE.npz
--output scores.csv` runs it; weights `detection/networks/weights/real_bogus.safetensors`, SHA-256
`{sha256}`, verified at every load.

## What it sees

The middle 49x49 pixels, each plane with a mask of its missing pixels. Median and robust noise come
from the triplet itself: unit, background and sign convention of the difference do not matter;
science and template share one unit where both are given, so that relative brightness is kept;
constant borders and sentinels count as missing. Each member looks at two of the eight orientations,
all of them together at every one.

## Data

Data set `{dataset}`: {n_training:,} training triplets of simulated skies and null pairs; then, in a
second step, {n_alerts} real ZTF alerts as delivered and twice as other surveys might have delivered
them (padded, enlarged, clipped, without template), among as many of the others. Light simulation
(scenes of Gaussians, any pixel scale, seeing, depth, crowding, registration and kernel error,
fourteen kinds of bogus), the engine's own candidates on simulated skies, and real null pairs (SAAO,
DECam, ESO: minutes to hours apart, with sources put in). Groups (sky and camera; object and
overlapping cutouts) lie in one split each, by the hash of their name; shared groups or pixels stop
the training. Orientation, shift, stretch and unit of the template are varied, and whole planes are
taken away (one sample in five), in training only.{start}
"""
_TAIL = """
## Where it fails

- Vetted bogus here were chosen by a low score of the survey's own network: hard ones are rare, and
  the figures on alerts read optimistic. Most gold alerts are asteroids; supernovae and variables
  are a handful, and their rows say little.
- Five of the 104 vetted bogus (objects ZTF18acsbtsw to ZTF18acsbtsz, of one exposure, and
  ZTF18acsbuek) show one round source of 9 to 15 sigma that the template lacks, and nothing else.
  The network takes each for real, also where it has learnt from the other folds, and their
  pictures give no reason not to. Without these five the ROC AUC of the folds is 0.997
  (0.993–0.999) and that on the survey never seen 0.998 (0.995–1.000); the tables above count them
  as labelled.
- Satellite glints are real light and look it: only their neighbours in the row give them away.
- A variable star that changes by no more than the flux scale is wrong cannot be told from a
  residual, and a noise peak at 4 to 5 sigma not from a faint source.
- Undersampled frames (FWHM below 1.5 pixels): a source and a smeared hot pixel are alike.
- Without its science plane, or without its difference, a triplet is judged by what is left: the
  separation is less, and so is the trust that a score deserves.
- Cutouts enlarged twofold by interpolation have noise as smooth as a source; the separation falls.
- Probabilities are calibrated to as many real as bogus. Where bogus outnumber real a hundred to
  one, a score of 0.9 is no promise of 90 %.
- The error is the members' disagreement; what all of them have never seen they may agree upon.

## How to remake it

```
manage.py build_triplets --output DATA --light-skies 960 --engine-pairs 92
manage.py train_network real_bogus --dataset DATA --work WORK
manage.py evaluate_network real_bogus --dataset DATA --work WORK
```

`train_network --start WORK/simulated_only.safetensors` goes on from weights that are there.

Training is deterministic on one thread and goes on after a kill with the same result. The engine's
own candidates change with the engine: a data set built by another version has another hash.
"""


def write_card(report: dict[str, Json], *, about: dict[str, Json], n_parameters: int) -> str:
    """Markdown of a report of ``real_bogus_evaluation.evaluate`` and the record of the weights."""
    record = about["record"]
    text = _HEAD.format(
        n_members=about["n_members"],
        n_parameters=n_parameters,
        sha256=report["weights_sha256"],
        dataset=report["dataset_sha256"][:12],
        n_training=report["n_training"],
        n_alerts=record["n_alerts"],
        start=_start(record["plan"]),
    )
    columns = {"simulated skies, held out": report["simulated"]["all"]}
    for name, figures in report["simulated"]["surveys"].items():
        columns[f"of these: {name}"] = figures
    if "unseen_survey" in report:
        columns["ZTF gold, never seen"] = report["unseen_survey"]["gold"]
        columns["ZTF gold, five grouped folds"] = report["grouped_folds"]["gold"]
        columns["ZTF by its own score, five grouped folds"] = report["grouped_folds"][
            "survey_score"
        ]
    text += "\n## Figures\n\nWith 95 % intervals by drawing groups with replacement.\n\n"
    text += figures_table(columns)
    if "grouped_folds" in report:
        text += (
            f"\nEach fold is scored by {report['grouped_folds']['n_members']} of the members, "
            "trained on alerts that share neither object nor sky with it; the shipped network has "
            "learnt from all alerts.\n"
        )
    text += _reductions(report["simulated"]["surveys"])
    text += _baseline_table(report)
    text += _kinds(report)
    return text + _TAIL


def _start(plan: dict[str, Json]) -> str:
    """What the training went on from, if anything."""
    digest = plan.get("start_sha256", "")
    if not digest:
        return ""
    epochs = plan["first"]["epochs"]
    return (
        f" Its first step went on for {epochs} epochs\nfrom weights `{digest[:12]}`, which had "
        "seen no real alert."
    )


def figures_table(columns: dict[str, Json]) -> str:
    """One row for each set, one column for each metric."""
    lines = [
        "| on | real | bogus | " + " | ".join(_SHOWN.values()) + " |",
        "|---|---|---|" + "---|" * len(_SHOWN),
    ]
    for name, figures in columns.items():
        cells = [interval_text(figures[metric]) for metric in _SHOWN]
        counts = f"{figures['n_real']} | {figures['n_bogus']}"
        lines.append(f"| {name} | {counts} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _reductions(surveys: dict[str, Json]) -> str:
    lines = ["\nBogus passing where 1 % of the real at S/N 6 and above are lost:\n"]
    for name, figures in surveys.items():
        found = figures["reduction_at_1pct_loss"]
        if found["limit"] is not None:
            times = "none pass" if found["factor"] is None else f"{found['factor']} times fewer"
            lines.append(
                f"- {name}: {times} ({found['n_passing']} of {figures['n_bogus']}, "
                f"score above {found['limit']})"
            )
    return "\n".join(lines) + "\n"


def _baseline_table(report: dict[str, Json]) -> str:
    """ROC AUC of what needs no training."""
    sets = {"simulated": report["simulated"]}
    if "grouped_folds" in report:
        sets["ZTF gold"] = report["grouped_folds"]
    names = next(iter(sets.values()))["baselines"]
    lines = [
        "\nBaselines, ROC AUC:\n",
        "| on | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
    ]
    for title, figures in sets.items():
        cells = [interval_text(figures["baselines"][name]["roc_auc"]) for name in names]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _kinds(report: dict[str, Json]) -> str:
    """By kind: real and bogus alike against the whole other class."""
    sets = {name: figures["kinds"] for name, figures in report["simulated"]["surveys"].items()}
    if "grouped_folds" in report:
        sets["ZTF, never seen"] = report["unseen_survey"]["kinds"]
        sets["ZTF, five grouped folds"] = report["grouped_folds"]["kinds"]
    lines = [
        "\n## By kind\n",
        "| on | kind | n | median score | above 0.5 | ROC AUC against the other class |",
        "|---|---|---|---|---|---|",
    ]
    for title, kinds in sets.items():
        for kind, row in sorted(kinds.items(), key=lambda item: (not item[1]["is_real"], item[0])):
            auc = "-" if row["roc_auc"] is None else f"{row['roc_auc']:.3f}"
            lines.append(
                f"| {title} | {kind} | {row['n']} | {row['median_score']:.3f} | "
                f"{100 * row['above_half']:.0f} % | {auc} |"
            )
    return "\n".join(lines) + "\n"


def interval_text(figure: dict[str, float | None]) -> str:
    if figure["value"] is None:
        return "-"
    text = f"{figure['value']:.3f}"
    return text if figure["low"] is None else f"{text} ({figure['low']:.3f}–{figure['high']:.3f})"
