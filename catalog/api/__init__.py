"""REST: what the catalogue tells."""

from catalog.api.cone_service import ConeService
from catalog.api.coverage import WatchedPlace
from catalog.api.exports import LightCurveExport, ObjectExport
from catalog.api.forced_requests import (
    ForcedRequestDetail,
    ForcedRequestExport,
    ForcedRequestList,
)
from catalog.api.objects import ConeSearch, LightCurvePointOutput, ObjectDetail, ObjectList
from catalog.api.search import ObjectSearchList, SavedSearchDetail, SavedSearchList
from catalog.api.statements import ObjectStatements, StatementDetail

__all__ = [
    "ConeSearch",
    "ConeService",
    "ForcedRequestDetail",
    "ForcedRequestExport",
    "ForcedRequestList",
    "LightCurveExport",
    "LightCurvePointOutput",
    "ObjectDetail",
    "ObjectExport",
    "ObjectList",
    "ObjectSearchList",
    "ObjectStatements",
    "SavedSearchDetail",
    "SavedSearchList",
    "StatementDetail",
    "WatchedPlace",
]
