"""The scores of the engine's benchmark, on products made up so that the answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.engine import report
from benchmarks.engine.explain import explain
from benchmarks.engine.figures import QUALITY, at_most, band, completeness, false_rate
from benchmarks.engine.processes import run_measured
from benchmarks.engine.results import Results, merge
from benchmarks.engine.scene import Truth
from benchmarks.engine.scoring import Product, score_product
from benchmarks.engine.transients import Transients

SHAPE = (300, 300)


def truth_of(x: list[float], y: list[float], snr: list[float]) -> Truth:
    flux = 100.0 * np.array(snr)
    excluded = np.zeros(SHAPE, dtype=bool)
    excluded[:30] = True
    away = np.full(SHAPE, 100.0, dtype=np.float32)
    away[:, 250:] = 10.0
    stars = np.array([60.0, 120.0, 180.0])
    return Truth(
        transients=Transients(
            x=np.array(x),
            y=np.array(y),
            snr=np.array(snr),
            flux=flux,
            sigma=np.full(len(x), 100.0),
            sigma_still=np.full(len(x), 80.0),
            on_galaxy=np.zeros(len(x), dtype=bool),
            usable=np.array([row >= 30 for row in y], dtype=bool),
        ),
        excluded=excluded,
        covered=np.ones(SHAPE, dtype=bool),
        saturated_pix=away,
        blank=~excluded,
        variance_white=np.full(SHAPE, 7.0, dtype=np.float32),
        variance_plain=np.full(SHAPE, 3.0, dtype=np.float32),
        star_x=stars,
        star_y=stars,
        star_snr=np.full(3, 80.0),
        science_profile=np.zeros((64, 64)),
    )


def product_of(
    x: list[float], y: list[float], flux: list[float], **planes: np.ndarray | bool | None
) -> Product:
    made = Product(
        x=np.array(x),
        y=np.array(y),
        flux=np.array(flux),
        difference=None,
        variance=None,
        score=None,
        valid=np.ones(SHAPE, dtype=bool),
        is_white=True,
    )
    return replace(made, **planes)


def test_found_and_false_candidates_are_told_apart_by_distance() -> None:
    truth = truth_of([100.0, 150.0, 200.0, 220.0], [100.0, 150.0, 200.0, 10.0], [5, 5, 7, 7])
    product = product_of(
        # 2 pixels off: found; 3 off: neither; far: false; far near saturation; far, not judged
        [102.0, 153.0, 40.0, 270.0, 90.0],
        [100.0, 150.0, 250.0, 250.0, 5.0],
        [1.0, 1.0, 1.0, -1.0, 1.0],
    )
    scores = score_product(product, truth)
    assert (scores["found_5"], scores["true_5"]) == (1, 2)
    assert (scores["found_7"], scores["true_7"]) == (0, 1)
    assert scores["false"] == 2
    assert scores["false_away"] == 1
    assert scores["false_brighter"] == 1
    assert scores["false_excluded"] == 1
    assert scores["mpix"] == pytest.approx(300 * 270 / 1e6)


def test_an_empty_list_finds_nothing_and_is_never_false() -> None:
    scores = score_product(product_of([], [], []), truth_of([100.0], [100.0], [10.0]))
    assert (scores["found_10"], scores["true_10"], scores["false"]) == (0, 1, 0)


def test_bias_and_scatter_of_fluxes_are_those_put_in() -> None:
    rng = np.random.default_rng(3)
    x, y = (part.ravel().astype(float) for part in np.mgrid[35:295:8, 35:295:8])
    truth = truth_of(list(x), list(y), [10.0] * len(x))
    measured = 1.02 * (truth.transients.flux + rng.normal(0.0, 130.0, len(x)))
    scores = score_product(product_of(list(x), list(y), list(measured)), truth)
    n = len(x)
    # one error is 0.1 of the flux, so the slope of n is known to 0.1 * 1.3 / sqrt(n)
    assert scores["bias"] == pytest.approx(0.02, abs=4 * 0.13 / np.sqrt(n))
    assert scores["bias_error"] == pytest.approx(0.1 / np.sqrt(n), rel=0.01)
    assert scores["scatter"] == pytest.approx(1.3, rel=4 * 0.93 / np.sqrt(n))


def test_white_noise_of_known_width_scores_as_such() -> None:
    rng = np.random.default_rng(8)
    difference = rng.normal(0.0, 2.0, SHAPE).astype(np.float32)
    product = product_of(
        [],
        [],
        [],
        difference=difference,
        variance=np.full(SHAPE, 4.0 / 1.1**2, dtype=np.float32),
        score=difference / np.float32(2.0),
    )
    scores = score_product(product, truth_of([100.0], [100.0], [10.0]))
    # 81,000 pixels: widths to 0.4 %, correlations to 0.35 %
    assert scores["pull_width"] == pytest.approx(1.1, rel=0.015)
    assert scores["score_width"] == pytest.approx(1.0, rel=0.015)
    assert scores["lag1"] == pytest.approx(0.0, abs=0.014)
    # three stars of 49 pixels: each to 20 %
    assert scores["chi2"] == pytest.approx(1.0, abs=0.5)
    assert scores["chi2_own"] == pytest.approx(1.21 * scores["chi2"], rel=0.03)


def test_a_blur_shows_as_lag1_and_residuals_show_as_chi2() -> None:
    rng = np.random.default_rng(9)
    noise = rng.normal(0.0, 2.0, SHAPE)
    blurred = ((noise + np.roll(noise, 1, axis=1)) / np.sqrt(2.0)).astype(np.float32)
    blurred[56:65, 56:65] *= 5.0
    blurred[116:125, 116:125] *= 5.0
    scores = score_product(
        product_of([], [], [], difference=blurred), truth_of([100.0], [100.0], [10.0])
    )
    assert scores["lag1"] == pytest.approx(0.5, abs=0.02)
    assert scores["chi2"] > 10.0


def test_stars_that_the_contestant_masks_are_not_counted() -> None:
    difference = np.random.default_rng(1).normal(0.0, 1.0, SHAPE).astype(np.float32)
    valid = np.ones(SHAPE, dtype=bool)
    valid[50:70, 50:70] = False
    scores = score_product(
        product_of([], [], [], difference=difference, valid=valid),
        truth_of([100.0], [100.0], [10.0]),
    )
    assert scores["n_stars"] == 2


def test_verdicts_allow_for_the_counting_error_and_no_more() -> None:
    rate = completeness(7.0, 0.99)
    assert rate.judge({"found_7": 99, "true_7": 100}) == "reached"
    assert rate.judge({"found_7": 7, "true_7": 8}) == "undecided"
    assert rate.judge({"found_7": 80, "true_7": 100}) == "not reached"
    false = false_rate("false", "false", 0.6)
    assert false.judge({"false": 0, "mpix": 1.0}) == "reached"
    assert false.judge({"false": 1, "mpix": 1.0}) == "undecided"
    assert false.judge({"false": 5, "mpix": 1.0}) == "not reached"
    bias = band("bias", "bias", middle=0.0, half=0.005, error="bias_error")
    assert bias.judge({"bias": -0.004, "bias_error": 0.01}) == "reached"
    assert bias.judge({"bias": -0.008, "bias_error": 0.002}) == "undecided"
    assert bias.judge({"bias": 0.02, "bias_error": 0.002}) == "not reached"
    assert at_most("wall", "wall", 1.0).judge({"wall": 1.01}) == "not reached"
    assert at_most("wall", "wall", 1.0).judge({}) == "-"


def test_seeds_add_their_counts_and_average_their_numbers() -> None:
    merged = merge(
        [
            {"found_5": 3, "true_5": 8, "mpix": 0.9, "chi2": 1.0, "bias_error": 0.03, "date": "a"},
            {"found_5": 5, "true_5": 8, "mpix": 0.9, "chi2": 1.2, "bias_error": 0.04, "date": "b"},
        ]
    )
    assert (merged["found_5"], merged["true_5"], merged["n_scenes"]) == (8, 16, 2)
    assert merged["mpix"] == pytest.approx(1.8)
    assert merged["chi2"] == pytest.approx(1.1)
    assert merged["bias_error"] == pytest.approx(0.025)
    assert merged["date"] == "b"


def test_the_document_holds_every_figure_with_goal_and_verdict(tmp_path: Path) -> None:
    results = Results(tmp_path / "engine.json")
    record = {
        "found_5": 6,
        "true_5": 8,
        "mpix": 1.0,
        "false": 9,
        "false_away": 0,
        "chi2": 1.02,
        "cold_wall_s": 3.0,
        "warm_cpu_s": 0.5,
        "method": "kernel",
        "verdict": "pass",
        "date": "2026-01-01 00:00",
        "commit": "abc",
    }
    results.add(record, regime="sparse", size=1024, seed=1, contestant="AstrID")
    results.add(
        record | {"warm_cpu_s": 2.5}, regime="sparse", size=2048, seed=1, contestant="AstrID"
    )
    results.note_setting(versions={"numpy": "2"}, missing={"HOTPANTS": "not here"})
    text = report.document(Results(tmp_path / "engine.json"))
    section = text[text.index("### sparse, 1024") :]
    for figure in QUALITY:
        assert f"| {figure.name} | {figure.goal} |" in section
    assert "| false per Mpix, all | <= 0.6 | 9.00 (9) | not reached |" in section
    assert "sparse 1024 to 2048 5.00x (not reached)" in text
    assert "HOTPANTS: left out, not here" in text
    assert "completeness at S/N 5" in report.block(results, "sparse", 1024)


def test_lost_and_false_ones_are_named_with_what_lies_around() -> None:
    truth = truth_of([100.0, 200.0], [100.0, 200.0], [7.0, 10.0])
    score = np.zeros(SHAPE, dtype=np.float32)
    score[200, 201] = 9.0
    lines = explain(product_of([40.0], [250.0], [1.0], score=score), truth)
    text = "\n".join(lines)
    assert "7: 1 + 0" in text
    assert "10: 0 + 1" in text
    assert "lost by the score: S/N 7 at (100.0, 100.0)" in text
    assert "lost after the score: S/N 10 at (200.0, 200.0)" in text
    assert "false: (40.0, 250.0)" in text


def test_a_run_is_charged_for_its_children_and_its_failure_is_told(tmp_path: Path) -> None:
    busy = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'bytearray(150_000_000)'])"
    )
    cost = run_measured(["python3", "-c", busy], log=tmp_path / "log")
    assert cost.exit_code == 0
    assert cost.peak_mb > 140
    ballast = np.ones(40_000_000)
    small = run_measured(["python3", "-S", "-c", "pass"], log=tmp_path / "log")
    assert small.peak_mb < 100, f"charged for the {ballast.nbytes} bytes of the one that started it"
    failed = run_measured(["python3", "-c", "raise SystemExit('no sky')"], log=tmp_path / "log")
    assert (failed.exit_code, failed.error) == (1, "no sky")
