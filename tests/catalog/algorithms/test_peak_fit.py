"""The maximum of a light curve: found within its errors, and none where there is none."""

from __future__ import annotations

import re

import numpy as np
import pytest

from astrid_site.imaging.errors import AlgorithmError
from catalog.algorithms.band_peaks import BandFlux, fit_bands, peak_curves
from catalog.algorithms.common_scale import MICROJANSKY
from catalog.algorithms.light_curve_chart import Epoch, lay_out_chart
from catalog.algorithms.peak_fit import fit_peak


def bazin(
    t: np.ndarray, *, t0: float = 61010.0, fall: float = 25.0, rise: float = 4.0
) -> np.ndarray:
    return 300.0 * np.exp(-(t - t0) / fall) / (1 + np.exp(-(t - t0) / rise))


TRUE_PEAK = 61010.0 + 4.0 * np.log(25.0 / 4.0 - 1.0)


def test_errors_of_the_maximum_are_as_large_as_they_say() -> None:
    rng = np.random.default_rng(4)
    pulls = []
    for _ in range(60):
        t = np.sort(rng.uniform(60990, 61080, 25))
        fit = fit_peak(t, bazin(t) + rng.normal(0, 8, 25), np.full(25, 8.0))
        pulls.append(
            [
                (fit.peak_mjd - TRUE_PEAK) / fit.peak_mjd_error,
                (fit.peak_flux - bazin(np.array([TRUE_PEAK]))[0]) / fit.peak_flux_error,
            ]
        )
    # 60 draws: the mean of unit pulls scatters by 0.13, their width by 0.09
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.5
    assert (np.std(pulls, axis=0) > 0.7).all()
    assert (np.std(pulls, axis=0) < 1.4).all()


def test_half_widths_and_the_curve_are_those_of_the_truth_without_noise() -> None:
    t = np.linspace(60990, 61090, 60)
    fit = fit_peak(t[::-1], bazin(t[::-1]), np.full(60, 1.0))
    half = bazin(np.array([TRUE_PEAK]))[0] / 2
    assert fit.peak_mjd == pytest.approx(TRUE_PEAK, abs=0.01)
    ends = bazin(np.array([fit.peak_mjd - fit.rise_days, fit.peak_mjd + fit.decline_days]))
    assert ends == pytest.approx([half, half], rel=1e-3)
    curve = np.array(fit.curve)
    assert curve[:, 1] == pytest.approx(bazin(curve[:, 0]), rel=1e-3, abs=0.01)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (np.linspace(60990, 61090, 5), "5 of the 6 epochs"),
        (np.linspace(61030, 61090, 20), "no rise|not determined"),
        (np.linspace(60980, 61012, 20), "no decline|not determined"),
    ],
)
def test_what_was_not_seen_to_rise_and_fall_has_no_maximum(times: np.ndarray, words: str) -> None:
    with pytest.raises(AlgorithmError, match=words):
        fit_peak(times, bazin(times), np.full(len(times), 6.0))


def test_noise_and_two_outbursts_have_no_maximum() -> None:
    rng = np.random.default_rng(8)
    t = np.linspace(60990, 61190, 40)
    with pytest.raises(AlgorithmError, match="stands out"):
        fit_peak(t, rng.normal(0, 1, 40), np.ones(40))
    twice = bazin(t) + bazin(t, t0=61120.0) + rng.normal(0, 5, 40)
    with pytest.raises(AlgorithmError, match="not one rise"):
        fit_peak(t, twice, np.full(40, 5.0))


def test_a_fit_is_drawn_in_flux_and_magnitudes_within_the_chart() -> None:
    t = np.linspace(60990, 61090, 30)
    fluxes = [BandFlux("r", float(x), float(f), 2.0) for x, f in zip(t, bazin(t), strict=True)]
    (peak,) = fit_bands(fluxes, unit=MICROJANSKY)
    top_flux = bazin(np.array([TRUE_PEAK]))[0]
    assert peak.magnitude == pytest.approx(23.9 - 2.5 * np.log10(top_flux), abs=0.01)
    epochs = [
        Epoch(str(f.mjd), f.mjd, "r", flux=f.flux, flux_error=2.0, limit=20.0) for f in fluxes
    ]
    for quantity in ("flux", "magnitude"):
        curves = peak_curves([peak], quantity, unit=MICROJANSKY)
        chart = lay_out_chart(epochs, quantity=quantity, unit=MICROJANSKY, fits=curves)
        assert chart is not None
        numbers = np.array(re.findall(r"([\d.]+) ([\d.]+)", chart.curves[0].path), dtype=float)
        if quantity == "flux":
            assert len(numbers) == 80
            top = numbers[np.argmin(numbers[:, 1])]
            best = min(chart.marks, key=lambda m: m.y)
            assert abs(top[0] - best.x) < 40
    assert peak_curves([peak], "flux", unit="reference units") == {}
    assert fit_bands(fluxes[:3], unit=MICROJANSKY)[0].reason.startswith("3 of the 6")
