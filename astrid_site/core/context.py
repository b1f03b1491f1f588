"""What every page is told."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


def site_context(request: HttpRequest) -> dict[str, Any]:
    """Nothing yet that every page needs."""
    return {}
