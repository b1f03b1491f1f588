"""What the log says of requests: a line for what was refused, a traceback for what broke."""

from __future__ import annotations

import logging


class RefusalsInOneLine(logging.Filter):
    """Takes the traceback from requests that were refused (4xx).

    Django logs the exception by which a view said 403 or 404 as if it had been an accident.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through."""
        if 400 <= getattr(record, "status_code", 0) < 500:
            record.exc_info = record.exc_text = None
        return True
