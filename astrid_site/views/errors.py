"""Answers to addresses that lead nowhere."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

from astrid_site.core.problems import status_title


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A page for people; for programs the same shape as every other REST error."""
    if not request.path.startswith("/api/"):
        return defaults.page_not_found(request, exception)
    problem = {
        "type": "urn:astrid:problem:not_found",
        "title": status_title(404),
        "status": 404,
        "code": "not_found",
        "detail": "There is nothing at this address.",
    }
    return JsonResponse(problem, status=404, content_type="application/problem+json")
