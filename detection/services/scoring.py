"""Every model in service scores every candidate; the champion's score is the one shown."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid_site.core.models import FileKind, StoredFile
from astrid_site.core.storage import local_copy, put_file
from detection.models import Detection, ScoringModel

if TYPE_CHECKING:
    from detection.algorithms.measurement import Measurement
    from detection.networks.feature_model import FeatureModel
    from detection.networks.real_bogus import RealBogusEnsemble
    from detection.networks.scoring import ModelScore

#: Weights read and verified by this process, by their hash; a few are in service at a time.
_LOADED: dict[str, FeatureModel | RealBogusEnsemble] = {}
_MAX_LOADED = 6


@dataclass(frozen=True)
class Scored:
    """Scores of candidates by each model in service, the champion's first."""

    models: list[ScoringModel]
    scores: list[list[ModelScore]]
    kept: dict[Any, StoredFile] = field(default_factory=dict)

    def write(self, rows: Sequence[Detection]) -> None:
        """Fill the score columns of rows that are not saved yet, in the order scored."""
        for i, row in enumerate(rows):
            row.model_scores = [
                {
                    "model": str(model.pk),
                    "name": model.name,
                    "version": model.version,
                    "score": scores[i].score,
                    "score_error": scores[i].score_error,
                    "reason": scores[i].reason,
                }
                for model, scores in zip(self.models, self.scores, strict=True)
            ]
            show_score(row)

    def save(self) -> None:
        """Remember where weights are kept that were used for the first time."""
        for key, stored in self.kept.items():
            ScoringModel.objects.filter(pk=key, file=None).update(file=stored)

    @property
    def parameters(self) -> dict[str, str]:
        """Hash of the weights by role and name, as a run records them."""
        return {f"{model.role}: {model}": model.sha256 for model in self.models}


def show_score(row: Detection) -> None:
    """Make the first of a candidate's scores the one that is shown and sorted by."""
    shown = row.model_scores[0] if row.model_scores else None
    row.real_bogus = shown["score"] if shown else None
    row.real_bogus_error = shown["score_error"] if shown else None
    has_score = shown is not None and shown["score"] is not None
    row.scorer = f"{shown['name']} {shown['version']}" if shown and has_score else ""


def models_in_service() -> list[ScoringModel]:
    """Every model that scores new candidates, the champion first, then as they came."""
    rows = ScoringModel.objects.exclude(role=ScoringModel.Role.RETIRED).select_related("file")
    order = ScoringModel.Role.values
    return sorted(rows, key=lambda row: (order.index(row.role), row.created_at, row.pk))


def score_candidates(
    measurements: Sequence[Measurement], cutouts: NDArray[np.float32] | None
) -> Scored:
    """Ask every model in service of all candidates of one frame, in one batch each.

    Parameters
    ----------
    measurements : sequence of Measurement
        Candidates.
    cutouts : NDArray[float32], shape (n, 4, 63, 63), or None
        As they are stored, in the same order; None where there are no candidates.
    """
    from detection.networks.feature_model import FeatureModel
    from detection.networks.scoring import score_cutouts, score_features

    models = models_in_service()
    scores, kept = [], {}
    for model in models:
        scorer = load_scorer(model)
        if model.file is None:
            kept[model.pk] = keep_weights(model)
        if isinstance(scorer, FeatureModel):
            scores.append(score_features(scorer, [m.features for m in measurements]))
        else:
            from detection.networks.real_bogus import one_thread

            with one_thread():
                scores.append(score_cutouts(scorer, cutouts))
    return Scored(models, scores, kept)


def load_scorer(model: ScoringModel) -> FeatureModel | RealBogusEnsemble:
    """Weights in memory, read and verified by their hash once for each process.

    Raises
    ------
    ValueError
        If the weights are not those that the row names.
    """
    from detection.networks.feature_model import FeatureModel
    from detection.networks.real_bogus_weights import load_ensemble

    if model.sha256 not in _LOADED:
        while len(_LOADED) >= _MAX_LOADED:
            del _LOADED[next(iter(_LOADED))]
        with _weights(model) as path:
            if model.family == ScoringModel.Family.FEATURES:
                scorer: FeatureModel | RealBogusEnsemble = FeatureModel.load(path)
            else:
                scorer = load_ensemble(path, about=model.record)
        _LOADED[model.sha256] = scorer
    return _LOADED[model.sha256]


def keep_weights(model: ScoringModel) -> StoredFile:
    """Keep shipped weights in the object store: the next version of AstrID ships others."""
    with _weights(model) as path:
        return put_file(
            path,
            kind=FileKind.WEIGHTS,
            name=f"{model.name} {model.version}{path.suffix}".replace(" ", "-"),
            media_type="application/octet-stream",
        )


def _weights(model: ScoringModel) -> AbstractContextManager[Path]:
    """The file of the weights, its hash verified."""
    if model.file is not None:
        return local_copy(model.file)
    from detection.services.shipped import shipped_weights

    path = shipped_weights(model.family)
    if hashlib.sha256(path.read_bytes()).hexdigest() != model.sha256:
        msg = f"{model}: this version of AstrID ships other weights, and these were never used"
        raise ValueError(msg)
    return nullcontext(path)
