"""One shape for every REST error: problem+json with a stable code and no inner details."""

from __future__ import annotations

import logging
import uuid
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import OperationalError
from django.http import UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from rest_framework import exceptions, serializers, status
from rest_framework.response import Response
from rest_framework.views import exception_handler

from astrid_site.core.errors import ApplicationError, ConflictError, TransientError

logger = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"

#: Requests that Django itself cannot take in, with the answer each deserves; first match.
_UNREADABLE: tuple[tuple[type[Exception], tuple[int, str, str]], ...] = (
    (RequestDataTooBig, (413, "too_large", "The request body is larger than allowed.")),
    (SuspiciousOperation, (400, "refused", "The request is not acceptable.")),
    (UnreadablePostError, (400, "unreadable", "The request body ended early.")),
    (MultiPartParserError, (400, "unreadable", "The multipart body cannot be read.")),
)
#: Django's own Http404 and PermissionDenied carry no code.
_DJANGO_CODES = {403: "permission_denied", 404: "not_found"}


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer to an exception as ``application/problem+json``; None leaves it to Django (500)."""
    if isinstance(error, ApplicationError):
        code = 409 if isinstance(error, ConflictError) else 400
        return _problem(code, "conflict" if code == 409 else "refused", str(error))
    if isinstance(error, OperationalError | TransientError):
        return _unavailable()
    for kind, answer in _UNREADABLE:
        if isinstance(error, kind):
            return _problem(*answer)
    response = exception_handler(error, context)
    if response is None:
        return None
    if isinstance(error, exceptions.ValidationError):
        problem = _problem(400, "invalid", "Some fields are not valid.", errors=response.data)
    else:
        code_name = getattr(error, "default_code", _DJANGO_CODES.get(response.status_code, "error"))
        detail = response.data.get("detail", "") if isinstance(response.data, dict) else ""
        problem = _problem(response.status_code, str(code_name), str(detail))
    for header in ("WWW-Authenticate", "Retry-After", "Allow"):
        if response.has_header(header):
            problem[header] = response[header]
    return problem


def _unavailable() -> Response:
    incident = uuid.uuid4().hex[:12]
    logger.exception("database or object store not available, incident %s", incident)
    answer = _problem(503, "unavailable", f"Try again soon (incident {incident}).")
    answer["Retry-After"] = "5"
    return answer


def _problem(code: int, name: str, detail: str, **more: Any) -> Response:
    body = problem_body(code, name, detail, **more)
    return Response(body, status=code, content_type=PROBLEM_TYPE)


def problem_body(code: int, name: str, detail: str, **more: Any) -> dict[str, Any]:
    """The members of every REST error (RFC 9457); ``more`` are those of one kind of error."""
    return {
        "type": f"urn:astrid:problem:{name}",
        "title": status_title(code),
        "status": code,
        "code": name,
        "detail": detail,
        **more,
    }


class ProblemOutput(serializers.Serializer[Any]):
    """Why a request was refused; the same shape for every error of every endpoint."""

    type = serializers.CharField(help_text="urn:astrid:problem:<code>")
    title = serializers.CharField(help_text="The status in words.")
    status = serializers.IntegerField()
    code = serializers.CharField(help_text="Stable, for programs.")
    detail = serializers.CharField(help_text="For people.")
    errors = serializers.JSONField(  # type: ignore[assignment]  # shadows a serializer's own
        required=False, help_text="What is wrong with each field, where fields are wrong."
    )


def status_title(code: int) -> str:
    """Reason phrase of an HTTP status."""
    titles = {
        status.HTTP_400_BAD_REQUEST: "Bad request",
        status.HTTP_401_UNAUTHORIZED: "Not signed in",
        status.HTTP_403_FORBIDDEN: "Not allowed",
        status.HTTP_404_NOT_FOUND: "Not found",
        status.HTTP_405_METHOD_NOT_ALLOWED: "Method not allowed",
        status.HTTP_408_REQUEST_TIMEOUT: "Too slow",
        status.HTTP_409_CONFLICT: "Conflict",
        status.HTTP_413_REQUEST_ENTITY_TOO_LARGE: "Too large",
        status.HTTP_415_UNSUPPORTED_MEDIA_TYPE: "Unsupported media type",
        status.HTTP_422_UNPROCESSABLE_ENTITY: "Not processable",
        status.HTTP_429_TOO_MANY_REQUESTS: "Too many requests",
        status.HTTP_500_INTERNAL_SERVER_ERROR: "Internal error",
        status.HTTP_503_SERVICE_UNAVAILABLE: "Unavailable",
    }
    return titles.get(code, "Error")
