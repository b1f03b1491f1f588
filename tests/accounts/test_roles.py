"""What each role holds."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from astrid_site.accounts import services
from astrid_site.accounts.models import User
from astrid_site.core.models import AuditEntry

pytestmark = pytest.mark.django_db

STEPS = {
    "observations.view_observation": "viewer",
    "core.view_storedfile": "viewer",
    "core.view_event": "viewer",
    "curation.add_verdict": "curator",
    "observations.add_observation": "researcher",
    "observations.change_observation": "researcher",
    "accounts.add_apikey": "researcher",
    "core.change_job": "researcher",
    "accounts.change_user": "admin",
    "observations.change_survey": "admin",
}
ORDER = ("viewer", "curator", "researcher", "admin")


@pytest.mark.parametrize(("permission", "first"), STEPS.items())
def test_each_permission_begins_at_its_role(
    people: dict[str, User], permission: str, first: str
) -> None:
    holders = [role for role in ORDER if people[role].has_perm(permission)]
    assert holders == list(ORDER[ORDER.index(first) :])


def test_nobody_below_admin_may_see_people_keys_or_the_audit_trail(
    people: dict[str, User],
) -> None:
    for role in ORDER[:3]:
        held = people[role].get_all_permissions()
        assert not {p for p in held if p.startswith(("auth.", "sessions.", "admin."))}
        assert not {p for p in held if p.endswith(("_user", "_auditentry", "_loginfailure"))}
        assert "accounts.view_apikey" not in held


def test_an_account_is_made_with_a_password_nobody_chose() -> None:
    user, password = services.create_account("new-person", role="curator")
    assert len(password) >= 16
    assert user.check_password(password)
    assert user.is_staff
    assert not user.is_superuser
    assert not services.create_account("onlooker", role="viewer")[0].is_staff
    fresh = services.reset_password(user)
    assert fresh != password
    assert user.check_password(fresh)
    actions = set(AuditEntry.objects.values_list("action", flat=True))
    assert actions == {"account.created", "account.password_reset"}


def test_accounts_are_made_and_passwords_replaced_from_the_command_line() -> None:
    told = StringIO()
    call_command("create_account", "night-shift", "--role", "researcher", stdout=told)
    user = User.objects.get(username="night-shift")
    assert user.check_password(told.getvalue().split()[-1])
    assert user.has_perm("observations.add_observation")
    with pytest.raises(CommandError, match="already"):
        call_command("create_account", "night-shift")
    told = StringIO()
    call_command("reset_password", "night-shift", stdout=told)
    user.refresh_from_db()
    assert user.check_password(told.getvalue().split()[-1])
    with pytest.raises(CommandError, match="no account"):
        call_command("reset_password", "nobody")
