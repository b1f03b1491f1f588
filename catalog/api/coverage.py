"""REST: which frames looked at a place, and how deep."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from astrid_site.core.fields import FiniteFloatField, StrictQuery, read_query
from catalog import selectors
from catalog.api.objects import microjansky
from catalog.selectors import CoveringFrame
from observations.api import SurveyField


class CoverageQuery(StrictQuery):
    """A place and a time range."""

    ra = FiniteFloatField(min_value=0.0, max_value=360.0, help_text="ICRS degrees.")
    dec = FiniteFloatField(min_value=-90.0, max_value=90.0, help_text="ICRS degrees.")
    since = serializers.DateTimeField(required=False, help_text="Exposures begun since (UTC).")
    until = serializers.DateTimeField(required=False, help_text="Exposures begun until (UTC).")
    survey = SurveyField(required=False, help_text="Name or slug.")
    band = serializers.CharField(required=False, max_length=30)


class BandCoverageOutput(serializers.Serializer[Any]):
    """Frames of one survey in one band."""

    survey = serializers.CharField()
    band = serializers.CharField()
    n_frames = serializers.IntegerField()
    first_mjd = serializers.FloatField(allow_null=True)
    last_mjd = serializers.FloatField(allow_null=True)
    deepest = serializers.FloatField(allow_null=True, help_text="Faintest 5 sigma limit [AB].")


class CoveringFrameOutput(serializers.Serializer[CoveringFrame]):
    """One frame whose outline holds the place."""

    observation = serializers.UUIDField(source="observation.id")
    survey = serializers.CharField(source="observation.survey.name")
    band = serializers.CharField(source="observation.band")
    mjd = serializers.FloatField(source="observation.mid_mjd", allow_null=True)
    status = serializers.CharField(source="observation.status")
    seeing_arcsec = serializers.FloatField(
        source="image.seeing_arcsec", default=None, allow_null=True
    )
    limiting_magnitude = serializers.FloatField(
        source="limit", allow_null=True, help_text="5 sigma, of a point source on the frame [AB]."
    )
    half_found_magnitude = serializers.FloatField(
        source="half_found",
        allow_null=True,
        help_text="Half of the sources put into its difference were found [AB].",
    )
    flux_ujy = serializers.SerializerMethodField(
        help_text="Forced difference flux of the object at this place [microjansky]."
    )
    flux_error_ujy = serializers.SerializerMethodField(help_text="Its error [microjansky].")

    def get_flux_ujy(self, frame: CoveringFrame) -> float | None:
        """Flux [microjansky]."""
        point = frame.point
        return microjansky(point.flux, point.zero_point) if point else None

    def get_flux_error_ujy(self, frame: CoveringFrame) -> float | None:
        """Error of the flux [microjansky]."""
        point = frame.point
        return microjansky(point.flux_error, point.zero_point) if point else None


class CoverageOutput(serializers.Serializer[Any]):
    """Whether the place was watched."""

    n_frames = serializers.IntegerField()
    object = serializers.UUIDField(
        allow_null=True, help_text="One known within 1.5 arcsec; fluxes are its forced photometry."
    )
    bands = BandCoverageOutput(many=True)
    frames = CoveringFrameOutput(many=True)


class WatchedPlace(APIView):
    """Were we watching? Frames that covered a place, how deep they went, and what they measured."""

    required_permissions = {"GET": "catalog.view_astroobject"}

    @extend_schema(parameters=[CoverageQuery], responses=CoverageOutput)
    def get(self, request: Request) -> Response:
        """The frames in order of time."""
        asked = read_query(CoverageQuery, request)
        since, until = asked.get("since"), asked.get("until")
        if since is not None and until is not None and since > until:
            raise exceptions.ValidationError({"until": ["It is before since."]})
        found = selectors.coverage_of(
            asked["ra"] % 360.0,
            asked["dec"],
            since=since,
            until=until,
            survey=asked.get("survey"),
            band=asked.get("band", ""),
        )
        told = {
            "n_frames": len(found.frames),
            "object": found.near.pk if found.near else None,
            "bands": found.bands,
            "frames": found.frames,
        }
        return Response(CoverageOutput(told).data)
