"""A network that looks at whole differences beside the threshold on the score."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from astrid_site.imaging.difference_products import DifferenceProducts
    from astrid_site.imaging.image import Image
    from detection.algorithms.candidates import Candidates
    from detection.networks.unet import UNet

#: What the network sees of less significance than this [sigma] is left alone: blank sky of a large
#: frame has as much by chance.
LEAST_SCORE = 3.8


def add_seen_changes(
    candidates: Candidates, subtraction: DifferenceProducts, *, science: Image, template: Image
) -> Candidates:
    """Candidates with those of the second detector behind them, where no other is near.

    Raises
    ------
    FileNotFoundError, ValueError
        If the weights are absent or are not those that their record names.
    """
    # torch loads here only
    from detection.algorithms.triplets import stack_planes
    from detection.networks.real_bogus import one_thread
    from detection.networks.unet import probability_maps
    from detection.networks.unet_peaks import PIPELINE_THRESHOLD, find_changes, join_apart

    planes = stack_planes(science, template, subtraction)
    with one_thread():
        change = probability_maps(_network(), planes)[0]
    separation = max(2.0, subtraction.psf.fwhm_pix)
    seen = find_changes(
        change, planes[3], threshold=PIPELINE_THRESHOLD, separation_pix=separation
    ).candidates
    strong = np.abs(seen.score) >= LEAST_SCORE
    return join_apart(candidates, seen.select(strong), separation_pix=separation)


@cache
def _network() -> UNet:
    """Read and verified by their hash once for each process."""
    from detection.networks.unet_weights import load_unet

    return load_unet()
