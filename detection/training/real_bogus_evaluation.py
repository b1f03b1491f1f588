"""What the real-bogus network is worth: simulations held out, real alerts unseen and by fold."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from detection.networks.real_bogus import RealBogusNetwork
from detection.networks.real_bogus_weights import load_members, read_record
from detection.training.baselines import baseline_scores
from detection.training.epochs import Progress
from detection.training.metrics import METRICS, curves, judge, roc_auc
from detection.training.real_bogus_ensemble import (
    EnsemblePlan,
    calibrate,
    member_logits,
    probabilities,
    split_alerts,
    train_on_alerts,
)
from detection.training.real_triplets import SURVEY_SCORE
from detection.training.triplet_dataset import (
    Prepared,
    fold_of,
    load_dataset,
    read_manifest,
)

Json = Any
Values = NDArray[np.float64]

N_FOLDS = 5
#: Members trained for each fold: fewer than are shipped, which errs on the safe side.
N_FOLD_MEMBERS = 1
#: Loss of real candidates at which the reduction of bogus ones is counted, and their least S/N.
_LOSS, _LOSS_SNR = 0.01, 6.0


def evaluate(
    dataset: Path,
    *,
    weights: Path,
    simulated_only: Path,
    plan: EnsemblePlan,
    folder: Path,
    progress: Progress,
) -> dict[str, Json]:
    """All figures of the model card.

    Parameters
    ----------
    dataset : Path
        The data set of the training.
    weights, simulated_only : Path
        The network, and the one that has seen no real alert.
    plan : EnsemblePlan
        Of the training: the folds are trained by its second step.
    folder : Path
        For the checkpoints of the folds; an interrupted evaluation goes on there.
    progress : callable
        Gets one line for each part.

    Returns
    -------
    dict
        ``simulated`` by survey and kind; ``unseen_survey``: real alerts by the network that has
        seen none; ``grouped_folds``: each alert by a network that has not seen its group;
        ``baselines`` in each.
    """
    samples = load_dataset(dataset)
    parts, copies = split_alerts(dataset, samples, seed=plan.second.seed)
    report: dict[str, Json] = {
        "weights_sha256": read_record(weights)["sha256"],
        "dataset_sha256": read_manifest(dataset)["sha256"],
        "n_training": len(parts["train"]),
        "simulated": judge_simulated(parts["test"], scores_of(weights, parts["test"])),
    }
    progress(f"simulated test: {report['simulated']['all']['roc_auc']}")
    if copies:
        alerts = copies[0]
        report["unseen_survey"] = judge_alerts(alerts, scores_of(simulated_only, alerts))
        progress(f"unseen survey: {report['unseen_survey']['gold']['roc_auc']}")
        members = load_members(simulated_only)[:N_FOLD_MEMBERS]
        held_out = score_folds(members, parts, copies, plan=plan, folder=folder, progress=progress)
        report["grouped_folds"] = {
            **judge_alerts(alerts, held_out),
            "n_members": len(members),
        }
        progress(f"grouped folds: {report['grouped_folds']['gold']['roc_auc']}")
    return report


def scores_of(weights: Path, samples: Prepared) -> Values:
    """Calibrated scores by saved weights."""
    about = read_record(weights)
    logits = member_logits(load_members(weights, about=about), samples).mean(axis=0)
    return probabilities(logits, (float(about["temperature"]), float(about["offset"])))


def score_folds(
    members: list[RealBogusNetwork],
    parts: dict[str, Prepared],
    copies: list[Prepared],
    *,
    plan: EnsemblePlan,
    folder: Path,
    progress: Progress,
) -> Values:
    """Scores (n,) of the first copy of alerts, each by members trained on the other folds."""
    alerts = copies[0]
    fold = np.array([fold_of(str(group), N_FOLDS) for group in alerts.group])
    scores = np.full(len(alerts), np.nan)
    for k in np.unique(fold):
        trained = train_on_alerts(
            members,
            parts,
            [copy.select(fold != k) for copy in copies],
            plan=plan,
            folder=folder / f"fold{k}",
            progress=progress,
        )
        validation = member_logits(trained, parts["validation"]).mean(axis=0)
        calibration = calibrate(validation, parts["validation"])
        logits = member_logits(trained, alerts.select(fold == k)).mean(axis=0)
        scores[fold == k] = probabilities(logits, calibration)
    return scores


def judge_simulated(samples: Prepared, score: Values) -> dict[str, Json]:
    """Figures on held-out simulated skies: together, by survey and by kind."""
    report: dict[str, Json] = {
        "all": _judge(samples, score),
        "curves": curves(score, samples.is_real),
        "surveys": {},
    }
    for survey in np.unique(samples.survey):
        rows = samples.survey == survey
        part, values = samples.select(rows), score[rows]
        report["surveys"][str(survey)] = {
            **_judge(part, values),
            "reduction_at_1pct_loss": reduction(values, part),
            "kinds": by_kind(part, values),
        }
    report["baselines"] = _baselines(samples)
    return report


def judge_alerts(samples: Prepared, score: Values) -> dict[str, Json]:
    """Figures on real alerts: gold labels, those by the survey's score, and by kind."""
    is_circular = samples.kind == SURVEY_SCORE
    gold, circular = ~is_circular, is_circular | ~samples.is_real
    return {
        "gold": _judge(samples.select(gold), score[gold]),
        "curves": curves(score[gold], samples.is_real[gold]),
        "survey_score": _judge(samples.select(circular), score[circular]),
        "kinds": by_kind(samples, score),
        "baselines": _baselines(samples.select(gold)),
    }


def by_kind(samples: Prepared, score: Values) -> dict[str, Json]:
    """Each kind: number, median score, share above one half, ROC AUC against the other class."""
    table = {}
    for kind in np.unique(samples.kind):
        rows = samples.kind == kind
        is_real = bool(samples.is_real[rows][0])
        against = rows | (samples.is_real != is_real)
        auc = roc_auc(score[against], samples.is_real[against])
        table[str(kind)] = {
            "is_real": is_real,
            "n": int(rows.sum()),
            "median_score": round(float(np.median(score[rows])), 4),
            "above_half": round(float((score[rows] >= 0.5).mean()), 4),
            "roc_auc": None if auc is None else round(auc, 4),
        }
    return table


class Counted(Protocol):
    """Samples of which the truth and the significance are known."""

    @property
    def is_real(self) -> NDArray[np.bool_]:
        """The truth."""

    @property
    def snr(self) -> Values:
        """|Significance| [sigma]."""


def reduction(score: Values, samples: Counted) -> dict[str, float | int | None]:
    """How many times fewer bogus pass where 1 % of the real at S/N 6 and above are lost."""
    counted = samples.is_real & (samples.snr >= _LOSS_SNR)
    bogus = score[~samples.is_real]
    if not counted.any() or len(bogus) == 0:
        return {"limit": None, "n_passing": None, "factor": None}
    limit = float(np.quantile(score[counted], _LOSS, method="lower"))
    n_passing = int((bogus >= limit).sum())
    factor = round(len(bogus) / n_passing, 1) if n_passing else None
    return {"limit": round(limit, 4), "n_passing": n_passing, "factor": factor}


def _judge(samples: Prepared, score: Values, names: tuple[str, ...] = tuple(METRICS)) -> Json:
    return judge(score, samples.is_real, group=samples.group, names=names)


def _baselines(samples: Prepared) -> dict[str, Json]:
    return {
        name: _judge(samples, score, ("roc_auc",))
        for name, score in baseline_scores(samples).items()
    }
