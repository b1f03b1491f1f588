"""REST: surveys and observations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.db.models import QuerySet
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, parsers, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from astrid_site.core.idempotency import answer_once
from observations import selectors, services
from observations.models import Observation, Survey


class SurveyOutput(serializers.ModelSerializer[Survey]):
    """One survey."""

    class Meta:
        model = Survey
        fields = ("id", "name", "slug", "description", "mission", "is_simulated", "is_active")


class ObservationOutput(serializers.ModelSerializer[Observation]):
    """One observation; what the header did not say is null."""

    survey = serializers.CharField(source="survey.name", read_only=True)

    class Meta:
        model = Observation
        fields = (
            "id",
            "survey",
            "observation_id",
            "target",
            "telescope",
            "instrument",
            "band",
            "observed_at",
            "ended_at",
            "mid_mjd",
            "exposure_s",
            "airmass",
            "ra",
            "dec",
            "radius_deg",
            "footprint",
            "pixel_scale_arcsec",
            "image_width",
            "image_height",
            "role",
            "is_simulated",
            "defects",
            "overrides",
            "status",
            "stage",
            "reason",
            "created_at",
        )


class StageOutput(serializers.Serializer[Any]):
    """One stage of an observation's timeline."""

    stage = serializers.CharField()
    title = serializers.CharField()
    status = serializers.CharField()
    reason = serializers.CharField()
    metrics = serializers.JSONField()
    numbers = serializers.JSONField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    progress = serializers.FloatField(allow_null=True)
    job = serializers.UUIDField(allow_null=True)


class SubmissionInput(serializers.Serializer[Any]):
    """A frame to work on, with what its header leaves unsaid."""

    file = serializers.FileField()
    survey = serializers.CharField(max_length=100)
    observation_id = serializers.CharField(max_length=255, required=False)
    target = serializers.CharField(max_length=120, required=False)
    band = serializers.CharField(max_length=30, required=False)
    observed_at = serializers.DateTimeField(required=False)
    exposure_s = serializers.FloatField(required=False, min_value=0.0)
    role = serializers.ChoiceField(choices=Observation.Role.choices, required=False)


class SubmissionOutput(serializers.Serializer[Any]):
    """What became of a submitted frame."""

    outcome = serializers.ChoiceField(choices=["created", "duplicate", "refused"])
    reason = serializers.CharField()
    code = serializers.CharField()
    observation = serializers.UUIDField(allow_null=True)
    observation_url = serializers.CharField(allow_null=True)
    jobs_url = serializers.CharField(allow_null=True)


def uploaded_path(upload: UploadedFile) -> Path:
    """Where Django's temporary-file handler put an upload."""
    if not isinstance(upload, TemporaryUploadedFile):
        msg = f"file: expected an upload on disk, got {type(upload).__name__}"
        raise TypeError(msg)
    return Path(upload.temporary_file_path())


class SurveyList(generics.ListAPIView[Survey]):
    """Every survey."""

    required_permissions = {"GET": "observations.view_survey"}
    serializer_class = SurveyOutput
    queryset = Survey.objects.all()


class ObservationList(generics.ListAPIView[Observation]):
    """Observations, newest first; POST submits a frame."""

    required_permissions = {
        "GET": "observations.view_observation",
        "POST": "observations.add_observation",
    }
    serializer_class = ObservationOutput
    parser_classes = [parsers.MultiPartParser, parsers.FormParser, parsers.JSONParser]

    def get_queryset(self) -> QuerySet[Observation]:
        """Apply the filters of the query string."""
        return selectors.observation_list(self.request.query_params.dict())

    @extend_schema(
        parameters=[
            OpenApiParameter(name, str)
            for name in ("survey", "band", "status", "target", "q", "role")
        ]
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One page of observations."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        request={"multipart/form-data": SubmissionInput},
        responses={202: SubmissionOutput, 200: SubmissionOutput, 422: SubmissionOutput},
        parameters=[
            OpenApiParameter(
                "Idempotency-Key",
                str,
                OpenApiParameter.HEADER,
                description="Repeating a request with its key gives the first answer again.",
            )
        ],
    )
    def post(self, request: Request) -> Response:
        """Submit one frame: 202 accepted, 200 known already, 422 refused with its reason."""
        form = SubmissionInput(data=request.data)
        form.is_valid(raise_exception=True)
        return answer_once(request, lambda: _submit(request, dict(form.validated_data)))


class ObservationDetail(generics.RetrieveAPIView[Observation]):
    """One observation."""

    required_permissions = {"GET": "observations.view_observation"}
    serializer_class = ObservationOutput
    queryset = Observation.objects.select_related("survey")


def _submit(request: Request, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    upload: UploadedFile = fields.pop("file")
    survey = services.get_or_create_survey(fields.pop("survey"))
    result = services.ingest_file(
        uploaded_path(upload),
        survey=survey,
        file_name=str(upload.name),
        overrides=fields,
        submitted_by=request.user,
    )
    observation = result.observation
    answer = {
        "outcome": result.outcome,
        "reason": result.reason,
        "code": result.code,
        "observation": str(observation.pk) if observation else None,
        "observation_url": _link("observation-detail", observation),
        "jobs_url": f"{reverse('api:job-list')}?subject={observation.pk}" if observation else None,
    }
    return {"created": 202, "duplicate": 200, "refused": 422}[result.outcome], answer


def _link(name: str, observation: Observation | None) -> str | None:
    return reverse(f"api:{name}", args=[observation.pk]) if observation else None
