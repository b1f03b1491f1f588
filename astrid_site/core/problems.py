"""One shape for every REST error: problem+json."""

from __future__ import annotations

from typing import Any

from rest_framework.response import Response
from rest_framework.views import exception_handler


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's answer to an exception, as ``application/problem+json``."""
    response = exception_handler(error, context)
    if response is not None:
        response.data = {"status": response.status_code, "detail": response.data}
    return response
