"""Answers to requests that no view answers: pages for people, problems for programs."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

from astrid_site.core.problems import PROBLEM_TYPE, problem_body


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A request that Django itself refuses."""
    if not _is_api(request):
        return defaults.bad_request(request, exception)
    return _problem(400, "refused", "The request is not acceptable.")


def not_allowed(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Something that the person may not do."""
    if not _is_api(request):
        return defaults.permission_denied(request, exception)
    return _problem(403, "permission_denied", "Your account may not do this.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """An address that leads nowhere."""
    if not _is_api(request):
        return defaults.page_not_found(request, exception)
    return _problem(404, "not_found", "There is nothing at this address.")


def failed(request: HttpRequest) -> HttpResponse:
    """A defect of ours; what it was stands in the log alone."""
    if not _is_api(request):
        return defaults.server_error(request)
    return _problem(500, "internal", "A defect of AstrID; the log of the web server tells more.")


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def _problem(code: int, name: str, detail: str) -> HttpResponse:
    body = problem_body(code, name, detail)
    return JsonResponse(body, status=code, content_type=PROBLEM_TYPE)
