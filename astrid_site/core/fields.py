"""What REST requests may say: numbers that are numbers, and no parameter nobody reads."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.request import Request

#: Read by the pagination, so every list accepts them.
PAGE_PARAMETERS = frozenset({"cursor", "page_size"})


class FiniteFloatField(serializers.FloatField):
    """A number; "nan", "inf" and 1e999, which Python takes for floats, are refused."""

    def to_internal_value(self, data: Any) -> float:
        """The number, if it is one."""
        value = super().to_internal_value(data)
        if not math.isfinite(value):
            self.fail("invalid")
        return value


class StrictQuery(serializers.Serializer[Any]):
    """Parameters of a query string; one that is not known is refused, not ignored.

    A misspelt filter that is silently dropped answers a question nobody asked.
    """

    allowed_besides: ClassVar[frozenset[str]] = frozenset()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse what no field reads."""
        known = set(self.fields) | self.allowed_besides
        errors = {
            name: [f"There is no such parameter; known are {', '.join(sorted(known))}."]
            for name in self.initial_data
            if name not in known
        }
        if errors:
            raise serializers.ValidationError(errors)
        return attrs


class ListQuery(StrictQuery):
    """Parameters of a paged list."""

    allowed_besides = PAGE_PARAMETERS


def read_query(query: type[StrictQuery], request: Request) -> dict[str, Any]:
    """The validated parameters of a request that were given a value."""
    form = query(data=request.query_params.dict())
    form.is_valid(raise_exception=True)
    return {k: v for k, v in form.validated_data.items() if v is not None and v != ""}
