"""The Simple Cone Search protocol of the Virtual Observatory.

References
----------
.. [1] IVOA Simple Cone Search 1.03, sections 2.1 to 2.3.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace

from django.http import HttpResponse, QueryDict
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from catalog import selectors
from catalog.algorithms.table_columns import OBJECT_COLUMNS, Column
from catalog.algorithms.table_files import VOTABLE_HEAD, VotableWriter, xml_attribute, xml_text
from catalog.api.negotiation import OneForm
from catalog.models import AstroObject

MAX_ROWS = 10_000
MAX_RADIUS_DEG = 180.0
#: The standard asks for these words of the first UCD version, on one column each.
_STANDARD_UCDS = {"name": "ID_MAIN", "ra": "POS_EQ_RA_MAIN", "dec": "POS_EQ_DEC_MAIN"}
_COLUMNS = tuple(
    replace(column, ucd=_STANDARD_UCDS.get(column.name, column.ucd)) for column in OBJECT_COLUMNS
)
_BRIEF = ("name", "ra", "dec")
_USUAL = (
    *_BRIEF,
    "state",
    "classification",
    "n_detections",
    "last_detected_at",
    "best_real_bogus",
    "brightest_magnitude",
)
_VERBOSITY = {1: _BRIEF, 2: _USUAL, 3: tuple(column.name for column in _COLUMNS)}
_MEDIA_TYPE = "text/xml;content=x-votable"


class ConeRequestError(ValueError):
    """What was asked for is no cone."""


@dataclass(frozen=True)
class ConeRequest:
    """A cone [ICRS degrees], how much to tell of each object, and of how many."""

    ra: float
    dec: float
    radius_deg: float
    columns: tuple[Column, ...]
    max_rows: int


def read_cone(query: QueryDict) -> ConeRequest:
    """The cone in a query string; names in any case, what is not known is ignored.

    Raises
    ------
    ConeRequestError
        If a parameter is missing, given twice, or not what the standard allows.
    """
    told: dict[str, str] = {}
    for name, values in query.lists():
        key = name.upper()
        if key in {"RA", "DEC", "SR", "VERB", "MAXREC"} and (len(values) > 1 or key in told):
            raise ConeRequestError(f"{key} is given more than once")
        told[key] = str(values[0])
    verbosity = _whole(told, "VERB", default=2, allowed=range(1, 4))
    names = _VERBOSITY[verbosity]
    return ConeRequest(
        ra=_angle(told, "RA", low=0.0, high=360.0) % 360.0,
        dec=_angle(told, "DEC", low=-90.0, high=90.0),
        radius_deg=_angle(told, "SR", low=0.0, high=MAX_RADIUS_DEG),
        columns=tuple(column for column in _COLUMNS if column.name in names),
        max_rows=_whole(told, "MAXREC", default=MAX_ROWS, allowed=range(MAX_ROWS + 1)),
    )


def _angle(told: dict[str, str], name: str, *, low: float, high: float) -> float:
    if not told.get(name, "").strip():
        raise ConeRequestError(f"{name} is missing: RA, DEC and SR are needed, in decimal degrees")
    try:
        value = float(told[name])
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise ConeRequestError(
            f"{name} must be a decimal number of degrees from {low:g} to {high:g}"
        )
    return value


def _whole(told: dict[str, str], name: str, *, default: int, allowed: range) -> int:
    text = told.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) in allowed):
        raise ConeRequestError(
            f"{name} must be a whole number from {allowed.start} to {allowed.stop - 1}"
        )
    return int(text)


@extend_schema(exclude=True)
class ConeService(APIView):
    """Simple Cone Search 1.03; ``SR=0`` asks for the columns alone."""

    required_permissions = {"GET": "catalog.view_astroobject"}
    content_negotiation_class = OneForm

    def get(self, request: Request) -> HttpResponse:
        """Objects as a VOTable, nearest first; errors are VOTables too, as the standard says."""
        try:
            cone = read_cone(request._request.GET)
        except ConeRequestError as error:
            return _votable(_error_document(str(error)))
        return _votable(_document(cone))


def _document(cone: ConeRequest) -> bytes:
    found: list[AstroObject] = []
    if cone.radius_deg > 0 and cone.max_rows:
        found = selectors.cone_search(
            cone.ra, cone.dec, cone.radius_deg * 3600.0, limit=cone.max_rows + 1
        )
    buffer = io.BytesIO()
    title = f"Objects of AstrID within {cone.radius_deg:g} deg of {cone.ra:.6f} {cone.dec:+.6f}"
    writer = VotableWriter(buffer, cone.columns, title)
    rows = [
        [getattr(row, column.read_from) for column in cone.columns]
        for row in found[: cone.max_rows]
    ]
    if rows:
        writer.write(rows)
    writer.finish(is_cut=len(found) > cone.max_rows)
    return buffer.getvalue()


def _error_document(message: str) -> bytes:
    error = f'<INFO ID="Error" name="Error" value={xml_attribute(message)}/>'
    # the newer protocols look for it here
    status = f'<INFO name="QUERY_STATUS" value="ERROR">{xml_text(message)}</INFO>'
    resource = f'<RESOURCE type="results">{status}</RESOURCE>'
    return f"{VOTABLE_HEAD} {error}\n {resource}\n</VOTABLE>\n".encode()


def _votable(document: bytes) -> HttpResponse:
    return HttpResponse(document, content_type=_MEDIA_TYPE)
