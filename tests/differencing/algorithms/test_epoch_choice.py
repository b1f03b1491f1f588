"""The choice of epochs by the noise that a difference is predicted to have."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.errors import NoWorkError
from differencing.algorithms.epoch_choice import (
    ChoiceRule,
    Epoch,
    Version,
    difference_noise,
    plan_versions,
    select_epochs,
    typical_epoch,
)


def make_epochs(n: int, *, fwhm_pix: float = 3.0, sky_noise: float = 5.0) -> list[Epoch]:
    return [Epoch(f"{i:03d}", fwhm_pix, sky_noise) for i in range(n)]


@pytest.mark.parametrize(("fwhm", "reference_fwhm"), [(3.0, 3.0), (4.0, 2.8), (2.8, 4.0)])
def test_the_predicted_noise_is_that_of_the_best_fit_to_simulated_differences(
    fwhm: float, reference_fwhm: float
) -> None:
    rng = np.random.default_rng(12)
    side, n = 64, 400
    k = 2 * np.pi * np.fft.fftfreq(side)
    k2 = k[:, None] ** 2 + k**2
    p_s, p_r = (np.exp(-0.5 * (f / 2.355) ** 2 * k2) for f in (fwhm, reference_fwhm))
    s_noise, r_noise = 5.0, 3.0
    power = (s_noise * p_r) ** 2 + (r_noise * p_s) ** 2
    # the proper difference of Zackay et al. (2016) and its matched filter, for a unit source
    science = np.fft.fft2(rng.normal(0, s_noise, (n, side, side)))
    reference = np.fft.fft2(rng.normal(0, r_noise, (n, side, side)))
    proper = (p_r * science - p_s * reference) / np.sqrt(power)
    shape = p_s * p_r / np.sqrt(power)
    flux = np.fft.ifft2(proper * shape).real / (shape**2).mean()
    predicted = difference_noise(Epoch("s", fwhm, s_noise), [Epoch("r", reference_fwhm, r_noise)])
    # 400 x 64 x 64 / (16 correlated pixels) = 10^5 values: 0.3 %, and the sum over a ring of
    # frequencies up to pi leaves out the corners, where these PSFs have nothing
    assert predicted == pytest.approx(flux.std(), rel=0.01)


def test_equal_epochs_lower_the_noise_as_the_square_root_says() -> None:
    epochs = make_epochs(4)
    science = typical_epoch(epochs)
    alone = difference_noise(science, epochs[:1])
    for n in (1, 2, 4):
        ratio = difference_noise(science, epochs[:n]) / alone
        assert ratio == pytest.approx(np.sqrt((1 + 1 / n) / 2), rel=1e-6)


def test_the_best_epochs_come_first_and_a_poor_one_is_left_out() -> None:
    epochs = [Epoch("poor", 9.0, 20.0), Epoch("good", 3.0, 5.0), Epoch("better", 2.5, 5.0)]
    found = select_epochs(epochs, science=Epoch("s", 3.0, 5.0))
    assert found.keys == ("better", "good")
    assert found.noise[1] < found.noise[0]


def test_stacking_stops_where_the_gain_is_too_small_or_there_are_enough() -> None:
    epochs = make_epochs(40)
    by_gain = select_epochs(epochs, rule=ChoiceRule(max_epochs=40, min_gain=0.02))
    n = len(by_gain.epochs)
    # sqrt((1 + 1/(n+1)) / (1 + 1/n)) is 0.980 from 4 to 5 and 0.986 from 5 to 6
    assert n == 5
    assert len(select_epochs(epochs, rule=ChoiceRule(max_epochs=7, min_gain=0.0)).epochs) == 7


def test_a_survey_may_ask_for_more_epochs_than_gain_says() -> None:
    epochs = [Epoch("poor", 9.0, 20.0), Epoch("good", 3.0, 5.0)]
    assert select_epochs(epochs, rule=ChoiceRule(min_epochs=2)).keys == ("good", "poor")
    with pytest.raises(NoWorkError, match="2 of 3") as caught:
        select_epochs(epochs, rule=ChoiceRule(min_epochs=3))
    assert caught.value.numbers == {"n_epochs": 2, "n_needed": 3}


def test_the_choice_does_not_hang_on_the_order_of_the_epochs() -> None:
    rng = np.random.default_rng(8)
    epochs = [
        Epoch(f"{i}", float(f), float(s))
        for i, (f, s) in enumerate(zip(rng.uniform(2, 5, 30), rng.uniform(3, 9, 30), strict=True))
    ]
    chosen = select_epochs(epochs).keys
    for _ in range(3):
        assert select_epochs([epochs[i] for i in rng.permutation(30)]).keys == chosen


def test_a_reference_is_made_anew_no_sooner_than_asked_and_only_for_a_gain() -> None:
    versions = plan_versions(make_epochs(30), ChoiceRule(rebuild_every=5, rebuild_gain=0.05))
    assert [(v.number, v.n_at_hand) for v in versions] == [(1, 1), (2, 6)]
    # of one and then of six equal epochs: sqrt((1 + 1/6) / 2) = 0.76; ten would gain 3 % more
    assert "fall by 24 %" in versions[1].reason
    assert versions[1].former == versions[0].selection.keys == ("000",)
    assert len(plan_versions(make_epochs(30), ChoiceRule(rebuild_every=0))) == 1


def test_deeper_epochs_make_a_reference_anew() -> None:
    epochs = make_epochs(6) + [Epoch(f"1{i:02d}", 3.0, 2.5) for i in range(10)]
    versions = plan_versions(epochs, ChoiceRule())
    # of six epochs of 5: 25 + 25/6; with five of 2.5 among ten: 25 + 1, that is 5.6 % less noise
    assert [v.n_at_hand for v in versions] == [1, 6, 11]
    assert {epoch.sky_noise for epoch in versions[-1].selection.epochs[:5]} == {2.5}


def test_later_epochs_never_change_what_was_planned_before() -> None:
    rng = np.random.default_rng(4)
    epochs = [
        Epoch(f"{i:03d}", float(f), float(s))
        for i, (f, s) in enumerate(zip(rng.uniform(2, 5, 40), rng.uniform(3, 9, 40), strict=True))
    ]
    rule = ChoiceRule(rebuild_every=2, rebuild_gain=0.02)
    whole = plan_versions(epochs, rule)
    assert len(whole) >= 3
    for n in range(41):
        early = plan_versions(epochs[:n], rule)
        assert early == [v for v in whole if v.n_at_hand <= n]


def test_a_retired_version_is_passed_and_the_next_epoch_gives_another() -> None:
    epochs = make_epochs(8)

    def is_retired(version: Version) -> bool:
        return version.n_at_hand == 1

    versions = plan_versions(epochs, ChoiceRule(), is_retired=is_retired)
    assert [(v.number, v.n_at_hand) for v in versions] == [(1, 2), (2, 7)]
