"""Which reference a frame gets does not hang on which worker is quicker."""

from __future__ import annotations

import pytest

from astrid_site.core.errors import NotYetError
from astrid_site.core.status import RunStatus
from astrid_site.imaging.errors import NoWorkError
from differencing.models import ReferenceRun
from differencing.services.reference import choose
from tests.observations.factories import make_observation, make_survey

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("stage", ["", "preprocess", "reference"])
def test_a_frame_waits_for_an_earlier_one_that_has_no_reference_yet(stage: str) -> None:
    survey = make_survey()
    make_observation(survey, day=0.0, status=RunStatus.PENDING, stage=stage)
    later = make_observation(survey, day=1.0)
    run = ReferenceRun.objects.create(observation=later, pipeline_version="1")
    with pytest.raises(NotYetError, match="waits for 1 earlier frame"):
        choose(run)


@pytest.mark.parametrize("status", [RunStatus.SKIPPED, RunStatus.FAILED, RunStatus.CANCELLED])
def test_a_frame_waits_for_none_that_has_stopped(status: RunStatus) -> None:
    survey = make_survey()
    make_observation(survey, day=0.0, status=status, stage="reference")
    later = make_observation(survey, day=1.0)
    run = ReferenceRun.objects.create(observation=later, pipeline_version="1")
    with pytest.raises(NoWorkError, match="no reference yet"):
        choose(run)
