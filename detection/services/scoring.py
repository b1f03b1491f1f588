"""Every model in service scores every candidate; the champion's score is the one shown."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid_site.core.errors import ApplicationError, TransientError
from astrid_site.core.models import FileKind, StoredFile
from astrid_site.core.storage import local_copy, put_file
from detection.models import Detection, DetectionRun, ScoringModel

if TYPE_CHECKING:
    from detection.algorithms.measurement import Measurement
    from detection.networks.combined import CombinedModel
    from detection.networks.feature_model import FeatureModel
    from detection.networks.real_bogus import RealBogusEnsemble
    from detection.networks.scoring import ModelScore

    Scorer = FeatureModel | RealBogusEnsemble | CombinedModel

#: Weights read and verified by this process, by their hash; a few are in service at a time.
_LOADED: dict[str, Scorer] = {}
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
                _as_json(model, scores[i])
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
    """Make the first of a candidate's scores, the champion's, the one shown and sorted by."""
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

    Raises
    ------
    TransientError
        If the weights of one are gone or damaged: the frame waits until that model is out of
        service, which the canaries see to.
    """
    asked = _Asked([m.features for m in measurements], cutouts)
    models = models_in_service()
    scores = [_ask(asked, model) for model in models]
    kept = {model.pk: keep_weights(model) for model in models if model.file is None}
    return Scored(models, scores, kept)


def _ask(asked: _Asked, model: ScoringModel) -> list[ModelScore]:
    try:
        return asked.score(load_scorer(model), sha256=model.sha256)
    except (ApplicationError, ValueError) as error:
        msg = f"{model} cannot be asked: {error}"
        raise TransientError(msg) from error


class _Asked:
    """Candidates of one frame, and what models said of them; each is asked once."""

    def __init__(
        self,
        features: Sequence[Mapping[str, float | None]],
        cutouts: NDArray[np.float32] | None,
    ) -> None:
        self._features, self._cutouts = features, cutouts
        self._said: dict[str, list[ModelScore]] = {}

    def score(self, scorer: Scorer, *, sha256: str) -> list[ModelScore]:
        """Scores in the order of the candidates; a combined model asks its two parts."""
        if sha256 not in self._said:
            self._said[sha256] = self._ask(scorer)
        return self._said[sha256]

    def _ask(self, scorer: Scorer) -> list[ModelScore]:
        from detection.networks.combined import CombinedModel
        from detection.networks.feature_model import FeatureModel
        from detection.networks.real_bogus import one_thread
        from detection.networks.scoring import ModelScore, score_cutouts, score_features

        if isinstance(scorer, CombinedModel):
            parts = (scorer.features_sha256, scorer.network_sha256)
            return scorer.combine(*(self.score(_load_part(key), sha256=key) for key in parts))
        if isinstance(scorer, FeatureModel):
            return score_features(scorer, self._features)
        if self._cutouts is None:
            return [ModelScore(None, None, "no cutouts are kept") for _ in self._features]
        with one_thread():
            return score_cutouts(scorer, self._cutouts)


def _load_part(sha256: str) -> Scorer:
    """One of the two models that a combined one asks."""
    model = ScoringModel.objects.select_related("file").filter(sha256=sha256).first()
    if model is None:
        msg = f"the combined model needs weights {sha256[:12]}, which are not registered"
        raise ValueError(msg)
    return load_scorer(model)


def load_scorer(model: ScoringModel) -> Scorer:
    """Weights in memory, read and verified by their hash once for each process.

    Raises
    ------
    ValueError
        If the weights are not those that the row names.
    """
    if model.sha256 not in _LOADED:
        while len(_LOADED) >= _MAX_LOADED:
            del _LOADED[next(iter(_LOADED))]
        with open_weights(model) as path:
            _LOADED[model.sha256] = _read(model, path)
    return _LOADED[model.sha256]


def _read(model: ScoringModel, path: Path) -> Scorer:
    from detection.networks.combined import CombinedModel
    from detection.networks.feature_model import FeatureModel
    from detection.networks.real_bogus_weights import load_ensemble

    if model.family == ScoringModel.Family.FEATURES:
        return FeatureModel.load(path)
    if model.family == ScoringModel.Family.COMBINED:
        return CombinedModel.load(path)
    return load_ensemble(path, about=model.record)


def verify_weights(model: ScoringModel) -> None:
    """Read the bytes of the weights from where they are kept and compare their hash.

    Raises
    ------
    ApplicationError
        If they are gone or are not those that the row names.
    """
    try:
        with open_weights(model):
            pass
    except (OSError, ValueError) as error:
        msg = f"{model}: {error}"
        raise ApplicationError(msg) from error


def score_afresh(
    model: ScoringModel,
    features: Sequence[Mapping[str, float | None]],
    cutouts: NDArray[np.float32],
) -> list[ModelScore]:
    """Scores of candidates by one model whose weights are read and verified anew.

    Raises
    ------
    ApplicationError, ValueError, KeyError, RuntimeError
        If its weights, or those of a model it asks, are gone, are others or cannot be read.
    """
    _LOADED.clear()
    return _Asked(features, cutouts).score(load_scorer(model), sha256=model.sha256)


def rescore_run(run: DetectionRun) -> int:
    """Show the champion's scores on the stored candidates of one search; returns how many changed.

    A model that came into service after the search is asked now, on the stored cutouts and
    features. Doing it twice changes nothing.
    """
    models = models_in_service()
    rows = list(Detection.objects.filter(run=run).order_by("index"))
    changed = [row for row in rows if _bring_up_to_date(row, models)]
    missing = [m for m in models if any(_score_by(row, m) is None for row in rows)]
    if missing:
        asked = _stored_candidates(run, rows)
        for model in missing:
            scores = asked.score(load_scorer(model), sha256=model.sha256)
            for row, score in zip(rows, scores, strict=True):
                if _score_by(row, model) is None:
                    row.model_scores.append(_as_json(model, score))
        changed = rows
    for row in changed:
        _bring_up_to_date(row, models)
        show_score(row)
    columns = ["model_scores", "real_bogus", "real_bogus_error", "scorer"]
    Detection.objects.bulk_update(changed, columns, batch_size=200)
    return len(changed)


def _stored_candidates(run: DetectionRun, rows: list[Detection]) -> _Asked:
    """Candidates of one search as they are stored; without cutouts where those are not kept."""
    features = [row.features for row in rows]
    if run.cutouts_file is None:
        return _Asked(features, None)
    with local_copy(run.cutouts_file) as path:
        stack = np.load(path, mmap_mode="r", allow_pickle=False)
        return _Asked(features, np.array(stack[[row.index for row in rows]]))


def _bring_up_to_date(row: Detection, models: list[ScoringModel]) -> bool:
    """Sort a candidate's scores as the models are in service now; whether that moved any."""
    order = {str(model.pk): i for i, model in enumerate(models)}
    before = [said["model"] for said in row.model_scores]
    row.model_scores.sort(key=lambda said: order.get(said["model"], len(order)))
    return before != [said["model"] for said in row.model_scores]


def _score_by(row: Detection, model: ScoringModel) -> dict[str, Any] | None:
    """What one model said of a candidate; None where it was not asked."""
    key = str(model.pk)
    return next((said for said in row.model_scores if said["model"] == key), None)


def _as_json(model: ScoringModel, score: ModelScore) -> dict[str, Any]:
    return {
        "model": str(model.pk),
        "name": model.name,
        "version": model.version,
        "score": score.score,
        "score_error": score.score_error,
        "reason": score.reason,
    }


def keep_weights(model: ScoringModel) -> StoredFile:
    """Keep shipped weights in the object store: the next version of AstrID ships others."""
    with open_weights(model) as path:
        return put_file(
            path,
            kind=FileKind.WEIGHTS,
            name=f"{model.name} {model.version}{path.suffix}".replace(" ", "-"),
            media_type="application/octet-stream",
        )


def open_weights(model: ScoringModel) -> AbstractContextManager[Path]:
    """The file of the weights, its hash verified."""
    if model.file is not None:
        return local_copy(model.file)
    from detection.services.shipped import shipped_weights

    path = shipped_weights(model.family)
    if hashlib.sha256(path.read_bytes()).hexdigest() != model.sha256:
        msg = f"{model}: this version of AstrID ships other weights, and these were never used"
        raise ValueError(msg)
    return nullcontext(path)
