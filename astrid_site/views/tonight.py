"""The first page and its live parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import login_required, permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from astrid_site.pages import tonight


def _funnel(request: HttpRequest) -> dict[str, Any]:
    return {"funnel": tonight.funnel(request.GET.get("span", ""))}


def _work(request: HttpRequest) -> dict[str, Any]:
    return {"work": tonight.work()}


def _failures(request: HttpRequest) -> dict[str, Any]:
    rows, total = tonight.failures()
    return {"failures": rows, "n_failures": total}


def _workers(request: HttpRequest) -> dict[str, Any]:
    return {"signs": tonight.signs_of_life()}


def _newest(request: HttpRequest) -> dict[str, Any]:
    return {"newest": tonight.newest()}


PARTS: dict[str, Callable[[HttpRequest], dict[str, Any]]] = {
    "funnel": _funnel,
    "work": _work,
    "failures": _failures,
    "workers": _workers,
    "newest": _newest,
}


@login_required
@permission_required("observations.view_observation", raise_exception=True)
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """Tonight at a glance."""
    context: dict[str, Any] = {"section": "tonight", "has_frames": tonight.has_frames()}
    for read in PARTS.values():
        context |= read(request)
    return render(request, "tonight/home.html", context)


@login_required
@permission_required("observations.view_observation", raise_exception=True)
@require_GET
def part(request: HttpRequest, name: str) -> HttpResponse:
    """One live part of the page."""
    if name not in PARTS:
        msg = f"There is no part {name}."
        raise Http404(msg)
    return render(request, f"tonight/partials/{name}.html", PARTS[name](request))
