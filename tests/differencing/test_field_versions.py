"""The reference of a frame follows from the epochs that ended before it, and from nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from astrid_site.core.status import RunStatus
from differencing.models import ReferenceImage, ReferenceRun
from differencing.services.building import Recipe, find_reference
from differencing.services.reference import choose
from observations.models import Observation, Survey
from preprocessing.models import ScienceImage
from tests.observations.factories import make_observation, make_stored_file, make_survey

pytestmark = pytest.mark.django_db


def add_epoch(survey: Survey, day: float, **fields: Any) -> Observation:
    """A calibrated frame of the field, done with its own reference."""
    measured = {"fwhm_pix": 3.0, "sky_noise": 10.0, "zero_point": 25.0}
    measured |= {name: fields.pop(name) for name in list(measured) if name in fields}
    row = make_observation(survey, day=day, **fields)
    Observation.objects.filter(pk=row.pk).update(stage="photometry", status="succeeded")
    ScienceImage.objects.create(
        observation=row,
        pipeline_version="1",
        status=RunStatus.SUCCEEDED,
        file=make_stored_file(),
        stars_file=make_stored_file(),
        **measured,
    )
    return row


def recipes_for(row: Observation) -> list[Recipe]:
    run, _ = ReferenceRun.objects.get_or_create(observation=row, pipeline_version="1")
    return choose(run)


def names(recipe: Recipe) -> set[Observation]:
    return {image.observation for image in recipe.epochs}


def save(recipe: Recipe) -> ReferenceImage:
    """A row as if the reference had been built."""
    best = recipe.epochs[0].observation
    return ReferenceImage.objects.create(
        survey=best.survey,
        band=best.band,
        file=make_stored_file(),
        stars_file=make_stored_file(),
        epochs_digest=recipe.digest,
        version=recipe.version,
    )


def test_a_field_gets_a_second_version_after_five_more_epochs() -> None:
    survey = make_survey()
    rows = [add_epoch(survey, day=2.0 * i) for i in range(8)]
    found = [recipes_for(row)[0] for row in rows[1:]]
    assert [recipe.version for recipe in found] == [1, 1, 1, 1, 1, 2, 2]
    assert names(found[0]) == {rows[0]}
    assert names(found[5]) == set(rows[:6])
    assert found[6].digest == found[5].digest
    assert {image.observation for image in found[5].former} == {rows[0]}
    assert "5 epochs more than version 1" in found[5].reason
    # sqrt((1 + 1/n) / 2) of equal epochs
    expected = [np.sqrt((1 + 1 / n) / 2) for n in range(1, 7)]
    assert found[5].predicted == pytest.approx(expected, abs=1e-4)


def test_older_versions_stay_behind_the_newest() -> None:
    survey = make_survey()
    rows = [add_epoch(survey, day=2.0 * i) for i in range(8)]
    found = recipes_for(rows[7])
    assert [recipe.version for recipe in found] == [2, 1]
    assert found[0].former_digest == found[1].digest


def test_a_version_made_anew_keeps_its_distance_and_the_first_need_not() -> None:
    survey = make_survey(reference_guard_days=3.0)
    rows = [add_epoch(survey, day=1.0 * i) for i in range(12)]
    versions = [recipes_for(row)[0].version for row in rows[1:]]
    # the sixth epoch, of day 5, ends a minute after the start of the day: it serves from day 9 on
    assert versions == [1] * 8 + [2] * 3
    latest = rows[9].observed_at - timedelta(days=3.0)
    assert all(image.observation.ended_at <= latest for image in recipes_for(rows[9])[0].epochs)


def test_a_frame_that_comes_late_is_compared_with_what_its_own_time_had() -> None:
    survey = make_survey()
    for i in range(20):
        add_epoch(survey, day=2.0 * i)
    late = make_observation(survey, day=5.0)
    found = recipes_for(late)
    assert [recipe.version for recipe in found] == [1]
    assert all(image.observation.ended_at <= late.observed_at for r in found for image in r.epochs)


def test_the_order_in_which_frames_arrive_changes_nothing() -> None:
    rng = np.random.default_rng(6)
    measured = [
        {"fwhm_pix": float(rng.uniform(2, 4)), "sky_noise": float(rng.uniform(5, 15))}
        for _ in range(14)
    ]
    chosen = []
    for order in (range(14), rng.permutation(14)):
        survey = make_survey()
        rows = {int(i): add_epoch(survey, day=2.0 * i, **measured[int(i)]) for i in order}
        day_of = {row.pk: i for i, row in rows.items()}
        last = make_observation(survey, day=40.0)
        chosen.append(
            [[day_of[e.observation.pk] for e in recipe.epochs] for recipe in recipes_for(last)]
        )
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) >= 2


def test_a_retired_version_is_used_for_nothing_new() -> None:
    survey = make_survey()
    rows = [add_epoch(survey, day=2.0 * i) for i in range(9)]
    first, second = (save(recipe) for recipe in recipes_for(rows[6])[::-1])
    assert find_reference(recipes_for(rows[6])[0]) == second
    ReferenceImage.objects.filter(pk=second.pk).update(is_active=False)
    found = recipes_for(rows[6])
    assert [find_reference(recipe) for recipe in found] == [first]
    ReferenceImage.objects.filter(pk=first.pk).update(is_active=False)
    # with the first gone too, the second epoch gives the first version, and the field goes on
    anew = recipes_for(rows[8])
    assert [names(recipe) for recipe in anew] == [set(rows[:7]), set(rows[:2])]


def test_a_survey_that_makes_nothing_anew_stays_with_the_first() -> None:
    survey = make_survey(reference_rebuild_every=0)
    rows = [add_epoch(survey, day=2.0 * i) for i in range(20)]
    assert names(recipes_for(rows[19])[0]) == {rows[0]}


def test_dithered_frames_share_the_versions_of_the_first_of_them() -> None:
    survey = make_survey()
    # frames of 0.2 degrees: neighbours overlap by 95 %, the first and the last by 90 %
    rows = [add_epoch(survey, day=2.0 * i, ra=150.0 + 0.01 * (i % 3)) for i in range(10)]
    digests = {recipes_for(row)[0].digest for row in rows[7:]}
    assert len(digests) == 1


def test_a_deeper_field_of_the_same_survey_elsewhere_is_another_field() -> None:
    survey = make_survey()
    for i in range(6):
        add_epoch(survey, day=2.0 * i, ra=190.0, target="elsewhere", sky_noise=1.0)
    here = add_epoch(survey, day=1.0)
    assert names(recipes_for(make_observation(survey, day=30.0))[0]) == {here}
