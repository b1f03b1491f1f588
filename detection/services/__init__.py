"""Writing candidates: the search of a difference, their scores, and the models that give them."""

from detection.services.canaries import (
    CANARIES,
    canaries_in_use,
    compare_results,
    examine,
    find_harm,
    keep_canaries,
    latest_result,
    make_canaries,
    request_canaries,
    result_at_promotion,
    scores_of,
)
from detection.services.mirror import MIRROR, run_mirror
from detection.services.registry import (
    RESCORE,
    adopt_shipped,
    promote,
    register_network,
    replaced_by,
    request_rescore,
    roll_back,
    set_role,
)
from detection.services.scoring import (
    models_in_service,
    rescore_run,
    score_candidates,
    verify_weights,
)
from detection.services.search import run_detect
from detection.services.training import TRAIN, request_training, run_training

__all__ = [
    "CANARIES",
    "MIRROR",
    "RESCORE",
    "TRAIN",
    "adopt_shipped",
    "canaries_in_use",
    "compare_results",
    "examine",
    "find_harm",
    "keep_canaries",
    "latest_result",
    "make_canaries",
    "models_in_service",
    "promote",
    "register_network",
    "replaced_by",
    "request_canaries",
    "request_rescore",
    "request_training",
    "rescore_run",
    "result_at_promotion",
    "roll_back",
    "run_detect",
    "run_mirror",
    "run_training",
    "score_candidates",
    "scores_of",
    "set_role",
    "verify_weights",
]
