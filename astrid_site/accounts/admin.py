"""Admin pages of people and their keys."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest

from astrid_site.accounts import services
from astrid_site.accounts.models import ApiKey, LoginFailure, User
from astrid_site.core.admin import AuditedAdmin, ReadOnlyAdmin


@admin.register(User)
class PeopleAdmin(AuditedAdmin, UserAdmin[User]):
    """Accounts and their roles."""

    list_display = ("username", "email", "is_active", "is_staff", "last_login")
    list_filter = ("is_active", "is_staff", "groups")


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """Keys of every user; their secrets are known to nobody."""

    list_display = ("prefix", "name", "user", "can_write", "last_used_at", "revoked_at")
    list_filter = ("can_write",)
    list_select_related = ("user",)
    search_fields = ("prefix", "name", "user__username")
    exclude = ("sha256",)
    actions = ["revoke"]

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Who may end other people's keys."""
        return request.user.has_perm("accounts.change_apikey")

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """End the chosen keys."""
        actor = User.objects.get(username=request.user.get_username())
        ended = sum(services.revoke_api_key(key, actor=actor) for key in queryset)
        self.message_user(request, f"{ended} keys revoked.")


@admin.register(LoginFailure)
class LoginFailureAdmin(ReadOnlyAdmin):
    """Failed logins of the last day."""

    list_display = ("created_at", "address", "account")
    search_fields = ("address",)
    date_hierarchy = "created_at"
