"""What was found at one detector pixel where the sky was another."""

from __future__ import annotations

import pytest

from astrid_site.imaging.healpix import nested_index
from detection.models import Detection
from detection.services.causes import glance, pixel_history
from observations.models import Survey
from tests.catalog.factories import make_detection, make_detection_run
from tests.observations.factories import make_observation, make_survey

pytestmark = pytest.mark.django_db


def frame(survey: Survey, *, n: int, dec: float, x: float, camera: str = "A") -> Detection:
    """A searched frame with one candidate at a pixel and one somewhere else."""
    observation = make_observation(survey, day=n, dec=dec, instrument=camera)
    run = make_detection_run(observation)
    make_detection(run, x=20.0 + n, y=70.0, ra=150.0, dec=dec)
    return make_detection(run, x=x, y=40.0, ra=150.0, dec=dec)


def test_a_pixel_that_lights_up_wherever_the_camera_points_is_hot() -> None:
    survey = make_survey()
    rows = [frame(survey, n=n, dec=2.0 + n, x=60.0 + 0.2 * (n % 3)) for n in range(12)]
    history = pixel_history(rows[0])
    assert (history.n_frames, history.n_hits) == (11, 11)
    # two candidates a frame of 100 x 100 pixels: 9 of them hold one by accident in 1 of 556
    assert history.expected == pytest.approx(11 * 2 * 9 / 100**2)
    assert history.hot_probability is not None
    assert history.hot_probability > 0.99
    assert "11 of 11 other frames" in glance(rows[0]).words


def test_a_source_that_is_seen_again_at_its_own_place_makes_no_pixel_hot() -> None:
    survey = make_survey()
    rows = [frame(survey, n=n, dec=2.0, x=60.0) for n in range(6)]
    history = pixel_history(rows[0])
    assert history.n_frames == 0
    assert history.hot_probability is None
    assert glance(rows[0]).words == ""


def test_other_cameras_and_frames_without_a_place_say_nothing() -> None:
    survey = make_survey()
    row = frame(survey, n=0, dec=2.0, x=60.0)
    frame(survey, n=1, dec=5.0, x=60.0, camera="B")
    frame(make_survey(), n=2, dec=6.0, x=60.0)
    assert pixel_history(row).n_frames == 0
    lost = make_detection_run(make_observation(survey, ra=None, instrument="A"))
    unplaced = make_detection(lost, x=60.0, y=40.0, ra=None)
    assert unplaced.healpix14 is None
    assert pixel_history(unplaced).n_frames == 0
    assert pixel_history(row).n_hits == 0
    assert nested_index(150.0, 2.0) == row.healpix14
