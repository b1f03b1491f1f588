"""Flux of a reference at the positions that a series is measured at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astrid_site.imaging.photometry import forced_photometry
from catalog.algorithms.forced_fluxes import measure_sky_scale
from catalog.algorithms.forced_series import Position, count_psf_stars
from preprocessing.algorithms.preprocess import Preprocessed
from preprocessing.algorithms.psf_fit import missing_psf


@dataclass(frozen=True)
class ReferenceFlux:
    """PSF flux at a position, its error [image units] and the mask bits beside it."""

    flux: float
    flux_error: float
    flags: int


def measure_reference(reference: Preprocessed, target: Position) -> ReferenceFlux | None:
    """PSF flux of an image at a position, neighbours included; None where it is masked."""
    return measure_references(reference, [target])[0]


def measure_references(
    reference: Preprocessed, targets: Sequence[Position]
) -> list[ReferenceFlux | None]:
    """PSF fluxes of a calibrated image at positions, neighbours included; None where masked.

    Parameters
    ----------
    reference : Preprocessed
        A frame or a stack, with PSF and variance.
    targets : sequence of Position
        On its grid; off it as good as masked.

    Returns
    -------
    list of ReferenceFlux or None
        Errors are scaled by the scatter of the same measurement on its empty sky.

    Raises
    ------
    AlgorithmError
        If it has no PSF.
    """
    image = reference.image
    if image.psf is None or image.variance is None:
        raise missing_psf(count_psf_stars(reference))
    scale = measure_sky_scale(image)
    fluxes: list[ReferenceFlux | None] = []
    for target in targets:
        if not np.isfinite((target.x, target.y)).all():
            fluxes.append(None)
            continue
        found = forced_photometry(
            image.data,
            image.variance,
            image.psf,
            image.mask,
            target.x,
            target.y,
            noise_scale=scale,
        )
        fluxes.append(
            None if found is None else ReferenceFlux(found.flux, found.flux_error, found.flags)
        )
    return fluxes
