"""Dipoles fitted, pixels remembered, causes named."""

from __future__ import annotations

import numpy as np
import pytest

from detection.algorithms.causes import Evidence, PixelHistory, likely_causes
from detection.algorithms.dipole_fit import DipoleFit, fit_dipole

FWHM = 3.2
SIZE = 41


def gaussian(x: float, y: float, size: int = SIZE) -> np.ndarray:
    rows, columns = np.indices((size, size))
    sigma = FWHM / 2.3548
    shape = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return np.asarray(shape / (2 * np.pi * sigma**2))


def fitted(light: np.ndarray, *, seed: int, x: float = 20.0, y: float = 20.0) -> DipoleFit:
    rng = np.random.default_rng(seed)
    psf = gaussian(12, 12, 25).astype(np.float32)
    found = fit_dipole(
        (light + rng.normal(0, 1, light.shape)).astype(np.float32),
        np.ones(light.shape, np.float32),
        psf / psf.sum(),
        good=np.ones(light.shape, bool),
        x=x,
        y=y,
        fwhm_pix=FWHM,
    )
    assert found is not None
    return found


def test_a_dipole_comes_back_with_its_lobes_and_far_likelier_than_one_source() -> None:
    for seed, (dx, dy) in enumerate(((2.0, 0.0), (-1.5, 2.5), (0.0, -4.0))):
        light = 200 * gaussian(20 + dx / 2, 20 + dy / 2) - 150 * gaussian(20 - dx / 2, 20 - dy / 2)
        fit = fitted(light, seed=seed)
        # a lobe of 200 under a noise of 1 a pixel has S/N 40: its place is good to 0.05 pix
        assert (fit.dx, fit.dy) == pytest.approx((dx, dy), abs=0.4)
        assert (fit.positive, fit.negative) == pytest.approx((200, 150), rel=0.25)
        assert fit.likelihood_ratio > 100
        assert fit.dipole_chi2 == pytest.approx(fit.n_pixels, rel=0.4)


def test_one_source_is_no_dipole_however_bright() -> None:
    for seed in range(4):
        fit = fitted(300 * gaussian(20.3, 19.8), seed=seed)
        # three parameters more on noise: 16.3 is exceeded once in a thousand times
        assert fit.likelihood_ratio < 16.3
        assert fit.single_chi2 == pytest.approx(fit.n_pixels, rel=0.4)


def test_without_pixels_nothing_is_fitted() -> None:
    light = np.zeros((SIZE, SIZE), np.float32)
    psf = gaussian(12, 12, 25).astype(np.float32)
    none = np.zeros(light.shape, bool)
    told = {"good": none, "x": 20.0, "y": 20.0, "fwhm_pix": FWHM}
    assert fit_dipole(light, light + 1, psf, **told) is None  # type: ignore[arg-type]


def test_a_pixel_that_comes_back_is_hot_and_one_that_does_not_is_not() -> None:
    hot = PixelHistory(n_frames=30, n_hits=6, expected=0.05)
    cold = PixelHistory(n_frames=30, n_hits=0, expected=0.05)
    once = PixelHistory(n_frames=30, n_hits=1, expected=0.05)
    crowded = PixelHistory(n_frames=30, n_hits=6, expected=5.0)
    assert hot.hot_probability is not None
    assert hot.hot_probability > 0.99
    assert hot.chance is not None
    assert hot.chance < 1e-8
    assert cold.hot_probability is not None
    assert cold.hot_probability < 0.01
    assert once.hot_probability is not None
    assert once.hot_probability < 0.2
    assert crowded.hot_probability is not None
    assert crowded.hot_probability < 0.05
    assert PixelHistory(0, 0, 0.0).hot_probability is None


#: Of a point source, and what each cause changes of it.
PLAIN = {
    "log_psf_chi2": 0.0,
    "log_fwhm_ratio": 0.0,
    "log_elongation": 0.05,
    "log_sharpness": 0.0,
    "dipole_ratio": 0.0,
    "star_proximity": 0.05,
    "saturation_proximity": 0.0,
    "log_ring_scatter": 0.0,
}
SEVERAL = PixelHistory(40, 12, 0.05)


@pytest.mark.parametrize(
    ("cause", "changed", "more"),
    [
        ("point_source", {}, {}),
        ("dipole", {"dipole_ratio": 0.8, "log_psf_chi2": 0.8}, {}),
        ("dipole", {}, {"likelihood_ratio": 120.0, "lobe_share": 0.7}),
        ("wing", {"star_proximity": 0.8, "log_psf_chi2": 1.2}, {}),
        ("ringing", {"saturation_proximity": 0.85, "log_ring_scatter": 0.6}, {}),
        ("hot_pixel", {"log_sharpness": 0.75, "log_psf_chi2": 2.0}, {"history": SEVERAL}),
        ("cosmic_ray", {"log_sharpness": 0.7, "log_elongation": 0.4, "log_psf_chi2": 2.0}, {}),
        ("trail", {"log_elongation": 0.7, "log_psf_chi2": 1.2}, {}),
        ("ghost", {"log_fwhm_ratio": 0.5, "log_sharpness": -0.5, "log_psf_chi2": 0.9}, {}),
        ("edge", {}, {"edge_fwhm": 0.4}),
    ],
)
def test_each_cause_is_the_likeliest_where_its_mark_is_plain(
    cause: str, changed: dict[str, float], more: dict[str, object]
) -> None:
    told = likely_causes(Evidence(features=PLAIN | changed, **more))  # type: ignore[arg-type]
    assert next(iter(told)) == cause
    assert sum(told.values()) == pytest.approx(1.0)


def test_what_was_not_measured_speaks_for_nothing() -> None:
    assert next(iter(likely_causes(Evidence(features={})))) == "point_source"
