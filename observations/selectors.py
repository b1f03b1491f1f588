"""Reading observations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from django.db.models import Q, QuerySet

from astrid_site.core.errors import ApplicationError
from observations.models import Observation, Survey


def observation_list(filters: Mapping[str, Any] | None = None) -> QuerySet[Observation]:
    """Observations for tables and lists, newest first.

    Filters: ``survey`` (name, slug or row), ``band``, ``status``, ``stage``, ``target``, ``role``,
    ``q`` (text in target, id, telescope or instrument), ``since`` and ``until`` (dates, UTC).

    Raises
    ------
    ApplicationError
        If a date is not ISO.
    """
    wanted = {key: value for key, value in (filters or {}).items() if value not in {None, ""}}
    rows = Observation.objects.select_related("survey", "raw_file", "submitted_by")
    for name in ("band", "status", "stage", "role"):
        if name in wanted:
            rows = rows.filter(**{name: wanted[name]})
    if "target" in wanted:
        rows = rows.filter(target__iexact=wanted["target"])
    if "survey" in wanted:
        rows = rows.filter(survey_is(wanted["survey"]))
    if "q" in wanted:
        rows = rows.filter(_mentions(str(wanted["q"])))
    if "since" in wanted:
        rows = rows.filter(observed_at__date__gte=_day("since", wanted["since"]))
    if "until" in wanted:
        rows = rows.filter(observed_at__date__lte=_day("until", wanted["until"]))
    return rows.order_by("-created_at", "id")


def simulated_names(survey: Survey) -> list[str]:
    """The survey's name if frames of it were simulated: what a page about it alone must say."""
    has_any = Observation.objects.filter(survey=survey, is_simulated=True).exists()
    return [survey.name] if has_any else []


def survey_is(wanted: Any, *, prefix: str = "") -> Q:
    """Rows of a survey: itself, its slug or its name; ``prefix`` leads to the observation."""
    if hasattr(wanted, "pk"):
        return Q(**{f"{prefix}survey": wanted})
    return Q(**{f"{prefix}survey__slug": wanted}) | Q(**{f"{prefix}survey__name__iexact": wanted})


def _mentions(text: str) -> Q:
    found = Q()
    for name in ("target", "observation_id", "telescope", "instrument"):
        found |= Q(**{f"{name}__icontains": text})
    return found


def _day(name: str, value: Any) -> date:
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        msg = f"{name}: must be a date like 2026-11-23, got {value!r}"
        raise ApplicationError(msg) from None
