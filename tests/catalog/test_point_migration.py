"""Points made before there were two kinds keep their fluxes, forwards and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from tests.catalog.factories import make_difference_run, make_object

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE = ("catalog", "0003_where_points_are_measured")
AFTER = ("catalog", "0004_points_of_two_kinds")


def migrate(target: tuple[str, str]) -> Any:
    """Bring the catalog to one state; returns its models."""
    executor = MigrationExecutor(connection)
    executor.migrate([target])
    return MigrationExecutor(connection).loader.project_state([target]).apps


@pytest.fixture
def back_to_now() -> Iterator[None]:
    yield
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


def add(apps: Any, owner: Any, run: Any, **fields: Any) -> Any:
    return apps.get_model("catalog", "LightCurvePoint").objects.create(
        astro_object_id=owner.pk,
        difference_run_id=run.pk if run else None,
        flux=12.5,
        flux_error=1.5,
        **fields,
    )


def test_old_points_become_difference_points_of_their_science_image(back_to_now: None) -> None:
    owner, run, nameless, lost = (make_object(), *(make_difference_run() for _ in range(3)))
    for other in (nameless, lost):
        type(other).objects.filter(pk=other.pk).update(science_image=None)
    lost.science_image.delete()
    apps = migrate(BEFORE)
    for one in (run, nameless, lost):
        add(apps, owner, one, observation_id=one.observation_id)
    apps = migrate(AFTER)
    rows = apps.get_model("catalog", "LightCurvePoint").objects.all()
    assert {(row.kind, row.flux, row.difference_run_id, row.science_image_id) for row in rows} == {
        ("difference", 12.5, run.pk, run.science_image_id),
        # named by observation and version where the run itself does not say
        ("difference", 12.5, nameless.pk, nameless.science_image_id),
    }


def test_going_back_keeps_the_differences_alone(back_to_now: None) -> None:
    owner, run = make_object(), make_difference_run()
    apps = migrate(AFTER)
    images = {
        "observation_id": run.observation_id,
        "science_image_id": run.science_image_id,
    }
    kept = add(apps, owner, run, kind="difference", **images)
    add(apps, owner, None, kind="total", **images)
    apps = migrate(BEFORE)
    (row,) = apps.get_model("catalog", "LightCurvePoint").objects.all()
    assert (row.pk, row.flux, row.difference_run_id) == (kept.pk, 12.5, run.pk)
