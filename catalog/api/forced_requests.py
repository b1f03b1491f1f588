"""REST: forced photometry at places of one's own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from astrid_site.core.fields import FiniteFloatField
from astrid_site.core.permissions import person
from astrid_site.core.status import TERMINAL_JOBS, JobState
from catalog.api.exports import FILE_ANSWER, FORMAT_IN_PATH, answer_table, table_format
from catalog.api.negotiation import OneForm
from catalog.api.objects import microjansky
from catalog.models import ForcedRequest, LightCurvePoint
from catalog.selectors.forced_requests import forced_points
from catalog.services.exports import export_forced
from catalog.services.forced_requests import MAX_PLACES, job_of_request, request_forced
from observations.api import SurveyField


class ForcedInput(serializers.Serializer[Any]):
    """Places, in two lists of one length, and whose frames to measure on."""

    ra = serializers.ListField(
        child=FiniteFloatField(min_value=0.0, max_value=360.0),
        min_length=1,
        max_length=MAX_PLACES,
        help_text="ICRS degrees.",
    )
    dec = serializers.ListField(
        child=FiniteFloatField(min_value=-90.0, max_value=90.0),
        min_length=1,
        max_length=MAX_PLACES,
        help_text="ICRS degrees.",
    )
    survey = SurveyField(required=False, help_text="Name or slug; all surveys if not said.")
    name = serializers.CharField(required=False, max_length=80)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Every place has both coordinates."""
        if len(attrs["ra"]) != len(attrs["dec"]):
            msg = f"{len(attrs['ra'])} values of ra and {len(attrs['dec'])} of dec"
            raise serializers.ValidationError({"dec": [msg]})
        return attrs


class ForcedPointOutput(serializers.Serializer[LightCurvePoint]):
    """One flux; null where nothing could be measured, which the flags say."""

    observation = serializers.UUIDField(source="observation_id")
    survey = serializers.CharField(source="observation.survey.name")
    mjd = serializers.FloatField(allow_null=True)
    band = serializers.CharField()
    kind = serializers.CharField(help_text="difference or total.")
    flux = serializers.FloatField(allow_null=True, help_text="In the frame's own unit.")
    flux_error = serializers.FloatField(allow_null=True)
    zero_point = serializers.FloatField(allow_null=True)
    flux_ujy = serializers.SerializerMethodField(help_text="AB [microjansky].")
    flux_error_ujy = serializers.SerializerMethodField(help_text="[microjansky].")
    magnitude = serializers.FloatField(allow_null=True)
    magnitude_error = serializers.FloatField(allow_null=True)
    limiting_magnitude = serializers.FloatField(allow_null=True, help_text="5 sigma [AB].")
    flags = serializers.ListField(child=serializers.CharField())

    def get_flux_ujy(self, point: LightCurvePoint) -> float | None:
        """Flux [microjansky]."""
        return microjansky(point.flux, point.zero_point)

    def get_flux_error_ujy(self, point: LightCurvePoint) -> float | None:
        """Error of the flux [microjansky]."""
        return microjansky(point.flux_error, point.zero_point)


class ForcedPlaceOutput(serializers.Serializer[Any]):
    """One place and what was measured there, in order of time."""

    ra = serializers.FloatField()
    dec = serializers.FloatField()
    points = ForcedPointOutput(many=True)


class ForcedOutput(serializers.Serializer[Any]):
    """A request: how far it is and what came of it."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    created_at = serializers.DateTimeField()
    survey = serializers.CharField(allow_null=True)
    state = serializers.ChoiceField(choices=JobState.choices)
    progress = serializers.FloatField()
    message = serializers.CharField(help_text="What is being done, or why there is nothing.")
    job = serializers.UUIDField(allow_null=True)
    places = ForcedPlaceOutput(many=True)


def _told(row: ForcedRequest) -> dict[str, Any]:
    job = job_of_request(row)
    places = zip(row.places, forced_points(row), strict=True)
    return {
        "id": row.pk,
        "name": row.name,
        "created_at": row.created_at,
        "survey": row.survey.name if row.survey else None,
        "state": job.state if job else JobState.DONE,
        "progress": job.progress if job else 1.0,
        "message": (job.cause or job.message) if job else "",
        "job": job.pk if job else None,
        "places": [{"ra": ra, "dec": dec, "points": points} for (ra, dec), points in places],
    }


class ForcedRequestList(APIView):
    """Forced photometry at places of one's own, on every frame that covers them."""

    required_permissions = {"POST": "catalog.add_forcedrequest"}

    @extend_schema(request=ForcedInput, responses={201: ForcedOutput})
    def post(self, request: Request) -> Response:
        """Ask for it; a worker measures, and the answer says where to look."""
        form = ForcedInput(data=request.data)
        form.is_valid(raise_exception=True)
        told = form.validated_data
        places = [(ra % 360.0, dec) for ra, dec in zip(told["ra"], told["dec"], strict=True)]
        row = request_forced(
            person(request), places, name=told.get("name", ""), survey=told.get("survey")
        )
        return Response(ForcedOutput(_told(row)).data, status=201)


class ForcedRequestDetail(APIView):
    """One request, its progress and its fluxes."""

    required_permissions = {"GET": "catalog.view_forcedrequest"}

    @extend_schema(responses=ForcedOutput)
    def get(self, request: Request, pk: UUID) -> Response:
        """Where it stands; fluxes once it is done."""
        row = get_object_or_404(ForcedRequest.objects.select_related("survey"), pk=pk)
        return Response(ForcedOutput(_told(row)).data)


class ForcedRequestExport(APIView):
    """The fluxes of one request as one file."""

    required_permissions = {"GET": "catalog.view_forcedrequest"}
    content_negotiation_class = OneForm

    @extend_schema(
        operation_id="forced_photometry_export",
        parameters=[FORMAT_IN_PATH],
        responses=FILE_ANSWER,
    )
    def get(self, request: Request, pk: UUID, file_format: str) -> HttpResponseBase:
        """The file."""
        kind = table_format(file_format)
        row = get_object_or_404(ForcedRequest, pk=pk)
        if (job := job_of_request(row)) and job.state not in TERMINAL_JOBS:
            msg = "It is not measured yet."
            raise exceptions.NotFound(msg)
        table = export_forced(row, kind)
        return answer_table(request, table, kind=kind, name=f"forced-photometry-{row.pk}")
