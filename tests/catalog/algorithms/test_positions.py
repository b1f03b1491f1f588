"""Mean positions are weighted and hold anywhere on the sky."""

from __future__ import annotations

import numpy as np
import pytest

from catalog.algorithms.positions import mean_position


@pytest.mark.parametrize("dec", [0.0, 60.0])
def test_the_mean_position_is_weighted_and_crosses_ra_zero(dec: float) -> None:
    offset = np.array([-1.0, 1.0]) / 3600 / np.cos(np.radians(dec))
    mean = mean_position(offset % 360, np.full(2, dec), error_arcsec=np.array([0.3, 1e3]))
    assert (mean.ra + 180) % 360 - 180 == pytest.approx(offset[0], abs=1e-8)
    assert mean.dec == pytest.approx(dec, abs=1e-7)
    assert mean.error_arcsec == pytest.approx(np.hypot(0.3, 0.1), rel=1e-3)


def test_the_mean_of_positions_around_the_pole_is_the_pole() -> None:
    mean = mean_position(
        np.array([0.0, 90.0, 180.0, 270.0]),
        np.full(4, 89.999),
        error_arcsec=np.full(4, 0.1),
    )
    assert mean.dec == pytest.approx(90.0, abs=1e-7)


def test_no_position_has_no_mean() -> None:
    empty = np.zeros(0)
    with pytest.raises(ValueError, match="length"):
        mean_position(empty, empty, error_arcsec=empty)
