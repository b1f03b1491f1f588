"""Lets programs in by API key: ``Authorization: Key <secret>``."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication, exceptions
from rest_framework.request import Request

from astrid_site.accounts.models import ApiKey

#: How exactly "last used" is kept; writing it for every request would make readers wait.
SEEN_EVERY = timedelta(minutes=1)


class ApiKeyAuthentication(authentication.BaseAuthentication):
    """Finds the user a key acts for; the secret itself is stored nowhere."""

    keyword = "Key"

    def authenticate(self, request: Request) -> tuple[Any, ApiKey] | None:
        """User and key, or None when no key was sent."""
        words = authentication.get_authorization_header(request).split()
        if not words or words[0].lower() != self.keyword.lower().encode():
            return None
        if len(words) != 2:
            msg = "Authorization must be 'Key <secret>'."
            raise exceptions.AuthenticationFailed(msg)
        digest = hashlib.sha256(words[1]).hexdigest()
        key = ApiKey.objects.select_related("user").filter(sha256=digest).first()
        now = timezone.now()
        if (
            key is None
            or key.revoked_at is not None
            or (key.expires_at is not None and key.expires_at <= now)
            or not key.user.is_active
        ):
            msg = "This API key is not valid."
            raise exceptions.AuthenticationFailed(msg)
        if key.last_used_at is None or now - key.last_used_at > SEEN_EVERY:
            ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
        return key.user, key

    def authenticate_header(self, request: Request) -> str:
        """Makes DRF answer 401 rather than 403."""
        return self.keyword


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Tells the OpenAPI document about the keys."""

    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """``Authorization: Key <secret>``."""
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Key <secret>`; keys are made on the page “Account”.",
        }
