"""The account an installation on one machine starts with: made as every other account is."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from astrid_site.accounts import services
from astrid_site.accounts.models import User
from astrid_site.core.models import AuditEntry
from astrid_site.launcher.first_account import CURATOR, ensure_curator

pytestmark = pytest.mark.django_db


def rights(user: User) -> set[str]:
    return set(User.objects.get(pk=user.pk).get_all_permissions())


def test_it_is_made_once_with_a_password_of_its_own() -> None:
    password = ensure_curator()
    assert password is not None
    assert len(password) == 16
    assert User.objects.get(username=CURATOR).check_password(password)
    assert ensure_curator() is None


def test_it_is_an_account_like_one_made_by_hand() -> None:
    ensure_curator()
    first = User.objects.get(username=CURATOR)
    other, _ = services.create_account("other", role="researcher")
    assert rights(first) == rights(other)
    assert {"curation.add_verdict", "observations.add_observation"} <= rights(first)
    assert (first.is_staff, first.is_superuser) == (other.is_staff, other.is_superuser)
    told = AuditEntry.objects.filter(action="account.created")
    assert [entry.after for entry in told] == [{"role": "researcher"}] * 2


def test_a_lost_password_is_replaced() -> None:
    with pytest.raises(CommandError, match="run_astrid makes it"):
        call_command("reset_curator_password")
    old, told = ensure_curator(), StringIO()
    call_command("reset_curator_password", stdout=told)
    new = told.getvalue().split()[-1]
    user = User.objects.get(username=CURATOR)
    assert user.check_password(new)
    assert not user.check_password(old or "")
