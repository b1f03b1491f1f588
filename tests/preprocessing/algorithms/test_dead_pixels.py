"""Dead pixels against a sky of known noise."""

from __future__ import annotations

import numpy as np

from astrid_site.imaging.masks import MaskPlane
from preprocessing.algorithms.dead_pixels import mask_dead_pixels


def sky() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    data = rng.normal(0.0, 3.0, (256, 256)).astype(np.float32)
    return data, np.full(data.shape, 3.0, np.float32), np.zeros(data.shape, np.uint16)


def test_a_dead_column_is_masked_and_nothing_else() -> None:
    data, noise, mask = sky()
    data[40:200, 77] = -400.0
    flagged = mask_dead_pixels(data, noise, mask=mask) & MaskPlane.BAD_PIXEL > 0
    # 8 sigma: none of 65536 Gaussian pixels gets there
    assert flagged.sum() == 160
    assert flagged[40:200, 77].all()


def test_bright_light_is_not_dead_and_the_given_mask_stays() -> None:
    data, noise, mask = sky()
    data[100, 100] = 5000.0
    mask[3, 4] = MaskPlane.COSMIC_RAY
    flagged = mask_dead_pixels(data, noise, mask=mask)
    assert (flagged == mask).all()
    assert mask[3, 4] == MaskPlane.COSMIC_RAY
