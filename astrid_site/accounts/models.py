"""Users, and the API keys that let their programs in."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models

from astrid_site.core.models import UUIDModel


class User(AbstractUser):
    """Our own user table from the first migration, so that it can grow without a painful switch."""


class ApiKey(UUIDModel):
    """A secret that acts for one user; only its hash is kept."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, unique=True, help_text="Shown to tell keys apart.")
    sha256 = models.CharField(max_length=64, unique=True)
    can_write = models.BooleanField(default=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["user"], name="accounts_key_user")]

    def __str__(self) -> str:
        return f"{self.prefix}… {self.name}"


class LoginFailure(UUIDModel):
    """One failed login, counted against the typed name and against the address."""

    account = models.CharField(max_length=64, help_text="sha256 of the typed name.")
    address = models.GenericIPAddressField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["account", "created_at"], name="accounts_failure_account"),
            models.Index(fields=["address", "created_at"], name="accounts_failure_address"),
            models.Index(fields=["created_at"], name="accounts_failure_age"),
        ]

    def __str__(self) -> str:
        return f"{self.account[:10]} {self.created_at:%Y-%m-%d %H:%M:%S}"
