"""What the table of observations shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from astrid_site.core.keyset import KeysetPage, keyset_page
from observations import selectors
from observations.models import Observation, Survey

PAGE_SIZE = 50


def observation_table(filters: Mapping[str, Any], *, cursor: str = "") -> KeysetPage[Observation]:
    """One page of observations that fit, newest first."""
    rows = selectors.observation_list(filters)
    return keyset_page(rows, field="created_at", cursor=cursor, size=PAGE_SIZE)


def bands() -> list[str]:
    """Bands that occur, for the filter's list."""
    found = Observation.objects.exclude(band="").values_list("band", flat=True)
    return sorted(set(found.distinct().order_by("band")))


def survey_names() -> list[str]:
    """Surveys that take new frames."""
    rows = Survey.objects.filter(is_active=True).order_by("name")
    return list(rows.values_list("name", flat=True))
