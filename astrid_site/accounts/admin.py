"""Admin pages of people and their keys."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest

from astrid_site.accounts import services
from astrid_site.accounts.models import ApiKey, User
from astrid_site.core.admin import ReadOnlyAdmin

admin.site.register(User, UserAdmin)


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """Keys of every user; their secrets are known to nobody."""

    list_display = ("prefix", "name", "user", "can_write", "last_used_at", "revoked_at")
    list_filter = ("can_write",)
    list_select_related = ("user",)
    search_fields = ("prefix", "name", "user__username")
    exclude = ("sha256",)
    actions: ClassVar = ["revoke"]

    @admin.action(description="Revoke", permissions=["view"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """End the chosen keys."""
        if not isinstance(request.user, User) or not request.user.has_perm(
            "accounts.change_apikey"
        ):
            self.message_user(request, "Your role may not revoke keys.")
            return
        ended = sum(services.revoke_api_key(key, actor=request.user) for key in queryset)
        self.message_user(request, f"{ended} keys revoked.")
