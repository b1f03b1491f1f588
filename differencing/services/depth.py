"""Depth of a difference, proven by new sources put into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astrid_site.imaging.errors import AlgorithmError
from preprocessing.models import ScienceImage

if TYPE_CHECKING:
    from astrid_site.imaging.image import Image
    from differencing.algorithms.subtraction import Subtraction


def difference_depth(
    science_image: ScienceImage, science: Image, subtraction: Subtraction
) -> dict[str, Any]:
    """Limits of the difference by its noise and by injections, for the run's record.

    The seed is the raw file's own hash: the same difference gives the same numbers.
    """
    from differencing.algorithms.photons import new_source_variance
    from preprocessing.algorithms.injection_places import generator_of
    from preprocessing.algorithms.limiting_magnitude import inject_into_difference

    gain = science_image.metrics.get("gain_used")
    photons = 0.0
    if science.psf is not None and isinstance(gain, int | float) and gain > 0:
        photons = new_source_variance(science.psf, subtraction.psf) / gain
    rng = generator_of(science_image.observation.raw_file.sha256)
    try:
        depth = inject_into_difference(subtraction, photon_variance=photons, rng=rng)
    except AlgorithmError as error:
        return {
            "limiting_magnitude": None,
            "limiting_magnitude_injected": None,
            "injected_depth": None,
            "injected_depth_problem": error.message,
        }
    told = depth.as_json(zero_point=science.zero_point)
    return {
        "limiting_magnitude": told["noise_magnitude"],
        "limiting_magnitude_injected": told["magnitude_50"],
        "injected_depth": told,
    }
