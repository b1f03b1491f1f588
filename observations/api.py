"""REST: surveys and observations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.db.models import Q, QuerySet
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, generics, parsers, serializers
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import ScopedRateThrottle, UserRateThrottle

from astrid_site.core.fields import FiniteFloatField, ListQuery, read_query
from astrid_site.core.idempotency import answer_once
from astrid_site.core.models import Job
from astrid_site.core.permissions import person
from astrid_site.core.problems import PROBLEM_TYPE, ProblemOutput, problem_body
from astrid_site.core.status import RunStatus
from observations import selectors, services
from observations.models import Observation, Survey

COMPANIONS = ("mask", "noise", "psf")


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


class SurveyField(serializers.CharField):
    """A survey by its slug or name; one that is not there is refused, not an empty answer."""

    def __init__(self, *, only_active: bool = False, **kwargs: Any) -> None:
        super().__init__(**{"max_length": 100, **kwargs})
        self._wanted = Q(is_active=True) if only_active else Q()

    def run_validation(self, data: Any = serializers.empty) -> Any:
        """The survey's row; looked up only once the text is known to be one."""
        called = super().run_validation(data)
        named = Q(slug=called) | Q(name__iexact=called)
        rows = Survey.objects.filter(named, self._wanted)
        found = rows.order_by("created_at", "id").first()
        if found is None:
            msg = f"There is no survey {called!r}; surveys/ lists their names and slugs."
            raise serializers.ValidationError(msg)
        return found


class ObservationQuery(ListQuery):
    """Filters of the list of observations."""

    survey = SurveyField(required=False, help_text="Name or slug.")
    band = serializers.CharField(required=False, max_length=30)
    status = serializers.ChoiceField(required=False, choices=RunStatus.choices)
    stage = serializers.CharField(required=False, max_length=20)
    target = serializers.CharField(required=False, max_length=120)
    role = serializers.ChoiceField(required=False, choices=Observation.Role.choices)
    q = serializers.CharField(
        required=False, max_length=100, help_text="Text in target, id, telescope or instrument."
    )
    since = serializers.DateField(required=False, help_text="First day, UTC.")
    until = serializers.DateField(required=False, help_text="Last day, UTC.")


class SubmissionInput(serializers.Serializer[Any]):
    """A frame to work on, with what its header leaves unsaid or says wrongly."""

    file = serializers.FileField(help_text="FITS: .fits .fit .fts .img, also .gz .bz2 .fz.")
    survey = serializers.CharField(max_length=100)
    observation_id = serializers.CharField(max_length=255, required=False)
    target = serializers.CharField(max_length=120, required=False)
    band = serializers.CharField(max_length=30, required=False)
    observed_at = serializers.DateTimeField(required=False, help_text="Start, UTC.")
    exposure_s = FiniteFloatField(required=False, help_text="Seconds, positive.")
    gain = FiniteFloatField(required=False, help_text="e-/ADU.")
    read_noise = FiniteFloatField(required=False, help_text="Electrons.")
    saturation = FiniteFloatField(required=False, help_text="ADU.")
    zero_point = FiniteFloatField(required=False, help_text="Magnitude of one count.")
    role = serializers.ChoiceField(choices=Observation.Role.choices, required=False)
    mask = serializers.FileField(required=False, help_text="Plane of bad pixels, FITS.")
    noise = serializers.FileField(required=False, help_text="Noise image, FITS.")
    psf = serializers.FileField(required=False, help_text="PSF image, FITS.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse uploads that are larger than allowed."""
        for name in ("file", *COMPANIONS):
            upload: UploadedFile[Any] | None = attrs.get(name)
            if upload is not None and (upload.size or 0) > settings.MAX_UPLOAD_BYTES:
                limit = settings.MAX_UPLOAD_BYTES // 2**20
                msg = f"{name}: {upload.size} bytes; at most {limit} MiB are taken"
                raise UploadTooLargeError(msg)
        return attrs


class UploadTooLargeError(exceptions.APIException):
    """The upload is larger than the settings allow."""

    status_code = 413
    default_code = "too_large"


class SubmissionOutput(serializers.Serializer[Any]):
    """What became of a submitted frame."""

    outcome = serializers.ChoiceField(choices=["created", "updated", "duplicate"])
    reason = serializers.CharField()
    code = serializers.CharField()
    observation = serializers.UUIDField(allow_null=True)
    observation_url = serializers.CharField(allow_null=True)
    job_url = serializers.CharField(allow_null=True, help_text="The job at work on it, if any.")
    jobs_url = serializers.CharField(allow_null=True, help_text="Every job on it.")


class UploadRateThrottle(ScopedRateThrottle):
    """Submissions cost more than questions and have a rate of their own."""

    def allow_request(self, request: Request, view: Any) -> bool:
        """Count only what submits."""
        return request.method in SAFE_METHODS or super().allow_request(request, view)


def uploaded_path(upload: UploadedFile[Any]) -> Path:
    """Where Django's temporary-file handler put an upload."""
    if not isinstance(upload, TemporaryUploadedFile):
        msg = f"file: expected an upload on disk, got {type(upload).__name__}"
        raise TypeError(msg)
    return Path(upload.temporary_file_path())


class SurveyList(generics.ListAPIView[Survey]):
    """Every survey."""

    required_permissions = {"GET": "observations.view_survey"}
    serializer_class = SurveyOutput

    def get_queryset(self) -> QuerySet[Survey]:
        """All of them; there is nothing to filter by."""
        read_query(ListQuery, self.request)
        return Survey.objects.all()


class ObservationList(generics.ListAPIView[Observation]):
    """Observations, newest first; POST submits a frame."""

    required_permissions = {
        "GET": "observations.view_observation",
        "POST": "observations.add_observation",
    }
    serializer_class = ObservationOutput
    parser_classes = [parsers.MultiPartParser]
    throttle_classes = [UserRateThrottle, UploadRateThrottle]
    throttle_scope = "upload"

    def get_queryset(self) -> QuerySet[Observation]:
        """Apply the filters of the query string."""
        return selectors.observation_list(read_query(ObservationQuery, self.request))

    @extend_schema(parameters=[ObservationQuery], responses=ObservationOutput(many=True))
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One page of observations."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        request={"multipart/form-data": SubmissionInput},
        responses={
            202: SubmissionOutput,
            200: SubmissionOutput,
            (422, PROBLEM_TYPE): ProblemOutput,
        },
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
        """Submit one frame: 202 accepted or corrected, 200 known already, 422 refused."""
        form = SubmissionInput(data=request.data)
        form.is_valid(raise_exception=True)
        return answer_once(request, lambda: _submit(request, dict(form.validated_data)))


class ObservationDetail(generics.RetrieveAPIView[Observation]):
    """One observation."""

    required_permissions = {"GET": "observations.view_observation"}
    serializer_class = ObservationOutput
    queryset = Observation.objects.select_related("survey")


def _submit(request: Request, fields: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    upload: UploadedFile[Any] = fields.pop("file")
    given = {name: fields.pop(name) for name in COMPANIONS if name in fields}
    survey = services.get_or_create_survey(fields.pop("survey"))
    result = services.ingest_file(
        uploaded_path(upload),
        survey=survey,
        file_name=str(upload.name),
        overrides=fields,
        companions={name: uploaded_path(plane) for name, plane in given.items()},
        companion_names={name: str(plane.name) for name, plane in given.items()},
        submitted_by=person(request),
    )
    if result.outcome == "refused":
        return 422, problem_body(422, result.code, result.reason, outcome="refused")
    answer = {"outcome": result.outcome, "reason": result.reason, "code": result.code}
    status = {"created": 202, "updated": 202, "duplicate": 200}[result.outcome]
    return status, answer | _links(result.observation)


def _links(observation: Observation | None) -> dict[str, str | None]:
    if observation is None:
        return dict.fromkeys(("observation", "observation_url", "job_url", "jobs_url"))
    job = Job.objects.filter(subject_id=observation.pk).order_by("-created_at").first()
    return {
        "observation": str(observation.pk),
        "observation_url": reverse("api:observation-detail", args=[observation.pk]),
        "job_url": reverse("api:job-detail", args=[job.pk]) if job else None,
        "jobs_url": f"{reverse('api:job-list')}?subject={observation.pk}",
    }
