"""Reading the catalogue."""

from catalog.selectors.coverage import BandCoverage, Coverage, CoveringFrame, coverage_of
from catalog.selectors.exports import light_curve_rows, object_rows
from catalog.selectors.objects import (
    EDGE_ARCSEC,
    REFERENCE,
    ObjectPage,
    cone_search,
    flux_ratios,
    in_cone,
    light_curve,
    members,
    name_surveys,
    object_list,
    object_of,
    object_page,
    objects_near,
)
from catalog.selectors.search import (
    PAGE_SIZE,
    matching,
    saved_searches,
    search_page,
    search_rows,
)
from catalog.selectors.statements import Statements, statements_of

__all__ = [
    "EDGE_ARCSEC",
    "PAGE_SIZE",
    "REFERENCE",
    "BandCoverage",
    "Coverage",
    "CoveringFrame",
    "ObjectPage",
    "Statements",
    "cone_search",
    "coverage_of",
    "flux_ratios",
    "in_cone",
    "light_curve",
    "light_curve_rows",
    "matching",
    "members",
    "name_surveys",
    "object_list",
    "object_of",
    "object_page",
    "object_rows",
    "objects_near",
    "saved_searches",
    "search_page",
    "search_rows",
    "statements_of",
]
