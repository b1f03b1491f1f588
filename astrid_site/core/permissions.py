"""Who may call a REST endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework import permissions
from rest_framework.request import Request

if TYPE_CHECKING:
    from rest_framework.views import APIView


class RolePermission(permissions.BasePermission):
    """Signed-in people with the Django permission the view names for the method."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Ask the user's roles for ``view.required_permissions[method]``."""
        if not request.user or not request.user.is_authenticated:
            return False
        needed = getattr(view, "required_permissions", {}).get(request.method)
        return needed is None or bool(request.user.has_perm(needed))
