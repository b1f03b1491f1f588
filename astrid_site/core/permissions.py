"""Who may call a REST endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework import exceptions, permissions
from rest_framework.request import Request

if TYPE_CHECKING:
    from rest_framework.views import APIView

    from astrid_site.accounts.models import User


def person(request: Request) -> User:
    """Who asks; the endpoint's permission has already refused strangers."""
    if not request.user.is_authenticated:
        raise exceptions.NotAuthenticated
    return request.user


class RolePermission(permissions.BasePermission):
    """Signed-in people whose roles hold the permission the view names for the method.

    A view without an entry for the method is closed: forgetting to name a permission refuses
    everybody, it never lets everybody in. An API key that may not write only reads.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Ask the user's roles for ``view.required_permissions[method]``."""
        user = request.user
        if not user or not user.is_authenticated:
            return False
        if request.method not in permissions.SAFE_METHODS and not getattr(
            request.auth, "can_write", True
        ):
            return False
        method = "GET" if request.method == "HEAD" else str(request.method)
        if method == "OPTIONS" or not hasattr(view, method.lower()):
            return True  # nothing is done: DRF describes the view, or answers 405
        needed = getattr(view, "required_permissions", {}).get(method)
        return needed is not None and bool(user.has_perm(needed))
