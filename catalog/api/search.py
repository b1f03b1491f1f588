"""REST: the search for objects, and searches that people keep."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from astrid_site.core.fields import FiniteFloatField, StrictQuery
from astrid_site.core.keyset import decode_cursor
from astrid_site.core.permissions import person
from catalog import selectors, services
from catalog.algorithms.object_search import ObjectSearch, SearchError, object_search
from catalog.api.objects import ObjectOutput
from catalog.models import AstroObject, SavedSearch
from observations.api import SurveyField

MAX_PAGE_SIZE = 500


def _angle(low: float, high: float, words: str) -> FiniteFloatField:
    return FiniteFloatField(required=False, min_value=low, max_value=high, help_text=words)


class SearchQuery(StrictQuery):
    """Conditions that all hold at once; at most one region."""

    q = serializers.CharField(
        required=False, max_length=80, help_text="Words in name, alias or classification."
    )
    state = serializers.ChoiceField(required=False, choices=AstroObject.State.choices)
    classification = serializers.CharField(required=False, max_length=30)
    survey = SurveyField(required=False, help_text="Name or slug: detected on its frames.")
    ra = _angle(0.0, 360.0, "Of a cone [ICRS degrees].")
    dec = _angle(-90.0, 90.0, "Of a cone.")
    radius_arcsec = _angle(0.001, 648_000.0, "Of a cone; 60 if not said.")
    ra_min = _angle(0.0, 360.0, "Of a box, going east; above ra_max it crosses RA 0.")
    ra_max = _angle(0.0, 360.0, "Of a box.")
    dec_min = _angle(-90.0, 90.0, "Of a box.")
    dec_max = _angle(-90.0, 90.0, "Of a box.")
    polygon = serializers.CharField(
        required=False, max_length=6000, help_text="Corners: ra dec, ra dec, ra dec [degrees]."
    )
    moc = serializers.CharField(
        required=False, max_length=6000, help_text="String form of a MOC: 6/123 125-130."
    )
    since = serializers.DateTimeField(required=False, help_text="Detected since (UTC).")
    until = serializers.DateTimeField(required=False, help_text="Detected until (UTC).")
    min_magnitude = _angle(-50.0, 50.0, "Of the brightest difference [AB].")
    max_magnitude = _angle(-50.0, 50.0, "Of the brightest difference [AB].")
    min_score = _angle(0.0, 1.0, "Of the model's best score.")
    max_score = _angle(0.0, 1.0, "Of the model's best score.")


class SearchPageQuery(SearchQuery):
    """Conditions, and which page."""

    cursor = serializers.CharField(required=False, max_length=300, help_text="``next`` of a page.")
    page_size = serializers.IntegerField(
        required=False, min_value=1, max_value=MAX_PAGE_SIZE, default=selectors.PAGE_SIZE
    )


def read_search(values: dict[str, Any]) -> ObjectSearch:
    """The search that validated parameters ask for; what contradicts itself is refused."""
    survey = values.get("survey")
    told = {**values, "survey": getattr(survey, "slug", survey) or ""}
    try:
        return object_search(told)
    except SearchError as error:
        raise exceptions.ValidationError({error.field: [str(error)]}) from error


def _valid(query: type[StrictQuery], data: Any) -> dict[str, Any]:
    form = query(data=data)
    form.is_valid(raise_exception=True)
    return dict(form.validated_data)


def search_of(request: Request) -> ObjectSearch:
    """The search in a query string."""
    return read_search(_valid(SearchQuery, request.query_params.dict()))


class SearchPageOutput(serializers.Serializer[Any]):
    """One page of objects, and the cursor of the page after it."""

    next = serializers.CharField(allow_null=True, help_text="Cursor; null on the last page.")
    results = ObjectOutput(many=True)


class ObjectSearchList(APIView):
    """Objects that fit every condition, latest detection first; exact everywhere on the sphere."""

    required_permissions = {"GET": "catalog.view_astroobject"}

    @extend_schema(parameters=[SearchPageQuery], responses=SearchPageOutput)
    def get(self, request: Request) -> Response:
        """One page of objects."""
        values = _valid(SearchPageQuery, request.query_params.dict())
        cursor = values.get("cursor", "")
        if cursor and decode_cursor(cursor) is None:
            raise exceptions.NotFound("Invalid cursor")
        page = selectors.search_page(
            read_search(values), cursor=cursor, size=values.get("page_size", selectors.PAGE_SIZE)
        )
        return Response(SearchPageOutput({"next": page.after or None, "results": page.rows}).data)


class SavedSearchOutput(serializers.ModelSerializer[SavedSearch]):
    """One search that somebody keeps."""

    owner = serializers.CharField(source="owner.username", read_only=True)

    class Meta:
        model = SavedSearch
        fields = ("id", "name", "owner", "is_public", "parameters", "created_at")


class SavedSearchInput(serializers.Serializer[Any]):
    """A search to keep."""

    name = serializers.CharField(max_length=80)
    is_public = serializers.BooleanField(default=False)
    parameters = serializers.DictField(
        child=serializers.CharField(max_length=6000),
        help_text="As in the query string of a search.",
    )


class SavedSearchList(APIView):
    """My searches, and those that others share."""

    required_permissions = {
        "GET": "catalog.view_savedsearch",
        "POST": "catalog.add_savedsearch",
    }

    @extend_schema(responses=SavedSearchOutput(many=True))
    def get(self, request: Request) -> Response:
        """All of them, by name."""
        rows = selectors.saved_searches(person(request).pk)
        return Response(SavedSearchOutput(rows, many=True).data)

    @extend_schema(request=SavedSearchInput, responses={201: SavedSearchOutput})
    def post(self, request: Request) -> Response:
        """Keep one; my search of the same name is replaced."""
        form = SavedSearchInput(data=request.data)
        form.is_valid(raise_exception=True)
        told = form.validated_data
        search = read_search(_valid(SearchQuery, told["parameters"]))
        row = services.save_search(
            person(request), search, name=told["name"], is_public=told["is_public"]
        )
        return Response(SavedSearchOutput(row).data, status=201)


class SavedSearchDetail(APIView):
    """One of my searches."""

    required_permissions = {"DELETE": "catalog.add_savedsearch"}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: UUID) -> Response:
        """Forget it; another person's is as absent as none."""
        if not services.forget_search(person(request), pk):
            raise exceptions.NotFound
        return Response(status=204)
