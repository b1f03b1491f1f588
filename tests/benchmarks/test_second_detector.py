"""Detectors are compared at like numbers of false candidates, on the same transients."""

from __future__ import annotations

import numpy as np

from benchmarks.learning.detector_nights import Night
from benchmarks.learning.second_detector import (
    Seen,
    Sightings,
    judge,
    n_false,
    tally,
    threshold_for,
    union,
)


def sightings(labels: list[int], ranks: list[float], *, x: float = 0.0) -> Sightings:
    n = len(labels)
    place = np.column_stack([x + 10.0 * np.arange(n), np.zeros(n)])
    return Sightings(place, np.array(labels), np.arange(n), np.array(ranks))


def test_the_threshold_lets_no_more_false_ones_through_than_allowed() -> None:
    found = [sightings([0, 1, 0], [3.0, 2.0, 1.0]), sightings([0, 1], [2.0, -np.inf])]
    for allowed in (0, 1, 2, 3):
        limit = threshold_for(found, allowed)
        assert n_false([each.above(limit) for each in found]) == allowed
    # what is no candidate at all never becomes one
    assert all(np.isfinite(each.above(threshold_for(found, 9)).rank).all() for each in found)


def test_a_place_that_both_find_counts_once() -> None:
    both = union(sightings([1, 0], [1.0, 1.0]), sightings([1, 0], [1.0, 1.0], x=10.5), within=2.0)
    assert both.place[:, 0].tolist() == [0.0, 10.0, 20.5]


def test_transients_are_counted_by_their_significance_and_masked_ones_not_at_all() -> None:
    night = Night(
        planes=np.zeros((4, 8, 8)),
        fwhm=3.0,
        changes=np.zeros((4, 3)),
        snr=np.array([4.0, 5.0, 5.2, np.nan]),
        table=np.zeros((0, 8)),
    )
    seen = Seen(night, sightings([], []), np.zeros(0))
    counts = tally(seen, sightings([1, 1, 0, 1], [1.0] * 4))
    assert counts[:6].tolist() == [3, 1, 1, 1, 1, 2]
    table = np.stack([counts, counts])
    report = judge(table, table)
    assert report["purity"]["value"] == 0.75
    assert report["completeness 4.5-5.5"]["value"] == 0.5
    assert report["gain 4.5-5.5"]["value"] == 0.0
