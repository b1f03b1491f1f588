"""The admin, entered through the same login page as everything else."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import AdminConfig
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import resolve_url

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


class StaffSite(AdminSite):
    """One login for all: a second form would need its own limits, and would be forgotten."""

    site_header = "AstrID administration"
    site_title = "AstrID"

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Strangers go to the login page; those who are in but not staff are refused."""
        from django.contrib.auth.views import redirect_to_login

        if request.user.is_authenticated and not self.has_permission(request):
            raise PermissionDenied
        target = request.GET.get("next", "") or resolve_url("admin:index")
        if request.user.is_authenticated:
            return HttpResponseRedirect(resolve_url("admin:index"))
        return redirect_to_login(target, resolve_url("accounts:login"))

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        """Say 403 at once to people who are logged in but may not enter."""
        inner = super().admin_view(view, cacheable)

        @wraps(inner)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.user.is_authenticated and not self.has_permission(request):
                raise PermissionDenied
            return inner(request, *args, **kwargs)

        return cast(View, guarded)


class StaffAdminConfig(AdminConfig):
    """Makes ``admin.site`` the one above."""

    default_site = "astrid_site.accounts.staff_site.StaffSite"
