"""Reading the catalogue."""

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

__all__ = [
    "EDGE_ARCSEC",
    "REFERENCE",
    "ObjectPage",
    "cone_search",
    "flux_ratios",
    "in_cone",
    "light_curve",
    "members",
    "name_surveys",
    "object_list",
    "object_of",
    "object_page",
    "objects_near",
]
