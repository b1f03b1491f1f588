"""REST: what the catalogue tells."""

from catalog.api.objects import ConeSearch, LightCurvePointOutput, ObjectDetail, ObjectList

__all__ = ["ConeSearch", "LightCurvePointOutput", "ObjectDetail", "ObjectList"]
