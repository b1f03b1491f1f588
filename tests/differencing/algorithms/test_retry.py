"""A method that fails is followed by another, and everything that was tried is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.psf import constant_psf
from astrid_site.imaging.sky_pair import PairConfig, simulate_pair
from differencing.algorithms.retry import METHODS, subtract_in_turn
from differencing.algorithms.subtract import subtract
from differencing.algorithms.subtraction import Metric, Subtraction
from preprocessing.algorithms.stars import find_stars

PLANE = np.zeros((8, 8), np.float32)
GOOD: dict[str, Metric] = {"chi2_stars_median": 1.0, "pull_width_propagated": 1.0}


def made(method: str, quality: str, left: float = 1.0) -> Subtraction:
    return Subtraction(
        difference=PLANE,
        variance=PLANE,
        score=PLANE,
        mask=np.zeros((8, 8), np.uint16),
        psf=constant_psf(np.full((3, 3), 1 / 9, np.float32), shape=(8, 8)),
        method=method,
        method_reason=f"{method} as ever",
        metrics=GOOD | {"chi2_stars_median": left},
        quality=quality,
        quality_reasons=() if quality == "pass" else (f"{method} left {left:g}",),
    )


class Maker:
    """Hands out prepared results and remembers what it was asked for."""

    def __init__(self, **results: Subtraction | AlgorithmError) -> None:
        self.results = results
        self.asked: list[str] = []

    def __call__(self, method: str) -> Subtraction:
        self.asked.append(method)
        result = self.results[method]
        if isinstance(result, AlgorithmError):
            raise result
        return result


def test_a_good_difference_is_taken_as_it_is() -> None:
    first = made("kernel/template", "pass")
    make = Maker(kernel=first)
    assert subtract_in_turn(make) is first
    assert make.asked == ["kernel"]


def test_a_failed_difference_is_followed_by_the_others_in_turn() -> None:
    make = Maker(
        kernel=made("kernel/template", "fail", 30.0),
        zogy=made("zogy", "fail", 20.0),
        alard_lupton=made("alard_lupton", "downgrade", 3.0),
    )
    best = subtract_in_turn(make)
    assert make.asked == list(METHODS)
    assert (best.method, best.quality) == ("alard_lupton", "downgrade")
    assert best.method_reason == (
        "alard_lupton as ever; tried before: kernel/template (kernel/template left 30), "
        "zogy (zogy left 20)"
    )
    assert best.metrics["n_tries"] == 3
    assert best.metrics["tries"] == "kernel/template fail, zogy fail, alard_lupton downgrade"


def test_a_poor_difference_is_kept_where_the_second_is_no_better_and_both_are_told() -> None:
    make = Maker(
        kernel=made("kernel/template", "downgrade", 4.0), zogy=made("zogy", "downgrade", 5.0)
    )
    best = subtract_in_turn(make)
    assert make.asked == ["kernel", "zogy"]
    assert best.method == "kernel/template"
    assert best.method_reason.endswith("tried after: zogy (zogy left 5)")


def test_a_retry_that_is_impossible_does_not_cost_the_difference_at_hand() -> None:
    make = Maker(
        kernel=made("kernel/template", "downgrade", 4.0), zogy=AlgorithmError("no star", n_stars=0)
    )
    best = subtract_in_turn(make)
    assert best.method == "kernel/template"
    assert best.method_reason.endswith("tried after: zogy (no star)")
    assert best.metrics["tries"] == "kernel/template downgrade, zogy impossible"


def test_differences_that_all_fail_are_reported_as_failed() -> None:
    make = Maker(
        kernel=made("kernel/template", "fail", 30.0),
        zogy=made("zogy", "fail", 20.0),
        alard_lupton=AlgorithmError("no kernel"),
    )
    best = subtract_in_turn(make)
    assert best.quality == "fail"
    assert best.metrics["n_tries"] == 3


def test_images_that_no_method_can_match_are_an_error_that_says_why_for_each() -> None:
    make = Maker(
        kernel=AlgorithmError("few stars", n_stars=2, n_required=5),
        zogy=AlgorithmError("no star", n_stars=0),
        alard_lupton=AlgorithmError("few stars", n_stars=2),
    )
    with pytest.raises(AlgorithmError) as caught:
        subtract_in_turn(make)
    assert caught.value.message == (
        "no method can match the images: kernel: few stars; zogy: no star; alard_lupton: few stars"
    )
    assert caught.value.numbers == {"n_stars": 2, "n_required": 5}


def test_one_image_twice_is_not_tried_again_and_is_told() -> None:
    first = made("kernel/template", "fail")
    make = Maker(kernel=replace(first, metrics=GOOD | {"pull_width_propagated": 0.001}))
    best = subtract_in_turn(make)
    assert make.asked == ["kernel"]
    assert best.quality_reasons[0].startswith("both images hold the same noise")


def test_a_kernel_that_fails_on_real_pixels_is_followed_by_another_method() -> None:
    pair = simulate_pair(PairConfig(seed=2, shape=(384, 384), star_density_per_mpix=1200))
    science, template = pair.calibrated_science(), pair.calibrated_reference()
    stars = find_stars(science)
    # the template shows another sky: no method makes these two match
    other = template.with_(data=np.ascontiguousarray(template.data[::-1]))
    best = subtract(other, science, stars=stars)
    assert best.quality == "fail"
    assert best.metrics["n_tries"] == 3
    assert "tried" in best.method_reason
    # a kernel of next to no flux leaves residuals nowhere: the science frame's own stars tell
    assert best.metrics["n_residual_stars"] == 0
    assert float(best.metrics["stars_left"] or 0) > 0.8


def test_new_sources_are_no_stars_left_in_whichever_order_the_frames_come() -> None:
    # 17 new sources of S/N 75 to 90 among stars of which only two are as bright: by the science
    # image's stars alone nine tenths were left, and the verdict was "fail"
    config = PairConfig(
        seed=3,
        shape=(384, 384),
        star_density_per_mpix=300,
        transient_density_per_mpix=120,
        transient_snr=(75.0, 90.0),
        host_fraction=0.0,
    )
    pair = simulate_pair(config)
    science, reference = pair.calibrated_science(), pair.calibrated_reference()
    forth = subtract(reference, science, stars=find_stars(science))
    back = subtract(science, reference, stars=find_stars(reference))
    assert forth.metrics["stars_left"] == back.metrics["stars_left"] == 0.0
    assert forth.quality == back.quality


def test_no_star_of_images_that_match_is_left() -> None:
    pair = simulate_pair(PairConfig(seed=2, shape=(384, 384), star_density_per_mpix=1200))
    science = pair.calibrated_science()
    made = subtract(pair.calibrated_reference(), science, stars=find_stars(science))
    assert made.metrics["stars_left"] == 0.0


def test_a_kernel_that_bends_to_the_stars_that_changed_is_tried_again() -> None:
    bent = made("kernel/template", "downgrade", 1.3)
    bent = replace(bent, metrics=bent.metrics | {"model_flux_error": 0.08})
    straight = made("zogy", "downgrade", 1.4)
    straight = replace(straight, metrics=straight.metrics | {"model_flux_error": 0.02})
    make = Maker(kernel=bent, zogy=straight)
    # half of the stars hardly tell the two apart, their scatter does
    assert subtract_in_turn(make).method == "zogy"
    assert make.asked == ["kernel", "zogy"]
