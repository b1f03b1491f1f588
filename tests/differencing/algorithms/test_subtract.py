"""The difference and its score, against simulated truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from astrid_site.imaging.errors import NoWorkError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane, is_bad
from astrid_site.imaging.sky_pair import PairConfig, SimulatedPair, simulate_pair
from differencing.algorithms.subtract import Subtraction, SubtractionConfig, subtract
from preprocessing.algorithms.stars import StarList, find_stars

SPARSE = PairConfig(seed=2, shape=(512, 512), star_density_per_mpix=700)
SCENES = {
    "sparse": SPARSE,
    "crowded": replace(SPARSE, star_density_per_mpix=8000),
    "science sharper": replace(SPARSE, reference_fwhm_pix=3.2, science_fwhm_pix=2.4),
    "flux ratio 0.3": replace(SPARSE, flux_ratio=0.3, reference_fwhm_pix=2.3),
}


@dataclass(frozen=True)
class Case:
    pair: SimulatedPair
    template: Image
    science: Image
    stars: StarList
    result: Subtraction


def make_case(config: PairConfig, method: str = "kernel") -> Case:
    pair = simulate_pair(config)
    science, template = pair.calibrated_science(), pair.calibrated_reference()
    stars = find_stars(science)
    result = subtract(template, science, stars=stars, config=SubtractionConfig(method=method))
    return Case(pair, template, science, stars, result)


@pytest.fixture(scope="module")
def sparse() -> Case:
    return make_case(SPARSE)


@pytest.fixture(scope="module", params=list(SCENES))
def scene(request: pytest.FixtureRequest) -> Case:
    return make_case(SCENES[request.param])


def usable_truth(case: Case) -> np.ndarray:
    """Transients with a clean surrounding of 9 pixels."""
    table = case.pair.truth
    ny, nx = case.result.score.shape
    keep = []
    for x, y in zip(np.rint(table["x"]).astype(int), np.rint(table["y"]).astype(int), strict=True):
        inside = 8 <= x < nx - 8 and 8 <= y < ny - 8
        keep.append(inside and not (case.result.score[y - 4 : y + 5, x - 4 : x + 5] == 0).any())
    return np.array(keep)


def score_near(case: Case, index: int) -> float:
    x, y = round(case.pair.truth["x"][index]), round(case.pair.truth["y"][index])
    return float(case.result.score[y - 1 : y + 2, x - 1 : x + 2].max())


def test_blank_sky_has_unit_width_in_every_scene(scene: Case) -> None:
    # true variances are given, so the propagated width itself must be right
    assert scene.result.metrics["pull_width_propagated"] == pytest.approx(1.0, abs=0.02)
    assert scene.result.metrics["score_width_propagated"] == pytest.approx(1.0, abs=0.05)
    assert abs(float(scene.result.metrics["lag1"])) < 0.03


def test_bright_stars_vanish_in_every_scene(scene: Case) -> None:
    assert float(scene.result.metrics["chi2_stars_median"]) < 1.25
    assert scene.result.metrics["flux_ratio"] == pytest.approx(scene.pair.flux_ratio, rel=0.02)
    assert scene.result.quality in ("pass", "downgrade")


def test_transients_are_found_at_their_significance(scene: Case) -> None:
    usable = np.flatnonzero(usable_truth(scene) & (scene.pair.truth["snr_difference"] > 7.5))
    assert len(usable) >= 4
    found = [score_near(scene, index) > 5.0 for index in usable]
    # a 7.5 sigma source falls below 5 once in 160
    assert np.mean(found) >= 0.85


def test_blank_sky_makes_no_candidates(scene: Case) -> None:
    score = scene.result.score.copy()
    for x, y in zip(scene.pair.truth["x"], scene.pair.truth["y"], strict=True):
        score[max(0, round(y) - 9) : round(y) + 10, max(0, round(x) - 9) : round(x) + 10] = 0.0
    # 0.26 Mpix: one peak is 4 per Mpix, which a few hundred stars may leave
    assert (np.abs(score) > 6.0).sum() == 0


def test_injected_flux_comes_back(sparse: Case) -> None:
    truth, pulls = sparse.pair.truth, []
    for index in np.flatnonzero(usable_truth(sparse) & (sparse.pair.truth["snr_difference"] > 5)):
        x, y = truth["x"][index], truth["y"][index]
        psf = shifted_psf(sparse.result, x, y)
        column, row = round(x), round(y)
        box = (slice(row - 4, row + 5), slice(column - 4, column + 5))
        weight = psf / sparse.result.variance[box]
        flux = (weight * sparse.result.difference[box]).sum() / (weight * psf).sum()
        pulls.append((flux - truth["flux_adu"][index]) * np.sqrt((weight * psf).sum()))
    assert len(pulls) >= 8
    assert abs(np.mean(pulls)) < 4 / np.sqrt(len(pulls))
    assert 0.5 < np.std(pulls) < 1.6


def shifted_psf(result: Subtraction, x: float, y: float) -> np.ndarray:
    psf = result.psf.at(x, y)[0].astype(float)
    size = psf.shape[0]
    frequency = np.fft.fftfreq(size)
    phase = np.exp(-2j * np.pi * (frequency[:, None] * (y - round(y)) + frequency * (x - round(x))))
    moved = np.fft.ifft2(np.fft.fft2(psf) * phase).real
    middle = size // 2
    return moved[middle - 4 : middle + 5, middle - 4 : middle + 5]


def test_nothing_is_ever_nan(scene: Case) -> None:
    for plane in (scene.result.difference, scene.result.variance, scene.result.score):
        assert np.isfinite(plane).all()
        assert plane.dtype == np.float32


def test_masked_pixels_have_no_difference_and_no_score(scene: Case) -> None:
    bad = is_bad(scene.template.mask) | is_bad(scene.science.mask)
    assert bad.any()
    assert (scene.result.difference[bad] == 0).all()
    assert (scene.result.score[bad] == 0).all()
    assert is_bad(scene.result.mask)[bad].all()


def test_a_hole_in_one_image_makes_no_source(sparse: Case) -> None:
    template = sparse.template.with_(
        data=sparse.template.data.copy(), mask=sparse.template.mask.copy()
    )
    template.data[200:260, 100:300] = 0.0
    template.mask[200:260, 100:300] = MaskPlane.NO_DATA
    result = subtract(template, sparse.science, stars=sparse.stars)
    around = result.score[190:270, 90:310]
    before = sparse.result.score[190:270, 90:310]
    assert np.abs(around[200 - 190 : 260 - 190, 10:210]).max() == 0.0
    assert np.abs(around).max() < max(5.0, np.abs(before).max() * 1.2)


def test_swapping_the_images_flips_the_sign(sparse: Case) -> None:
    swapped = subtract(sparse.science, sparse.template, stars=sparse.stars)
    good = (sparse.result.score != 0) & (swapped.score != 0)
    strong = good & (np.abs(sparse.result.score) > 4)
    assert strong.sum() > 20
    correlation = np.corrcoef(sparse.result.score[strong], swapped.score[strong])[0, 1]
    assert correlation < -0.95


def test_identical_images_give_a_null(sparse: Case) -> None:
    result = subtract(sparse.science, sparse.science, stars=sparse.stars)
    sigma = np.sqrt(np.median(result.variance))
    assert np.abs(result.difference).max() < 0.5 * sigma


def test_units_change_nothing_in_the_score(sparse: Case) -> None:
    def scaled(image: Image, factor: float) -> Image:
        assert image.variance is not None
        return image.with_(
            data=image.data * np.float32(factor), variance=image.variance * np.float32(factor**2)
        )

    stars = replace(
        sparse.stars, flux=sparse.stars.flux * 1e-3, flux_error=sparse.stars.flux_error * 1e-3
    )
    result = subtract(
        scaled(sparse.template, 40.0),
        scaled(sparse.science, 1e-3),
        stars=stars,
        config=SubtractionConfig(method="kernel"),
    )
    assert np.abs(result.score - sparse.result.score).max() < 0.2
    assert result.metrics["flux_ratio"] == pytest.approx(
        float(sparse.result.metrics["flux_ratio"]) * 1e-3 / 40.0, rel=1e-3
    )


def test_twelve_stars_on_a_small_frame_are_enough() -> None:
    config = PairConfig(seed=4, shape=(256, 256), star_density_per_mpix=1500)
    pair = simulate_pair(config)
    science = pair.calibrated_science()
    stars = find_stars(science)
    twelve = stars.select(np.flatnonzero(stars.is_star)[:12])
    assert len(twelve) == 12
    result = subtract(pair.calibrated_reference(), science, stars=twelve)
    assert result.method == "kernel/template"
    assert float(result.metrics["chi2_stars_median"]) < 2.0


def test_zogy_agrees_with_the_kernel(sparse: Case) -> None:
    zogy = subtract(
        sparse.template, sparse.science, stars=sparse.stars, config=SubtractionConfig(method="zogy")
    )
    assert zogy.method == "zogy"
    assert zogy.metrics["score_width_propagated"] == pytest.approx(1.0, abs=0.05)
    usable = np.flatnonzero(usable_truth(sparse) & (sparse.pair.truth["snr_difference"] > 7.5))
    for index in usable:
        x, y = round(sparse.pair.truth["x"][index]), round(sparse.pair.truth["y"][index])
        box = (slice(y - 1, y + 2), slice(x - 1, x + 2))
        kernel_score, zogy_score = sparse.result.score[box].max(), zogy.score[box].max()
        assert zogy_score == pytest.approx(kernel_score, rel=0.2, abs=1.0)


def test_without_stars_auto_says_why_it_cannot_match(sparse: Case) -> None:
    few = sparse.stars.select(np.flatnonzero(sparse.stars.is_star)[:2])
    result = subtract(sparse.template, sparse.science, stars=few)
    assert result.method == "zogy"
    assert "2 usable stars" in result.method_reason


def test_images_that_do_not_overlap_are_no_work(sparse: Case) -> None:
    empty = sparse.template.with_(mask=np.full_like(sparse.template.mask, MaskPlane.NO_DATA))
    with pytest.raises(NoWorkError, match="5 % needed") as caught:
        subtract(empty, sparse.science, stars=sparse.stars)
    assert caught.value.numbers["coverage"] == 0.0


@pytest.mark.parametrize("missing", ["variance", "psf"])
def test_an_image_without_noise_model_is_refused(sparse: Case, missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        subtract(sparse.template.with_(**{missing: None}), sparse.science, stars=sparse.stars)


def test_frames_of_different_shape_are_refused(sparse: Case) -> None:
    other = simulate_pair(PairConfig(seed=1, shape=(128, 128))).calibrated_reference()
    with pytest.raises(ValueError, match="shape"):
        subtract(other, sparse.science, stars=sparse.stars)
