"""The second detector adds to what the threshold finds, and is not asked unless it is set."""

from __future__ import annotations

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured

from astrid_site.env import read_choice
from detection.algorithms.candidates import find_candidates
from detection.algorithms.cuts import CutConfig
from detection.services.search import _apply_cuts
from detection.services.second_detector import LEAST_SCORE, add_seen_changes
from detection.training.nights import simulate_night
from detection.training.pair_chain import DifferencedPair, RawPair, difference_pair, label_places
from detection.training.unet_scenes import draw_faint_night

SEED = 54_004


@pytest.fixture(scope="module")
def night() -> tuple[RawPair, DifferencedPair]:
    """A frame of 256 pixels full of transients near the threshold."""
    drawn = draw_faint_night(SEED, snr_range=(4.5, 9.0), per_mpix=900.0, shape=(256, 256))
    raw = simulate_night(drawn, np.random.default_rng(1))
    return raw, difference_pair(raw, drawn.treatment)


def test_fainter_transients_are_added_behind_those_above_the_threshold(
    night: tuple[RawPair, DifferencedPair],
) -> None:
    raw, made = night
    first = find_candidates(made.difference, threshold=5.0)
    both = add_seen_changes(first, made.difference, science=made.science, template=made.template)
    n = len(first)
    assert np.array_equal(both.x[:n], first.x)
    added = both.select(np.arange(n, len(both)))
    assert len(added) >= 3
    assert (np.abs(added.score) >= LEAST_SCORE).all()
    label, _ = label_places(added, raw.changes, fwhm_pix=made.fwhm_pix)
    # nearly all of them are there; of peaks of the score that faint most are noise
    assert (label == 1).sum() >= 3 * (label == 0).sum()


def test_the_added_ones_pass_the_same_cuts_but_for_their_significance(
    night: tuple[RawPair, DifferencedPair],
) -> None:
    _, made = night
    first = find_candidates(made.difference, threshold=5.0)
    both = add_seen_changes(first, made.difference, science=made.science, template=made.template)
    measured = made.measure(both)
    config = CutConfig(min_score=5.0)
    plain = _apply_cuts(measured, config, n_classical=len(both))
    asked = _apply_cuts(measured, config, n_classical=len(first))
    assert plain.n_second == 0
    assert asked.n_second == len(both) - len(first)
    assert asked.n_kept > plain.n_kept
    faint = [m for m, cuts in zip(asked.measurements, asked.cuts, strict=True) if cuts[0].limit < 5]
    assert len(faint) == asked.n_second


def test_only_a_known_detector_can_be_set(
    monkeypatch: pytest.MonkeyPatch, settings: object
) -> None:
    assert settings.SECOND_DETECTOR == ""  # type: ignore[attr-defined]
    monkeypatch.setenv("ASTRID_SECOND_DETECTOR", "crystal ball")
    with pytest.raises(ImproperlyConfigured, match="ASTRID_SECOND_DETECTOR"):
        read_choice("ASTRID_SECOND_DETECTOR", "", choices=("", "unet"))
