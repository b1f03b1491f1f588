"""What every page is told."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from astrid_site.core import events


def site_context(request: HttpRequest) -> dict[str, Any]:
    """Version, names of simulated surveys on show, and where the event log stands."""
    is_known = hasattr(request, "user") and request.user.is_authenticated
    return {
        "astrid_version": astrid_version(),
        "simulated_surveys": SimpleLazyObject(simulated_surveys) if is_known else [],
        "event_sequence": SimpleLazyObject(events.latest_sequence) if is_known else 0,
    }


@lru_cache(maxsize=1)
def astrid_version() -> str:
    """The version the project file names."""
    with (settings.BASE_DIR / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def simulated_surveys() -> list[str]:
    """Names of surveys whose pixels were simulated and that have observations.

    The model is found by its label: core imports no app.
    """
    observation = apps.get_model("observations", "Observation")
    names = observation.objects.filter(is_simulated=True).values_list("survey__name", flat=True)
    return sorted(set(names.distinct().order_by("survey__name")))
