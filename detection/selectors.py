"""Reading candidates, their pixels, and why they are candidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from django.db.models import Q, QuerySet
from numpy.typing import NDArray

from astrid_site.core.errors import ApplicationError
from astrid_site.core.storage import local_copy
from detection.models import Detection


def detection_list(filters: Mapping[str, Any] | None = None) -> QuerySet[Detection]:
    """Candidates, newest first; filters: observation, kept, min_score, min_real_bogus.

    Raises
    ------
    ApplicationError
        If a number is none.
    """
    wanted = {key: value for key, value in (filters or {}).items() if value not in {None, ""}}
    rows = Detection.objects.select_related("observation", "observation__survey", "run")
    if "observation" in wanted:
        rows = rows.filter(observation_id=wanted["observation"])
    if "kept" in wanted:
        rows = rows.filter(is_kept=str(wanted["kept"]).lower() in {"1", "true", "yes", "on"})
    if "min_score" in wanted:
        least = _number("min_score", wanted["min_score"])
        rows = rows.filter(Q(score__gte=least) | Q(score__lte=-least))
    if "min_real_bogus" in wanted:
        rows = rows.filter(real_bogus__gte=_number("min_real_bogus", wanted["min_real_bogus"]))
    return rows.order_by("-created_at", "id")


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        msg = f"{name}: must be a number, got {value!r}"
        raise ApplicationError(msg) from None


def cutouts(detection: Detection) -> NDArray[np.float32]:
    """Science, template, difference and score around a candidate, shape (4, 63, 63).

    Raises
    ------
    ApplicationError
        If the pixels are gone.
    """
    stored = detection.run.cutouts_file
    if stored is None:
        msg = "the cutouts of this candidate are not kept"
        raise ApplicationError(msg)
    with local_copy(stored) as path:
        stack = np.load(path, mmap_mode="r", allow_pickle=False)
        return np.array(stack[detection.index], dtype=np.float32)


def why_here(detection: Detection) -> list[dict[str, Any]]:
    """Every cut with its value, limit, margin and outcome; the narrowest first."""
    return sorted(
        detection.cuts,
        key=lambda cut: (cut["margin"] is None, cut["margin"] if cut["margin"] is not None else 0),
    )
