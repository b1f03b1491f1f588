"""JSON that every parser can read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rest_framework import exceptions, parsers, renderers


def without_nan(value: Any) -> Any:
    """The same structure with null for NaN and the infinities, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return value


class _AsciiJSONRenderer(renderers.JSONRenderer):
    ensure_ascii = True


class FiniteJSONRenderer(renderers.JSONRenderer):
    """Never writes NaN; never fails on text that is not valid UTF-8."""

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """JSON bytes; the rare answer with something unspeakable in it is cleaned first."""
        try:
            return super().render(data, accepted_media_type, renderer_context)
        except ValueError:
            # NaN in a stored value, or half of a surrogate pair echoed by an error message
            plain = _AsciiJSONRenderer()
            return plain.render(without_nan(data), accepted_media_type, renderer_context)


class BoundedJSONParser(parsers.JSONParser):
    """JSON whose nesting does not exhaust the stack."""

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """The value, or a 400."""
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError:
            msg = "JSON parse error: nested too deeply."
            raise exceptions.ParseError(msg) from None
