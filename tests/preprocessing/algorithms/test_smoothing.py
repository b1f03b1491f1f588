"""Gaussian smoothing in strips against the reference of the scientific library."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from preprocessing.algorithms.smoothing import gaussian_smooth


@pytest.mark.parametrize("sigma", [0.1, 0.75, 1.5, 4.0])
@pytest.mark.parametrize("shape", [(100, 64), (33, 300), (31, 47), (257, 48)])
def test_it_is_the_librarys_filter_to_rounding(shape, sigma):
    plane = np.random.default_rng(1).normal(100.0, 5.0, shape).astype(np.float32)
    expected = ndimage.gaussian_filter(plane.astype(np.float64), sigma, truncate=3.0)
    # three roundings of 6e-8 of a value near 100 for each of up to 25 terms
    assert np.abs(gaussian_smooth(plane, sigma) - expected).max() < 2e-4


def test_a_constant_plane_stays_as_it_is_up_to_the_edges():
    plane = np.full((70, 90), 3.0, dtype=np.float32)
    assert gaussian_smooth(plane, 2.0) == pytest.approx(plane, rel=1e-6)


def test_the_input_is_not_changed():
    plane = np.random.default_rng(2).normal(size=(64, 64)).astype(np.float32)
    before = plane.copy()
    gaussian_smooth(plane, 1.0)
    gaussian_smooth(plane, 0.01)
    assert (plane == before).all()
