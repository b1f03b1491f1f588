"""Roles as groups: viewer < curator < researcher < admin."""

from __future__ import annotations

from typing import Any

#: Apps whose rows every role may look at.
READABLE_APPS = (
    "observations",
    "preprocessing",
    "differencing",
    "detection",
    "catalog",
    "curation",
)

#: What each role adds to the one before it, as ``app.codename``.
ROLE_STEPS: dict[str, tuple[str, ...]] = {
    "viewer": (
        "core.view_job",
        "core.view_storedfile",
        "core.view_event",
        "catalog.add_savedsearch",
    ),
    "curator": (
        "curation.add_verdict",
        "catalog.add_objectstatement",
        "catalog.add_forcedrequest",
        "detection.add_dataset",
    ),
    "researcher": (
        "observations.add_observation",
        "observations.change_observation",
        "accounts.add_apikey",
        "core.change_job",
        "detection.change_scoringmodel",
        "curation.settle_verdict",
        "curation.add_consensusrule",
        "detection.add_trainingrun",
    ),
    "admin": (),
}


def sync_roles(**_kwargs: Any) -> None:
    """Create the groups and give each its permissions; runs after every migrate.

    Django makes permissions in its own post-migrate step, so a data migration would not see
    them yet: this is the one signal the project uses.
    """
    from django.contrib.auth.models import Group, Permission

    everything = {
        f"{p.content_type.app_label}.{p.codename}": p
        for p in Permission.objects.select_related("content_type")
    }
    granted = {
        name
        for name in everything
        if name.split(".")[0] in READABLE_APPS and name.split(".")[1].startswith("view_")
    }
    for role, added in ROLE_STEPS.items():
        granted |= set(added) & set(everything)
        group, _ = Group.objects.get_or_create(name=role)
        names = everything.keys() if role == "admin" else granted
        group.permissions.set([everything[name] for name in names])
