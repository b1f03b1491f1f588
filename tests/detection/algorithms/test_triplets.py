"""Triplets hold the right planes around the right pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from astrid_site.imaging.masks import MaskPlane
from detection.algorithms.triplets import PLANES, cut_triplets
from tests.detection.algorithms.difference_sky import make_images, make_sky


def test_a_triplet_holds_science_template_difference_and_score_around_the_candidate() -> None:
    sky = make_sky([(100.2, 90.1, 40.0)])
    template, science = make_images(sky, template=7.0)
    triplets = cut_triplets(science, template, sky, np.array([100.2]), np.array([90.1]))
    assert triplets.shape == (1, len(PLANES), 63, 63)
    assert triplets.dtype == np.float32
    rows, columns = slice(59, 122), slice(69, 132)
    assert np.array_equal(triplets[0, 0], science.data[rows, columns])
    assert np.array_equal(triplets[0, 1], template.data[rows, columns])
    assert np.array_equal(triplets[0, 2], sky.difference[rows, columns])
    assert np.unravel_index(triplets[0, 3].argmax(), (63, 63)) == (31, 31)


def test_pixels_off_the_frame_or_without_data_are_nan() -> None:
    sky = make_sky([])
    template, science = make_images(sky)
    mask = template.mask.copy()
    mask[12, 12] = MaskPlane.NO_DATA
    triplets = cut_triplets(
        science, template.with_(mask=mask), sky, np.array([5.0]), np.array([5.0])
    )
    assert np.isnan(triplets[0, :, :26, :]).all()
    assert np.isnan(triplets[0, 1, 38, 38])
    assert np.isfinite(triplets[0, 0, 38, 38])


def test_no_candidates_give_no_triplets() -> None:
    sky = make_sky([])
    template, science = make_images(sky)
    assert cut_triplets(science, template, sky, np.zeros(0), np.zeros(0)).shape == (0, 4, 63, 63)


def test_planes_of_different_shapes_are_refused() -> None:
    sky = make_sky([])
    template, science = make_images(sky)
    small = replace(sky, score=sky.score[:50])
    with pytest.raises(ValueError, match="shapes differ"):
        cut_triplets(science, template, small, np.zeros(1), np.zeros(1))
