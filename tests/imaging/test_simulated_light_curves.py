"""Light curves of the simulator against what is published of real ones."""

from __future__ import annotations

import numpy as np
import pytest

from astrid_site.imaging.sky_light_curves import (
    draw_supernova_shape,
    draw_variable_shape,
    nickel_flux,
    plateau_flux,
)


@pytest.mark.parametrize(("rise", "gamma"), [(17.4, 35.0), (12.0, 90.0), (22.0, 90.0)])
def test_nickel_light_curves_peak_when_asked(rise, gamma):
    days = np.arange(-10.0, 100.0, 0.1)
    flux = nickel_flux(days, rise_days=rise, gamma_days=gamma)
    assert days[flux.argmax()] == pytest.approx(rise, abs=0.5)
    assert flux.max() == pytest.approx(1.0, abs=1e-3)
    assert (flux[days <= 0] == 0).all()


def test_a_type_ia_declines_as_real_ones_do():
    days = np.array([17.4, 32.4, 57.4])
    fading = -2.5 * np.log10(nickel_flux(days, rise_days=17.4, gamma_days=35.0))
    # r-band and bolometric declines of normal Ia: 0.6 - 1.1 mag in 15 d, 1.8 - 2.6 mag in 40 d
    assert 0.6 < fading[1] - fading[0] < 1.1
    assert 1.8 < fading[2] - fading[0] < 2.6


def test_a_type_ii_stays_on_its_plateau_and_then_drops():
    days = np.array([0.0, 7.5, 57.5, 84.0, 130.0])
    flux = plateau_flux(days, rise_days=7.5, plateau_days=84.0, plateau_slope=1.27)
    mag = -2.5 * np.log10(flux[1:])
    assert flux[0] == 0
    assert mag[0] == pytest.approx(0.0, abs=0.01)
    assert mag[1] == pytest.approx(0.5 * 1.27, abs=0.03)
    assert mag[3] - mag[1] > 2.0


def test_every_type_of_supernova_occurs_and_rises_and_falls():
    rng = np.random.default_rng(4)
    shapes = [draw_supernova_shape(rng) for _ in range(60)]
    days = np.arange(0.0, 150.0, 0.5)
    assert {shape.subtype for shape in shapes} == {"Ia", "Ibc", "II"}
    for shape in shapes:
        flux = shape.relative_flux(days)
        assert flux.max() == pytest.approx(1.0, abs=0.01)
        assert flux[0] == 0
        assert flux[-1] < 0.5


def test_variables_repeat_after_their_period_and_span_their_amplitude():
    rng = np.random.default_rng(2)
    shapes = [draw_variable_shape(rng) for _ in range(20)]
    assert {shape.subtype for shape in shapes} == {"rr_lyrae", "sinusoid"}
    for shape in shapes:
        days = np.linspace(0.0, shape.period_days, 2001)[:-1] + 1e-4
        flux = shape.relative_flux(days)
        # days are small here, so that the phase loses no digits
        assert flux == pytest.approx(shape.relative_flux(days + shape.period_days), rel=1e-3)
        amplitude = 2.5 * np.log10(flux.max() / flux.min())
        assert amplitude == pytest.approx(shape.amplitude_mag, rel=0.01)
