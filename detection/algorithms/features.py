"""What the feature model sees of a candidate, on scales fit for a linear model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.photometry import ForcedFluxes
from detection.algorithms.candidates import Candidates
from detection.algorithms.shape import Shapes
from detection.algorithms.surroundings import Surroundings

Values = NDArray[np.float64]


@dataclass(frozen=True)
class BatchFluxes:
    """PSF fluxes of one batch on difference, science and template."""

    difference: ForcedFluxes
    science: ForcedFluxes
    template: ForcedFluxes


def describe_features(
    i: int,
    batch: Candidates,
    fluxes: BatchFluxes,
    *,
    shapes: Shapes,
    dipole: Values,
    around: Surroundings,
    fwhm: float,
) -> dict[str, float | None]:
    """Features of the i-th candidate on scales fit for a linear model; None if not measurable."""
    fit = fluxes.difference
    snr = float(fit.flux[i] * batch.sign[i] / fit.flux_error[i])
    error = float(fit.flux_error[i])
    flux = abs(float(fit.flux[i]))
    flags = int(fit.flags[i])
    values = {
        "log_score": _log10(abs(float(batch.score[i]))),
        "score_over_snr": _log10(abs(float(batch.score[i])) / max(snr, 0.1)),
        "log_psf_chi2": _log10(max(float(shapes.psf_chi2[i]), 0.01)),
        "log_fwhm_ratio": _log10(float(shapes.fwhm_ratio[i])),
        "log_elongation": _log10(float(shapes.elongation[i])),
        "log_sharpness": _log10(float(shapes.sharpness[i])),
        "negative_fraction": float(shapes.negative_fraction[i]),
        "dipole_ratio": float(dipole[i]),
        "mask_fraction": float(fit.mask_fraction[i]),
        "cosmic_ray_near": float(bool(flags & MaskPlane.COSMIC_RAY)),
        "star_halo_near": float(bool(flags & MaskPlane.STAR_HALO)),
        "ring_level": float(around.ring_level[i]),
        "log_ring_scatter": _log10(max(float(around.ring_scatter[i]), 0.01)),
        "log_line_pull": _log10(1.0 + float(around.line_pull[i])),
        "star_proximity": math.exp(-float(around.star_pix[i]) / (5.0 * fwhm)),
        "saturation_proximity": math.exp(-float(around.saturated_pix[i]) / (8.0 * fwhm)),
        "log_flux_over_science": _log10(flux / math.hypot(float(fluxes.science.flux[i]), error)),
        "log_flux_over_template": _log10(flux / math.hypot(float(fluxes.template.flux[i]), error)),
    }
    return {name: finite_or_none(value) for name, value in values.items()}


def _log10(value: float) -> float:
    """Decimal logarithm, NaN for what has none."""
    return math.log10(value) if value > 0 else math.nan


def finite_or_none(value: float) -> float | None:
    """The value, or None where it is not finite."""
    return float(value) if math.isfinite(value) else None
