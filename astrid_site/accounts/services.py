"""Writes about people: API keys and first accounts."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime

from django.contrib.auth.models import Group
from django.db import transaction
from django.utils import timezone

from astrid_site.accounts.models import ApiKey, User
from astrid_site.core import audit


def create_api_key(
    user: User, *, name: str, can_write: bool, expires_at: datetime | None = None
) -> tuple[ApiKey, str]:
    """Make a key; the secret is returned once and kept nowhere."""
    prefix = "ak_" + secrets.token_hex(4)
    secret = f"{prefix}_{secrets.token_urlsafe(32)}"
    with transaction.atomic():
        key = ApiKey.objects.create(
            user=user,
            name=name,
            prefix=prefix,
            sha256=hashlib.sha256(secret.encode()).hexdigest(),
            can_write=can_write,
            expires_at=expires_at,
        )
        audit.record(user, "api_key.created", key, after={"name": name, "can_write": can_write})
    return key, secret


def revoke_api_key(key: ApiKey, *, actor: User) -> bool:
    """End a key for good; False when it was ended before."""
    with transaction.atomic():
        changed = ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(
            revoked_at=timezone.now()
        )
        if changed:
            audit.record(actor, "api_key.revoked", key)
    return bool(changed)


def create_account(username: str, *, role: str, password: str | None = None) -> tuple[User, str]:
    """Make an account with a role; without a password a fresh random one is made and returned."""
    password = password or secrets.token_urlsafe(12)
    with transaction.atomic():
        user = User.objects.create_user(username=username, password=password)
        user.groups.add(Group.objects.get(name=role))
        # the admin shows each role what it may see and do; viewers have no business there
        user.is_staff = role != "viewer"
        user.save(update_fields=["is_staff"])
        audit.record(None, "account.created", user, after={"role": role})
    return user, password


def deactivate_account(user: User) -> bool:
    """Let a person in no more; what they did and said stays. False when it was done before.

    Sessions end with the account; keys are revoked, so that they stay dead if it is opened again.
    """
    with transaction.atomic():
        changed = User.objects.filter(pk=user.pk, is_active=True).update(is_active=False)
        keys = ApiKey.objects.filter(user=user, revoked_at__isnull=True)
        n_keys = keys.update(revoked_at=timezone.now())
        if changed:
            audit.record(None, "account.deactivated", user, after={"keys_revoked": n_keys})
    return bool(changed)


def reset_password(user: User) -> str:
    """Give an account a fresh random password and return it; sessions end with the old one."""
    password = secrets.token_urlsafe(12)
    with transaction.atomic():
        user.set_password(password)
        user.save(update_fields=["password"])
        audit.record(None, "account.password_reset", user)
    return password
