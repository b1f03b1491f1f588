"""An open file as the body of an answer, whole and verifiable, in little memory."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from typing import IO

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.http import content_disposition_header

CHUNK_BYTES = 1 << 20


class FileStream:
    """A file piece by piece: a plain iterator would be read whole into memory under ASGI.

    The response closes it, also when nobody ever asks for the first piece.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces."""
        while piece := await asyncio.to_thread(self.file.read, CHUNK_BYTES):
            yield piece

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()


class _PlainFileStream:
    """The same for a server that does not wait for others, as WSGI."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces."""
        while piece := self.file.read(CHUNK_BYTES):
            yield piece

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()


def file_response(
    request: HttpRequest,
    file: IO[bytes],
    *,
    media_type: str,
    name: str,
    size: int,
    sha256: bytes = b"",
) -> StreamingHttpResponse:
    """An attachment whose reader can tell whether it is whole: its length and digest come first."""
    stream = FileStream(file) if isinstance(request, ASGIRequest) else _PlainFileStream(file)
    response = StreamingHttpResponse(stream, content_type=media_type)
    response["Content-Length"] = str(size)
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    if sha256:
        # RFC 9530: of the representation, so it holds for what was saved too
        response["Repr-Digest"] = f"sha-256=:{base64.b64encode(sha256).decode()}:"
    return response
