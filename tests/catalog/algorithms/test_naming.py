"""Names of objects: truncated, never rounded, on the right cell everywhere."""

from __future__ import annotations

import pytest

from catalog.algorithms.naming import object_name


@pytest.mark.parametrize(
    ("ra", "dec", "name"),
    [
        (0.0, 0.0, "AstrID J000000.00+000000.0"),
        (359.999999, -0.00001, "AstrID J235959.99-000000.0"),
        (15.0, 45.5, "AstrID J010000.00+453000.0"),
        # 12h 30m 30.009s is not 30.01s, and 59.99 arcsec is not a minute
        (187.6250375, -12.0166638, "AstrID J123030.00-120059.9"),
        (360.0, 90.0, "AstrID J000000.00+900000.0"),
        (-15.0, -90.0, "AstrID J230000.00-900000.0"),
    ],
)
def test_a_name_is_the_truncated_position(ra: float, dec: float, name: str) -> None:
    assert object_name(ra, dec) == name


def test_a_position_off_the_sky_has_no_name() -> None:
    with pytest.raises(ValueError, match="sky"):
        object_name(10.0, 90.1)
    with pytest.raises(ValueError, match="sky"):
        object_name(float("nan"), 0.0)
