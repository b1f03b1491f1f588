"""REST: tables to take away."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.views import APIView

from astrid_site.core.file_stream import file_response
from catalog import services
from catalog.algorithms.table_files import FORMATS, TableFormat
from catalog.api.negotiation import OneForm
from catalog.api.search import SearchQuery, search_of
from catalog.models import AstroObject

FORMAT_IN_PATH = OpenApiParameter("file_format", str, OpenApiParameter.PATH, enum=list(FORMATS))
FILE_ANSWER = {
    (200, kind.media_type.split(";")[0]): OpenApiResponse(OpenApiTypes.BINARY)
    for kind in FORMATS.values()
}


def table_format(name: str) -> TableFormat:
    """The format of that name, or 404."""
    if name not in FORMATS:
        msg = f"There is no format {name!r}; known are {', '.join(FORMATS)}."
        raise exceptions.NotFound(msg)
    return FORMATS[name]


def answer_table(
    request: Request, table: services.ExportedTable, *, kind: TableFormat, name: str
) -> HttpResponseBase:
    """A table as a file to take away."""
    response = file_response(
        request._request,
        table.file,
        media_type=kind.media_type,
        name=f"{name}.{kind.suffix}",
        size=table.size,
        sha256=table.sha256,
    )
    response["X-Row-Count"] = str(table.n_rows)
    return response


class ObjectExport(APIView):
    """Every object of a search as one file; a cut connection shows by its length and digest."""

    required_permissions = {"GET": "catalog.view_astroobject"}
    content_negotiation_class = OneForm

    @extend_schema(parameters=[FORMAT_IN_PATH, SearchQuery], responses=FILE_ANSWER)
    def get(self, request: Request, file_format: str) -> HttpResponseBase:
        """The file."""
        kind = table_format(file_format)
        table = services.export_objects(search_of(request), kind)
        return answer_table(request, table, kind=kind, name="astrid-objects")


class LightCurveExport(APIView):
    """The light curve of one object as one file, both kinds of flux."""

    required_permissions = {"GET": "catalog.view_astroobject"}
    content_negotiation_class = OneForm

    @extend_schema(parameters=[FORMAT_IN_PATH], responses=FILE_ANSWER)
    def get(self, request: Request, pk: UUID, file_format: str) -> HttpResponseBase:
        """The file."""
        kind = table_format(file_format)
        owner = get_object_or_404(AstroObject, pk=pk)
        table = services.export_light_curve(owner, kind)
        name = owner.name.replace(" ", "-").replace("+", "p")
        return answer_table(request, table, kind=kind, name=f"{name}-light-curve")
