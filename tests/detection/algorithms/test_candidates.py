"""Candidates are found where sources are, once each, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.masks import MaskPlane
from detection.algorithms.candidates import find_candidates
from tests.detection.algorithms.difference_sky import make_sky

GRID = [(float(x) + 0.3, float(y) - 0.2) for x in range(40, 360, 40) for y in range(40, 360, 40)]


def test_positive_and_negative_sources_are_found_in_place_with_their_sign() -> None:
    sources = [(x, y, 12.0 if i % 2 else -12.0) for i, (x, y) in enumerate(GRID)]
    sky = make_sky(sources, shape=(400, 400), seed=5)
    found = find_candidates(sky)
    # at 5 sigma 160 000 pixels of noise give no false peak in most draws; this seed has none
    assert len(found) == len(sources)
    for x, y, snr in sources:
        nearest = int(np.hypot(found.x - x, found.y - y).argmin())
        # position error at S/N 12 is at best sqrt(2) FWHM / 2.35 / 12 = 0.15 pix per axis
        assert np.hypot(found.x[nearest] - x, found.y[nearest] - y) < 0.9
        assert found.sign[nearest] == np.sign(snr)
        assert np.sign(found.score[nearest]) == np.sign(snr)
    assert (np.abs(found.score)[:-1] >= np.abs(found.score)[1:]).all()


def test_centroids_are_unbiased_and_as_precise_as_the_noise_allows() -> None:
    rng = np.random.default_rng(2)
    offsets = rng.uniform(-0.5, 0.5, (len(GRID), 2))
    sources = [
        (round(x) + o[0], round(y) + o[1], 50.0) for (x, y), o in zip(GRID, offsets, strict=True)
    ]
    found = find_candidates(make_sky(sources, shape=(400, 400)))
    errors = []
    for x, y, _ in sources:
        nearest = int(np.hypot(found.x - x, found.y - y).argmin())
        errors.append((found.x[nearest] - x, found.y[nearest] - y))
    scatter = np.array(errors)
    # best possible for a Gaussian: sqrt(2) FWHM / 2.35 / 50 = 0.036 pix; mean of 64 to 0.0045
    assert np.abs(scatter.mean(axis=0)).max() < 0.015
    assert scatter.std(axis=0).max() < 0.05


@pytest.mark.parametrize("snr", [6.0, 100.0, 5000.0])
def test_one_source_is_one_candidate_however_bright(snr: float) -> None:
    found = find_candidates(make_sky([(101.4, 90.2, snr)], seed=11))
    assert np.sum(np.hypot(found.x - 101.4, found.y - 90.2) < 40) == 1


def test_two_resolved_sources_in_one_blob_are_two_candidates() -> None:
    found = find_candidates(make_sky([(100.0, 90.0, 60.0), (107.0, 90.0, 40.0)]))
    assert len(found) == 2


def test_unresolved_sources_are_one_candidate() -> None:
    found = find_candidates(make_sky([(100.0, 90.0, 60.0), (101.5, 90.0, 40.0)]))
    assert len(found) == 1


def test_no_candidate_sits_on_an_unusable_pixel() -> None:
    mask = np.zeros((200, 240), np.uint16)
    sky = make_sky([(100.0, 90.0, 30.0)], mask=mask)
    mask = mask.copy()
    mask[88:93, 98:103] = MaskPlane.SATURATED
    # a score that forgot the mask
    found = find_candidates(replace(sky, mask=mask))
    for x, y in zip(found.x, found.y, strict=True):
        assert mask[round(y), round(x)] == 0


def test_pixels_without_variance_make_no_candidate() -> None:
    sky = make_sky([(100.0, 90.0, 30.0)])
    assert len(find_candidates(replace(sky, variance=np.zeros_like(sky.variance)))) == 0


def test_swapping_science_and_template_flips_the_signs() -> None:
    sky = make_sky([(60.0, 60.0, 20.0), (150.0, 120.0, -9.0)], seed=4)
    there, back = find_candidates(sky), find_candidates(replace(sky, score=-sky.score))
    assert np.array_equal(there.x, back.x)
    assert np.array_equal(there.sign, -back.sign)


def test_a_source_at_the_very_edge_is_found() -> None:
    sky = make_sky([])
    sky.score[0, 0] = 9.0
    found = find_candidates(sky)
    assert (round(float(found.x[0])), round(float(found.y[0]))) == (0, 0)


def test_a_plateau_is_one_candidate() -> None:
    sky = make_sky([])
    score = np.zeros_like(sky.score)
    score[50:52, 50:53] = 8.0
    assert len(find_candidates(replace(sky, score=score))) == 1


def test_an_empty_sky_has_no_candidates() -> None:
    assert len(find_candidates(make_sky([], seed=3))) == 0


def test_a_frame_full_of_peaks_is_refused_with_their_number() -> None:
    score = np.zeros((600, 600), np.float32)
    score[::3, ::3] = 20.0
    sky = make_sky([], shape=(600, 600))
    with pytest.raises(AlgorithmError) as error:
        find_candidates(replace(sky, score=score))
    assert error.value.numbers["n_peaks"] == 40_000


def test_the_threshold_must_be_positive() -> None:
    with pytest.raises(ValueError, match="threshold"):
        find_candidates(make_sky([]), threshold=0.0)
