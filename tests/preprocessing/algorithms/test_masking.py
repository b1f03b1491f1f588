"""Saturation and bleeding."""

from __future__ import annotations

import numpy as np

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane, is_bad
from preprocessing.algorithms.masking import estimate_saturation, mask_saturation


def frame_with_trail():
    data = np.random.default_rng(1).normal(100.0, 5.0, (120, 120)).astype(np.float32)
    data[58:63, 58:63] = 60_000.0
    data[30:90, 60] = 60_000.0
    return data


def image_of(data, saturation=None):
    return Image(data=data, mask=np.zeros(data.shape, dtype=np.uint16), saturation=saturation)


def test_saturated_pixels_are_flagged_and_grown():
    mask = mask_saturation(image_of(frame_with_trail(), saturation=60_000.0))
    assert is_bad(mask, MaskPlane.SATURATED)[60, 60]
    assert is_bad(mask, MaskPlane.BLEED)[60, 64]
    assert mask[60, 70] == 0


def test_a_bleed_trail_is_followed_beyond_its_saturated_end():
    mask = mask_saturation(image_of(frame_with_trail(), saturation=60_000.0))
    assert is_bad(mask, MaskPlane.BLEED)[95, 60]
    assert is_bad(mask, MaskPlane.BLEED)[25, 60]
    assert mask[95, 66] == 0


def test_a_plateau_tells_the_saturation_level_where_the_header_does_not():
    data = frame_with_trail()
    level = estimate_saturation(data, np.zeros(data.shape, dtype=np.uint16))
    assert level is not None
    assert 59_000.0 < level < 60_000.0
    assert is_bad(mask_saturation(image_of(data)), MaskPlane.SATURATED)[60, 60]


def test_an_unsaturated_star_makes_no_plateau(make_field):
    field = make_field()
    assert estimate_saturation(field.image.data, field.image.mask) is None
    assert not mask_saturation(field.image.with_(saturation=None)).any()
