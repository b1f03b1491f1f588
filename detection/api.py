"""REST: candidates and their pixels."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

import numpy as np
from django.db.models import QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.cache import get_conditional_response
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from astrid_site.core.fields import FiniteFloatField, ListQuery, StrictQuery, read_query
from astrid_site.core.rendering import FiniteJSONRenderer
from astrid_site.imaging.flux_density import implied_zero_point, microjansky_factor
from detection import selectors
from detection.models import Detection, ScoringModel
from detection.pages import PANELS, STRETCHES, cutout_png


class CandidateOutput(serializers.ModelSerializer[Detection]):
    """One candidate with the values of every cut."""

    flux_ujy = serializers.SerializerMethodField(
        help_text="Difference flux as AB flux density [microjansky]; null without a magnitude."
    )
    flux_error_ujy = serializers.SerializerMethodField(
        help_text="Error of flux_ujy [microjansky]; null without a magnitude."
    )
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
            "flux_ujy",
            "flux_error_ujy",
            "magnitude",
            "magnitude_error",
            "fwhm_pix",
            "elongation",
            "mask_flags",
            "features",
            "cuts",
            "is_kept",
            "second_opinion",
            "real_bogus",
            "real_bogus_error",
            "scorer",
            "model_scores",
            "cutouts",
            "created_at",
        )

    def get_flux_ujy(self, detection: Detection) -> float | None:
        """Flux [microjansky]."""
        return _microjansky(detection, detection.flux)

    def get_flux_error_ujy(self, detection: Detection) -> float | None:
        """Error of the flux [microjansky]."""
        return _microjansky(detection, detection.flux_error)

    def get_cutouts(self, detection: Detection) -> dict[str, str]:
        """Addresses of the candidate's pixels."""
        links = {
            panel: reverse("api:candidate-panel", args=[detection.pk, panel]) for panel in PANELS
        }
        return links | {"float32": reverse("api:candidate-pixels", args=[detection.pk])}


def _microjansky(detection: Detection, flux: float) -> float | None:
    """A flux of a candidate's frame, whose unit follows from the candidate's magnitude."""
    if detection.magnitude is None or not detection.flux:
        return None
    return flux * microjansky_factor(implied_zero_point(detection.flux, detection.magnitude))


class CandidateQuery(ListQuery):
    """Filters and order of the list of candidates."""

    observation = serializers.UUIDField(required=False)
    kept = serializers.BooleanField(
        required=False, allow_null=True, default=None, help_text="Whether it passed every cut."
    )
    min_score = FiniteFloatField(required=False, min_value=0, help_text="Least |score| [sigma].")
    min_real_bogus = FiniteFloatField(required=False, min_value=0, max_value=1)
    ordering = serializers.ChoiceField(required=False, choices=["-created_at", "created_at"])


class CandidateList(generics.ListAPIView[Detection]):
    """Candidates, newest first."""

    required_permissions = {"GET": "detection.view_detection"}
    orderings = ("-created_at", "created_at")
    serializer_class = CandidateOutput

    @extend_schema(parameters=[CandidateQuery])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One page of candidates."""
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[Detection]:
        """Apply the filters of the query string."""
        return selectors.detection_list(read_query(CandidateQuery, self.request))


class CandidateDetail(generics.RetrieveAPIView[Detection]):
    """One candidate."""

    required_permissions = {"GET": "detection.view_detection"}
    serializer_class = CandidateOutput
    queryset = Detection.objects.select_related("observation")


class ModelOutput(serializers.ModelSerializer[ScoringModel]):
    """One model with its part and its figures."""

    class Meta:
        model = ScoringModel
        fields = (
            "id",
            "family",
            "name",
            "version",
            "sha256",
            "role",
            "role_since",
            "is_shipped",
            "record",
            "report",
            "created_at",
        )


class ModelQuery(ListQuery):
    """Filters of the list of models."""

    role = serializers.ChoiceField(required=False, choices=ScoringModel.Role.choices)


class ModelList(generics.ListAPIView[ScoringModel]):
    """Models, newest first."""

    required_permissions = {"GET": "detection.view_scoringmodel"}
    serializer_class = ModelOutput

    @extend_schema(parameters=[ModelQuery])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One page of models."""
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[ScoringModel]:
        """Apply the filters of the query string."""
        return ScoringModel.objects.filter(**read_query(ModelQuery, self.request))


class ModelDetail(generics.RetrieveAPIView[ScoringModel]):
    """One model."""

    required_permissions = {"GET": "detection.view_scoringmodel"}
    serializer_class = ModelOutput
    queryset = ScoringModel.objects.all()


class PixelsRenderer(FiniteJSONRenderer):
    """Agrees to the type the pixels are sent in; refusals are JSON all the same."""

    media_type = "application/octet-stream"
    format = "f32"


class PictureRenderer(PixelsRenderer):
    """Agrees to the type the pictures are sent in."""

    media_type = "image/png"
    format = "png"


class CandidatePixels(APIView):
    """The four cutouts as little-endian float32, row by row; NaN where there is no data."""

    required_permissions = {"GET": "detection.view_detection"}
    renderer_classes = [PixelsRenderer, FiniteJSONRenderer]

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, pk: UUID) -> HttpResponseBase:
        """All four planes; their shape stands in X-AstrID-Shape."""
        pixels = selectors.cutouts(_with_run(pk))
        answer = HttpResponse(
            np.ascontiguousarray(pixels, dtype="<f4").tobytes(),
            content_type="application/octet-stream",
        )
        answer["X-AstrID-Shape"] = ",".join(str(n) for n in pixels.shape)
        answer["X-AstrID-Planes"] = ",".join(PANELS)
        answer["Content-Disposition"] = f'attachment; filename="{pk}.f32"'
        return unchanging(request, answer)


class PanelQuery(StrictQuery):
    """How to draw a panel."""

    stretch = serializers.ChoiceField(required=False, choices=STRETCHES)


class CandidatePanel(APIView):
    """One cutout as a PNG."""

    required_permissions = {"GET": "detection.view_detection"}
    renderer_classes = [PictureRenderer, FiniteJSONRenderer]

    @extend_schema(
        parameters=[
            OpenApiParameter("panel", str, OpenApiParameter.PATH, enum=list(PANELS)),
            PanelQuery,
        ],
        responses={(200, "image/png"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, pk: UUID, panel: str) -> HttpResponseBase:
        """The panel at the chosen stretch."""
        if panel not in PANELS:
            msg = f"There is no panel {panel!r}; there are {', '.join(PANELS)}."
            raise exceptions.NotFound(msg)
        stretch = read_query(PanelQuery, request).get("stretch", STRETCHES[0])
        png = cutout_png(_with_run(pk), panel=panel, stretch=stretch, is_inverted=False)
        return unchanging(request, HttpResponse(png, content_type="image/png"))


def _with_run(pk: UUID) -> Detection:
    return get_object_or_404(Detection.objects.select_related("run__cutouts_file"), pk=pk)


def unchanging(request: Request, answer: HttpResponse) -> HttpResponseBase:
    """Mark content that never changes with its hash; answer 304 to those who have it."""
    etag = f'"{hashlib.sha256(answer.content).hexdigest()}"'
    answer["ETag"] = etag
    answer["Cache-Control"] = "private, max-age=86400, immutable"
    return get_conditional_response(request._request, etag=etag, response=answer) or answer
