"""The pages of data sets and of the trainings on them."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from astrid_site import datasets
from astrid_site.accounts.people import signed_in
from astrid_site.core.errors import ApplicationError
from astrid_site.core.pictures import picture_response
from astrid_site.pages import datasets as pages
from detection.models import DataSet, TrainingRun
from detection.services import request_training, training


@login_required
@permission_required("detection.view_dataset", raise_exception=True)
@require_GET
def listing(request: HttpRequest) -> HttpResponse:
    """Every version; only what changes for a page that is already open."""
    context = {
        "section": "datasets",
        "page": pages.list_page(),
        "default_name": datasets.DEFAULT_NAME,
        "default_skies": datasets.DEFAULT_SKIES,
        "max_skies": datasets.MAX_SKIES,
    }
    is_part = request.headers.get("HX-Target") == "datasets"
    template = "datasets/partials/versions.html" if is_part else "datasets/list.html"
    return render(request, template, context)


@login_required
@permission_required("detection.add_dataset", raise_exception=True)
@require_POST
def build(request: HttpRequest) -> HttpResponse:
    """Have the next version built of all verdicts."""
    skies = request.POST.get("skies", "").strip()
    if skies and not (skies.isascii() and skies.isdigit() and len(skies) < 5):
        messages.error(request, "Not built: simulated skies must be a whole number.")
        return redirect("datasets:list")
    try:
        datasets.request_build(
            signed_in(request),
            name=request.POST.get("name") or datasets.DEFAULT_NAME,
            n_skies=int(skies) if skies else datasets.DEFAULT_SKIES,
        )
    except ApplicationError as error:
        messages.error(request, f"Not built: {error}.")
    else:
        messages.success(request, "A worker builds it; this page shows how far it is.")
    return redirect("datasets:list")


@login_required
@permission_required("detection.view_dataset", raise_exception=True)
@require_GET
def detail(request: HttpRequest, dataset_id: UUID) -> HttpResponse:
    """One version: what is in it, what was left out, what changed, what was learnt from it."""
    dataset = _dataset(dataset_id)
    context = {"section": "datasets", "page": pages.dataset_page(dataset), "dataset": dataset}
    context |= {"strip_width": pages.STRIP_WIDTH, "strip_height": pages.STRIP_HEIGHT}
    return render(request, "datasets/detail.html", context)


@login_required
@permission_required("detection.view_dataset", raise_exception=True)
@require_GET
def mosaic(request: HttpRequest, dataset_id: UUID) -> HttpResponse:
    """The picture of some of its samples."""
    stored = _dataset(dataset_id).mosaic_file
    if stored is None:
        msg = "No picture is kept of this data set."
        raise Http404(msg)
    return picture_response(stored)


@login_required
@permission_required("detection.add_dataset", raise_exception=True)
@require_POST
def cancel(request: HttpRequest, dataset_id: UUID) -> HttpResponse:
    """Stop building a version."""
    dataset = _dataset(dataset_id)
    job = datasets.build_job(dataset)
    try:
        if job is None:
            msg = "nothing is being built"
            raise ApplicationError(msg)
        training.stop(job, signed_in(request), dataset)
    except ApplicationError as error:
        messages.error(request, f"Not cancelled: {error}.")
    else:
        messages.success(request, "Cancelled; nothing of it is kept.")
    return redirect("datasets:list")


@login_required
@permission_required("detection.add_trainingrun", raise_exception=True)
@require_POST
def train(request: HttpRequest, dataset_id: UUID) -> HttpResponse:
    """Have the network trained on with a version."""
    dataset = _dataset(dataset_id)
    try:
        run = request_training(dataset, signed_in(request))
    except ApplicationError as error:
        messages.error(request, f"Not trained: {error}.")
        return redirect("datasets:detail", dataset.pk)
    return redirect("datasets:training", run.pk)


@login_required
@permission_required("detection.view_trainingrun", raise_exception=True)
@require_GET
def training_detail(request: HttpRequest, training_id: UUID) -> HttpResponse:
    """One training, live; only what changes for a page that is already open."""
    run = _training(training_id)
    context = {"section": "datasets", "page": pages.training_page(run), "run": run}
    is_part = request.headers.get("HX-Target") == "training"
    template = "datasets/partials/progress.html" if is_part else "datasets/training.html"
    return render(request, template, context)


@login_required
@permission_required("detection.add_trainingrun", raise_exception=True)
@require_POST
def stop_training(request: HttpRequest, training_id: UUID) -> HttpResponse:
    """Cancel a training; its last epoch is kept, so that it can go on."""
    run = _training(training_id)
    job = training.job_of(run)
    try:
        if job is None:
            msg = "it was never queued"
            raise ApplicationError(msg)
        training.stop(job, signed_in(request), run)
    except ApplicationError as error:
        messages.error(request, f"Not cancelled: {error}.")
    else:
        messages.success(request, "Cancelled. It can go on from its last epoch.")
    return redirect("datasets:training", run.pk)


@login_required
@permission_required("detection.add_trainingrun", raise_exception=True)
@require_POST
def go_on(request: HttpRequest, training_id: UUID) -> HttpResponse:
    """Let a training that was stopped go on."""
    run = _training(training_id)
    try:
        training.go_on(run, signed_in(request))
    except ApplicationError as error:
        messages.error(request, f"Not begun: {error}.")
    return redirect("datasets:training", run.pk)


def _dataset(dataset_id: UUID) -> DataSet:
    rows = DataSet.objects.select_related("file", "mosaic_file", "requested_by")
    return get_object_or_404(rows, pk=dataset_id)


def _training(training_id: UUID) -> TrainingRun:
    rows = TrainingRun.objects.select_related("dataset", "start", "model", "requested_by")
    return get_object_or_404(rows, pk=training_id)
