"""REST: candidates and their pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from detection import selectors
from detection.models import Detection

PANELS = ("science", "template", "difference", "score")


class CandidateOutput(serializers.ModelSerializer[Detection]):
    """One candidate with the values of every cut."""

    cutouts = serializers.SerializerMethodField()
    observed_at = serializers.DateTimeField(source="observation.observed_at", read_only=True)
    band = serializers.CharField(source="observation.band", read_only=True)

    class Meta:
        model = Detection
        fields = (
            "id",
            "observation",
            "observed_at",
            "band",
            "x",
            "y",
            "ra",
            "dec",
            "score",
            "flux",
            "flux_error",
            "magnitude",
            "magnitude_error",
            "fwhm_pix",
            "elongation",
            "mask_flags",
            "features",
            "cuts",
            "is_kept",
            "real_bogus",
            "scorer",
            "cutouts",
            "created_at",
        )

    def get_cutouts(self, detection: Detection) -> dict[str, str]:
        """Addresses of the candidate's pixels."""
        links = {
            panel: reverse("api:candidate-panel", args=[detection.pk, panel]) for panel in PANELS
        }
        return links | {"float32": reverse("api:candidate-pixels", args=[detection.pk])}


class CandidateList(generics.ListAPIView[Detection]):
    """Candidates, newest first."""

    required_permissions = {"GET": "detection.view_detection"}
    serializer_class = CandidateOutput

    @extend_schema(
        parameters=[
            OpenApiParameter("observation", OpenApiTypes.UUID),
            OpenApiParameter("kept", bool, description="Only those that passed every cut."),
            OpenApiParameter("min_score", float, description="Least |score| [sigma]."),
            OpenApiParameter("min_real_bogus", float),
        ]
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One page of candidates."""
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Detection]:
        """Apply the filters of the query string."""
        return selectors.detection_list(self.request.query_params.dict())


class CandidateDetail(generics.RetrieveAPIView[Detection]):
    """One candidate."""

    required_permissions = {"GET": "detection.view_detection"}
    serializer_class = CandidateOutput
    queryset = Detection.objects.select_related("observation")


class CandidatePixels(APIView):
    """The four cutouts as little-endian float32, row by row; NaN where there is no data."""

    required_permissions = {"GET": "detection.view_detection"}

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, pk: str) -> HttpResponse:
        """All four planes; their shape stands in X-AstrID-Shape."""
        pixels = selectors.cutouts(get_object_or_404(Detection, pk=pk))
        answer = HttpResponse(
            np.ascontiguousarray(pixels, dtype="<f4").tobytes(),
            content_type="application/octet-stream",
        )
        answer["X-AstrID-Shape"] = ",".join(str(n) for n in pixels.shape)
        answer["X-AstrID-Planes"] = ",".join(PANELS)
        answer["Content-Disposition"] = f'attachment; filename="{pk}.f32"'
        return answer


class CandidatePanel(APIView):
    """One cutout as a PNG."""

    required_permissions = {"GET": "detection.view_detection"}

    @extend_schema(
        parameters=[
            OpenApiParameter("panel", str, OpenApiParameter.PATH, enum=PANELS),
            OpenApiParameter("stretch", str, enum=selectors.STRETCHES),
        ],
        responses={(200, "image/png"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, pk: str, panel: str) -> HttpResponse:
        """The panel at the chosen stretch."""
        detection = get_object_or_404(Detection, pk=pk)
        png = selectors.cutout_png(
            detection, panel, stretch=request.query_params.get("stretch", "zscale")
        )
        return HttpResponse(png, content_type="image/png")
