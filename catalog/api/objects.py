"""REST: objects, their light curves, and the cone search."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from astrid_site.core.fields import FiniteFloatField, ListQuery, StrictQuery, read_query
from astrid_site.imaging.flux_density import microjansky_factor
from catalog import selectors
from catalog.models import AstroObject, LightCurvePoint
from observations.api import SurveyField

MIN_CONE_ARCSEC = 0.001
MAX_CONE_ARCSEC = 3600.0 * 5


class ObjectOutput(serializers.ModelSerializer[AstroObject]):
    """One object."""

    class Meta:
        model = AstroObject
        fields = (
            "id",
            "name",
            "ra",
            "dec",
            "state",
            "classification",
            "n_detections",
            "first_detected_at",
            "last_detected_at",
            "peak_score",
            "best_real_bogus",
            "brightest_magnitude",
            "is_simulated",
            "created_at",
        )


class LightCurvePointOutput(serializers.ModelSerializer[LightCurvePoint]):
    """One epoch of forced photometry.

    ``kind`` says what its flux is: ``difference``, gained or lost against the reference, or
    ``total``, all light of the PSF's shape on the science image, host and neighbours included. An
    epoch that is part of the reference has a difference entry without flux, flagged ``REFERENCE``.
    ``flux`` is in the frame's own unit; points of two frames compare in ``flux_ujy``.
    """

    survey = serializers.CharField(
        source="observation.survey.name", read_only=True, help_text="Whose frame it is."
    )
    flux_ujy = serializers.SerializerMethodField(
        help_text="Flux as AB flux density [microjansky]; null without a zero point."
    )
    flux_error_ujy = serializers.SerializerMethodField(
        help_text="Error of flux_ujy [microjansky]; null without a zero point."
    )

    class Meta:
        model = LightCurvePoint
        fields = (
            "kind",
            "observation",
            "mjd",
            "band",
            "survey",
            "flux",
            "flux_error",
            "zero_point",
            "flux_ujy",
            "flux_error_ujy",
            "magnitude",
            "magnitude_error",
            "limiting_magnitude",
            "flags",
        )
        extra_kwargs = {
            "flux": {"help_text": "Of its kind [unit of the science image]; null: see the flags."},
            "flux_error": {"help_text": "[unit of the science image]"},
            "zero_point": {"help_text": "AB magnitude of one unit of the science image."},
            "flags": {
                "help_text": "Mask planes beside the place, and REFERENCE, MASKED, NO_PSF, OWN_WCS."
            },
        }

    def get_flux_ujy(self, point: LightCurvePoint) -> float | None:
        """Flux [microjansky]."""
        return microjansky(point.flux, point.zero_point)

    def get_flux_error_ujy(self, point: LightCurvePoint) -> float | None:
        """Error of the flux [microjansky]."""
        return microjansky(point.flux_error, point.zero_point)


def microjansky(flux: float | None, zero_point: float | None) -> float | None:
    """A flux as AB flux density [microjansky]; None without a zero point."""
    if flux is None or zero_point is None:
        return None
    return flux * microjansky_factor(zero_point)


class LightCurveQuery(StrictQuery):
    """What of a light curve is wanted."""

    kind = serializers.ChoiceField(
        required=False,
        choices=LightCurvePoint.Kind.choices,
        help_text="Points of one kind; without it both.",
    )


class ObjectDetailOutput(ObjectOutput):
    """One object with its light curve."""

    light_curve = serializers.SerializerMethodField()

    class Meta(ObjectOutput.Meta):
        fields = (*ObjectOutput.Meta.fields, "light_curve")  # type: ignore[assignment]

    @extend_schema_field(LightCurvePointOutput(many=True))
    def get_light_curve(self, owner: AstroObject) -> Any:
        """Points in order of time, of the kind that was asked for."""
        points = selectors.light_curve(owner, kind=self.context["kind"])
        return LightCurvePointOutput(points, many=True).data


class ConeInput(StrictQuery):
    """A circle on the sky (ICRS)."""

    ra = FiniteFloatField(min_value=0.0, max_value=360.0)
    dec = FiniteFloatField(min_value=-90.0, max_value=90.0)
    radius_arcsec = FiniteFloatField(min_value=MIN_CONE_ARCSEC, max_value=MAX_CONE_ARCSEC)
    limit = serializers.IntegerField(min_value=1, max_value=1000, default=200)


class ConeRowOutput(ObjectOutput):
    """One object with its distance from the centre of the cone."""

    separation_arcsec = serializers.FloatField()

    class Meta(ObjectOutput.Meta):
        fields = (*ObjectOutput.Meta.fields, "separation_arcsec")  # type: ignore[assignment]


class ObjectQuery(ListQuery):
    """Filters and order of the list of objects."""

    state = serializers.ChoiceField(required=False, choices=AstroObject.State.choices)
    classification = serializers.CharField(required=False, max_length=30)
    survey = SurveyField(required=False, help_text="Name or slug: detected on its frames.")
    q = serializers.CharField(required=False, max_length=40, help_text="Part of the name.")
    ordering = serializers.ChoiceField(
        required=False, choices=["-created_at", "created_at", "name", "-name"]
    )


class ObjectList(generics.ListAPIView[AstroObject]):
    """Objects, newest first."""

    required_permissions = {"GET": "catalog.view_astroobject"}
    orderings = ("-created_at", "created_at", "name", "-name")
    serializer_class = ObjectOutput

    @extend_schema(parameters=[ObjectQuery])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One page of objects."""
        return super().get(request, *args, **kwargs)

    def get_queryset(self) -> QuerySet[AstroObject]:
        """Apply the filters of the query string."""
        return selectors.object_list(read_query(ObjectQuery, self.request))


class ObjectDetail(generics.RetrieveAPIView[AstroObject]):
    """One object with its light curve."""

    required_permissions = {"GET": "catalog.view_astroobject"}
    serializer_class = ObjectDetailOutput
    queryset = AstroObject.objects.all()

    @extend_schema(parameters=[LightCurveQuery])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The object; its points in order of time."""
        kind = read_query(LightCurveQuery, request).get("kind", "")
        context = {**self.get_serializer_context(), "kind": kind}
        return Response(ObjectDetailOutput(self.get_object(), context=context).data)


class ConeSearch(APIView):
    """Objects within a circle, nearest first; exact at the poles and across RA 0."""

    required_permissions = {"GET": "catalog.view_astroobject"}

    @extend_schema(parameters=[ConeInput], responses=ConeRowOutput(many=True))
    def get(self, request: Request) -> Response:
        """The objects, each with its separation."""
        cone = read_query(ConeInput, request)
        found = selectors.cone_search(
            cone["ra"] % 360.0,
            cone["dec"],
            radius_arcsec=cone["radius_arcsec"],
            limit=cone["limit"],
        )
        return Response(ConeRowOutput(found, many=True).data)
