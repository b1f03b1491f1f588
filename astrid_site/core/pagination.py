"""Paging of REST lists."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import exceptions
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request


class NewestFirstPagination(CursorPagination):
    """Cursor paging, newest first; a page costs the same however deep it is."""

    ordering = ("-created_at", "id")
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 500

    def get_ordering(self, request: Request, queryset: Any, view: Any) -> tuple[str, ...]:
        """The order asked for, if the view names it: those are the orders that have an index."""
        asked = request.query_params.get("ordering")
        if not asked:
            return self.ordering
        allowed = getattr(view, "orderings", ())
        if asked not in allowed:
            msg = f"Must be one of {', '.join(allowed)}." if allowed else "Has one order only."
            raise exceptions.ValidationError({"ordering": [msg]})
        return (asked, "id")

    def get_page_size(self, request: Request) -> int:
        """The size asked for, at most ``max_page_size``; what is no size is refused."""
        text = request.query_params.get("page_size")
        if text is None:
            return self.page_size
        if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) > 0):
            raise exceptions.ValidationError({"page_size": ["A whole number, at least 1."]})
        return min(int(text), self.max_page_size)

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> Any:
        """One page; a cursor that was not made by us is refused like an unreadable one."""
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValidationError, ValueError, OverflowError):
            # DRF hands the position inside a forged cursor to the database as it is
            raise exceptions.NotFound(self.invalid_cursor_message) from None
