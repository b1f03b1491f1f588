"""The pages of calibration: cameras with their masters, one master, its picture."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required, permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from astrid_site.core.pictures import picture_response
from preprocessing import pages
from preprocessing.models import CalibrationMaster


@login_required
@permission_required("preprocessing.view_calibrationmaster", raise_exception=True)
@require_GET
def calibration(request: HttpRequest) -> HttpResponse:
    """Every camera with its masters."""
    context = {"section": "observations", "page": pages.calibration_page()}
    return render(request, "preprocessing/calibration.html", context)


@login_required
@permission_required("preprocessing.view_calibrationmaster", raise_exception=True)
@require_GET
def master(request: HttpRequest, master_id: UUID) -> HttpResponse:
    """One master: its frames, its comparison with the last, what it was used for."""
    rows = CalibrationMaster.objects.select_related(
        "camera__survey", "file", "preview_file", "previous", "bias", "dark", "superseded_by"
    )
    page = pages.master_page(get_object_or_404(rows, pk=master_id))
    survey = page.row.master.camera.survey
    context = {
        "section": "observations",
        "page": page,
        "master": page.row.master,
        "simulated_surveys": [survey.name] if survey.is_simulated else [],
    }
    return render(request, "preprocessing/master.html", context)


@login_required
@permission_required("preprocessing.view_calibrationmaster", raise_exception=True)
@require_GET
def picture(request: HttpRequest, master_id: UUID) -> HttpResponse:
    """A master as PNG."""
    rows = CalibrationMaster.objects.select_related("preview_file")
    stored = get_object_or_404(rows, pk=master_id).preview_file
    return picture_response(stored)
