"""Every address under /api/v1/, and the endpoints that need several apps."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.urls import path
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework import generics, serializers
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from astrid_site import control
from astrid_site.accounts.api import ApiKeyDetail, ApiKeyList
from astrid_site.core.fields import ListQuery, read_query
from astrid_site.core.models import Job
from astrid_site.core.permissions import person
from astrid_site.core.status import JobState, RunStatus
from astrid_site.dataset_api import (
    DatasetDetail,
    DatasetList,
    DatasetManifest,
    DatasetTrain,
    TrainingDetail,
    TrainingList,
)
from astrid_site.explaining.api import ExplainPosition
from astrid_site.model_api import ModelGate, ModelPromote, ModelRollBack
from astrid_site.monitoring.api import HealthLive, HealthReady
from astrid_site.pages.observation import stage_rows
from catalog.api import (
    ConeSearch,
    ForcedRequestDetail,
    ForcedRequestExport,
    ForcedRequestList,
    LightCurveExport,
    ObjectDetail,
    ObjectExport,
    ObjectList,
    ObjectSearchList,
    ObjectStatements,
    SavedSearchDetail,
    SavedSearchList,
    StatementDetail,
    WatchedPlace,
)
from catalog.api.context import ObjectContext
from curation.api import CandidateConsensus, CandidateVerdict, NextCandidates
from detection.api import (
    CandidateDetail,
    CandidateList,
    CandidatePanel,
    CandidatePixels,
    ModelDetail,
    ModelList,
)
from observations.api import ObservationDetail, ObservationList, SurveyList
from observations.models import Observation
from preprocessing.api import CameraList, MasterDetail, MasterList

app_name = "api"


class JobOutput(serializers.ModelSerializer[Job]):
    """One row of the job ledger."""

    class Meta:
        model = Job
        fields = (
            "id",
            "kind",
            "subject_id",
            "queue",
            "state",
            "attempts",
            "progress",
            "message",
            "cause",
            "created_at",
            "started_at",
            "finished_at",
        )


class JobQuery(ListQuery):
    """Filters of the list of jobs."""

    subject = serializers.UUIDField(required=False, help_text="The observation worked on.")
    kind = serializers.CharField(required=False, max_length=40)
    state = serializers.ChoiceField(required=False, choices=JobState.choices)


class JobList(generics.ListAPIView[Job]):
    """Jobs, newest first."""

    required_permissions = {"GET": "core.view_job"}
    serializer_class = JobOutput

    @extend_schema(parameters=[JobQuery])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One page of jobs."""
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Job]:
        """Apply the filters of the query string."""
        wanted = read_query(JobQuery, self.request)
        if "subject" in wanted:
            wanted["subject_id"] = wanted.pop("subject")
        return Job.objects.filter(**wanted)


class JobDetail(generics.RetrieveAPIView[Job]):
    """One job."""

    required_permissions = {"GET": "core.view_job"}
    serializer_class = JobOutput
    queryset = Job.objects.all()


class StageOutput(serializers.Serializer[Any]):
    """One stage of an observation; ``none`` where it was not reached."""

    stage = serializers.CharField(source="name")
    title = serializers.CharField()
    status = serializers.ChoiceField(choices=["none", "queued", *RunStatus.values])
    reason = serializers.CharField(source="run.reason", default="")
    metrics = serializers.JSONField(source="run.metrics", default=dict)
    numbers = serializers.JSONField(source="run.numbers", default=dict)
    started_at = serializers.DateTimeField(source="run.started_at", default=None, allow_null=True)
    finished_at = serializers.DateTimeField(source="run.finished_at", default=None, allow_null=True)
    seconds = serializers.FloatField(allow_null=True)
    job = serializers.UUIDField(source="job.id", default=None, allow_null=True)
    progress = serializers.FloatField(source="job.progress", default=None, allow_null=True)


class ObservationTimeline(APIView):
    """Every stage of one observation: state, reason, numbers."""

    required_permissions = {"GET": "observations.view_observation"}

    @extend_schema(responses=StageOutput(many=True))
    def get(self, request: Request, pk: UUID) -> Response:
        """The stages in their order."""
        rows = stage_rows(get_object_or_404(Observation, pk=pk))
        return Response(StageOutput(rows, many=True).data)


class ObservationRetry(APIView):
    """Runs an observation again from the stage that did not succeed."""

    required_permissions = {"POST": "observations.change_observation"}

    @extend_schema(request=None, responses={202: JobOutput})
    def post(self, request: Request, pk: UUID) -> Response:
        """Queue it again."""
        job = control.retry(get_object_or_404(Observation, pk=pk), person(request))
        return Response(JobOutput(job).data, status=202)


class ObservationCancel(APIView):
    """Stops the work on an observation."""

    required_permissions = {"POST": "observations.change_observation"}

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request, pk: UUID) -> Response:
        """Cancel its unfinished job."""
        control.cancel(get_object_or_404(Observation, pk=pk), person(request))
        return Response(status=204)


class Schema(SpectacularAPIView):
    """The OpenAPI document, for people who are signed in."""

    permission_classes = [IsAuthenticated]
    renderer_classes = [OpenApiJsonRenderer2]


class Docs(SpectacularSwaggerSplitView):
    """The API's pages, served from here alone."""

    permission_classes = [IsAuthenticated]
    url_name = "api:schema"


urlpatterns = [
    path("health/live/", HealthLive.as_view(), name="health-live"),
    path("health/ready/", HealthReady.as_view(), name="health-ready"),
    path("schema/", Schema.as_view(), name="schema"),
    path("docs/", login_required(Docs.as_view()), name="docs"),
    path("keys/", ApiKeyList.as_view(), name="key-list"),
    path("keys/<uuid:pk>/", ApiKeyDetail.as_view(), name="key-detail"),
    path("surveys/", SurveyList.as_view(), name="survey-list"),
    path("observations/", ObservationList.as_view(), name="observation-list"),
    path("observations/<uuid:pk>/", ObservationDetail.as_view(), name="observation-detail"),
    path(
        "observations/<uuid:pk>/timeline/",
        ObservationTimeline.as_view(),
        name="observation-timeline",
    ),
    path("observations/<uuid:pk>/retry/", ObservationRetry.as_view(), name="observation-retry"),
    path("observations/<uuid:pk>/cancel/", ObservationCancel.as_view(), name="observation-cancel"),
    path("jobs/", JobList.as_view(), name="job-list"),
    path("jobs/<uuid:pk>/", JobDetail.as_view(), name="job-detail"),
    path("candidates/", CandidateList.as_view(), name="candidate-list"),
    path("candidates/next/", NextCandidates.as_view(), name="candidate-next"),
    path("candidates/<uuid:pk>/", CandidateDetail.as_view(), name="candidate-detail"),
    path("candidates/<uuid:pk>/cutouts/", CandidatePixels.as_view(), name="candidate-pixels"),
    path(
        "candidates/<uuid:pk>/cutouts/<str:panel>.png",
        CandidatePanel.as_view(),
        name="candidate-panel",
    ),
    path("candidates/<uuid:pk>/verdict/", CandidateVerdict.as_view(), name="candidate-verdict"),
    path(
        "candidates/<uuid:pk>/consensus/",
        CandidateConsensus.as_view(),
        name="candidate-consensus",
    ),
    path("explain/", ExplainPosition.as_view(), name="explain"),
    path("cameras/", CameraList.as_view(), name="camera-list"),
    path("masters/", MasterList.as_view(), name="master-list"),
    path("masters/<uuid:pk>/", MasterDetail.as_view(), name="master-detail"),
    path("datasets/", DatasetList.as_view(), name="dataset-list"),
    path("datasets/<uuid:pk>/", DatasetDetail.as_view(), name="dataset-detail"),
    path("datasets/<uuid:pk>/manifest/", DatasetManifest.as_view(), name="dataset-manifest"),
    path("datasets/<uuid:pk>/train/", DatasetTrain.as_view(), name="dataset-train"),
    path("trainings/", TrainingList.as_view(), name="training-list"),
    path("trainings/<uuid:pk>/", TrainingDetail.as_view(), name="training-detail"),
    path("models/", ModelList.as_view(), name="model-list"),
    path("models/<uuid:pk>/", ModelDetail.as_view(), name="model-detail"),
    path("models/<uuid:pk>/gate/", ModelGate.as_view(), name="model-gate"),
    path("models/<uuid:pk>/promote/", ModelPromote.as_view(), name="model-promote"),
    path("models/<uuid:pk>/roll-back/", ModelRollBack.as_view(), name="model-roll-back"),
    path("objects/", ObjectList.as_view(), name="object-list"),
    path("objects/cone/", ConeSearch.as_view(), name="object-cone"),
    path("objects/search/", ObjectSearchList.as_view(), name="object-search"),
    path("objects/export/<str:file_format>/", ObjectExport.as_view(), name="object-export"),
    path("objects/<uuid:pk>/", ObjectDetail.as_view(), name="object-detail"),
    path("objects/<uuid:pk>/context/", ObjectContext.as_view(), name="object-context"),
    path(
        "objects/<uuid:pk>/light-curve/<str:file_format>/",
        LightCurveExport.as_view(),
        name="object-curve",
    ),
    path("objects/<uuid:pk>/statements/", ObjectStatements.as_view(), name="object-statements"),
    path(
        "objects/<uuid:object_id>/statements/<uuid:pk>/",
        StatementDetail.as_view(),
        name="statement-detail",
    ),
    path("forced-photometry/", ForcedRequestList.as_view(), name="forced-list"),
    path("forced-photometry/<uuid:pk>/", ForcedRequestDetail.as_view(), name="forced-detail"),
    path(
        "forced-photometry/<uuid:pk>/<str:file_format>/",
        ForcedRequestExport.as_view(),
        name="forced-export",
    ),
    path("coverage/", WatchedPlace.as_view(), name="coverage"),
    path("searches/", SavedSearchList.as_view(), name="search-list"),
    path("searches/<uuid:pk>/", SavedSearchDetail.as_view(), name="search-detail"),
]
