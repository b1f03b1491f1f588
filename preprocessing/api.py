"""REST: cameras and the masters their frames are calibrated with."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from astrid_site.core.fields import ListQuery, read_query
from preprocessing import selectors
from preprocessing.models import CalibrationKind, CalibrationMaster, Camera


class CameraOutput(serializers.ModelSerializer[Camera]):
    """A camera in one way of reading it out, with what its frames say of it."""

    survey = serializers.CharField(source="survey.name", read_only=True)

    class Meta:
        model = Camera
        fields = (
            "id",
            "survey",
            "instrument",
            "detector",
            "width",
            "height",
            "binning",
            "mode",
            "use_measured",
            "gain",
            "gain_error",
            "stated_gain",
            "read_noise",
            "saturation",
            "linearity",
            "measured_at",
            "warnings",
        )


class MasterOutput(serializers.ModelSerializer[CalibrationMaster]):
    """One master; numbers in counts of the camera, for flats as fractions."""

    survey = serializers.CharField(source="camera.survey.name", read_only=True)
    sha256 = serializers.CharField(source="file.sha256", read_only=True)

    class Meta:
        model = CalibrationMaster
        fields = (
            "id",
            "survey",
            "camera",
            "kind",
            "band",
            "exposure_s",
            "temperature_c",
            "observed_from",
            "observed_until",
            "valid_from",
            "valid_until",
            "is_active",
            "includes_bias",
            "n_frames",
            "n_clipped",
            "n_bad",
            "level",
            "noise",
            "bias",
            "dark",
            "previous",
            "superseded_by",
            "verdict",
            "reasons",
            "numbers",
            "file",
            "sha256",
            "created_at",
        )


class MasterQuery(ListQuery):
    """Filters of the list of masters."""

    camera = serializers.UUIDField(required=False)
    kind = serializers.ChoiceField(required=False, choices=CalibrationKind.choices)
    band = serializers.CharField(required=False, max_length=30)
    current = serializers.BooleanField(
        required=False, allow_null=True, default=None, help_text="Only those that can be used."
    )


class CameraList(generics.ListAPIView[Camera]):
    """Cameras that have calibration frames."""

    required_permissions = {"GET": "preprocessing.view_camera"}
    serializer_class = CameraOutput

    def get_queryset(self) -> QuerySet[Camera]:
        """All of them; there is nothing to filter by."""
        read_query(ListQuery, self.request)
        return selectors.calibration_cameras()


class MasterList(generics.ListAPIView[CalibrationMaster]):
    """Masters, newest first."""

    required_permissions = {"GET": "preprocessing.view_calibrationmaster"}
    serializer_class = MasterOutput

    @extend_schema(parameters=[MasterQuery])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One page of masters."""
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[CalibrationMaster]:
        """Apply the filters of the query string."""
        return selectors.masters(read_query(MasterQuery, self.request))


class MasterDetail(generics.RetrieveAPIView[CalibrationMaster]):
    """One master."""

    required_permissions = {"GET": "preprocessing.view_calibrationmaster"}
    serializer_class = MasterOutput
    queryset = CalibrationMaster.objects.select_related("camera__survey", "file")
