"""Cuts on what was measured of a candidate: each with its value, its limit and its margin."""

from __future__ import annotations

import math
from dataclasses import dataclass

from detection.algorithms.measurement import Measurement

_MAX_SPREAD = 0.98
#: Below this FWHM [pix] the moments of a point source are the noise of a few pixels.
_UNDERSAMPLED_FWHM = 2.2


@dataclass(frozen=True)
class CutConfig:
    """Limits of the cuts; a candidate is kept if it passes all of them.

    Noise widens the spread of elongation and sharpness in proportion to 1 / snr, an imperfect PSF
    that of chi2 in proportion to snr^2; their limits follow. Where the PSF is undersampled, no
    width or elongation counts that noise gives a point source once in a hundred times.
    """

    min_score: float = 5.0
    min_snr: float = 3.5
    max_mask_fraction: float = 0.3
    max_fwhm_ratio: float = 3.0
    min_fwhm_ratio: float = 0.5
    #: elongation <= max_elongation + elongation_noise / snr
    max_elongation: float = 1.8
    elongation_noise: float = 7.0
    #: Significance [sigma] of second moments that are not a point source's.
    moment_sigma: float = 3.0
    #: sharpness <= max_sharpness + sharpness_noise / snr
    max_sharpness: float = 1.4
    sharpness_noise: float = 4.5
    max_dipole_ratio: float = 0.5
    max_negative_fraction: float = 0.4
    #: psf_chi2 <= max_psf_chi2 + (psf_tolerance * snr)^2
    max_psf_chi2: float = 3.0
    psf_tolerance: float = 0.06
    #: Distance to saturated pixels in units of the PSF's FWHM.
    min_saturated_fwhm: float = 1.5


@dataclass(frozen=True)
class Cut:
    """One test of a candidate and its outcome.

    Attributes
    ----------
    name : str
        What is tested.
    value : float or None
        What was measured; None where it could not be, and then the cut does not apply.
    limit : float
        Least or greatest value allowed.
    margin : float or None
        By how much it passed (positive) or failed (negative), in units of the limit.
    kept : bool
        Whether the candidate passed.
    """

    name: str
    value: float | None
    limit: float
    margin: float | None
    kept: bool


def apply_cuts(measurement: Measurement, config: CutConfig) -> tuple[Cut, ...]:
    """Test one measurement against every limit; all cuts are returned, failed ones too.

    Parameters
    ----------
    measurement : Measurement
        One measured candidate.
    config : CutConfig
        The limits.

    Returns
    -------
    tuple of Cut
        In fixed order; the candidate is kept if every one is.
    """
    m, c = measurement, config
    width = None if m.fwhm_pix is None else m.fwhm_pix / m.psf_fwhm_pix
    saturated = (
        None if m.nearest_saturated_pix is None else m.nearest_saturated_pix / m.psf_fwhm_pix
    )
    thin, wide = _point_source_widths(m, c)
    elongation = max(c.max_elongation + c.elongation_noise / m.snr, wide / thin)
    return (
        _at_least("score", abs(m.score), c.min_score),
        _at_least("flux_snr", math.copysign(m.snr, m.sign * m.flux), c.min_snr),
        _at_most("mask_fraction", m.mask_fraction, c.max_mask_fraction),
        _at_most("psf_chi2", m.psf_chi2, c.max_psf_chi2 + (c.psf_tolerance * m.snr) ** 2),
        _at_least("fwhm_ratio_low", width, min(c.min_fwhm_ratio, thin)),
        _at_most("fwhm_ratio_high", width, max(c.max_fwhm_ratio, wide)),
        _at_most("elongation", m.elongation, elongation),
        _at_most("sharpness", m.sharpness, c.max_sharpness + c.sharpness_noise / m.snr),
        _at_most("dipole_ratio", m.dipole_ratio, c.max_dipole_ratio),
        _at_most("negative_fraction", m.negative_fraction, c.max_negative_fraction),
        _at_least("saturated_distance_fwhm", saturated, c.min_saturated_fwhm),
    )


def _point_source_widths(m: Measurement, c: CutConfig) -> tuple[float, float]:
    """Least and greatest width of a point source in this noise, in units of the PSF's."""
    if m.moment_noise is None or m.psf_fwhm_pix > _UNDERSAMPLED_FWHM:
        return 1.0, 1.0
    # short of 1, where nothing is measured of a width at all
    spread = min(c.moment_sigma * m.moment_noise, _MAX_SPREAD)
    wide = math.sqrt((1.0 + spread) / (1.0 - spread))
    return 1.0 / wide, wide


def _at_least(name: str, value: float | None, limit: float) -> Cut:
    """Cut on a lower limit."""
    if value is None:
        return Cut(name=name, value=None, limit=limit, margin=None, kept=True)
    return Cut(name, value, limit, margin=(value - limit) / abs(limit), kept=value >= limit)


def _at_most(name: str, value: float | None, limit: float) -> Cut:
    """Cut on an upper limit."""
    if value is None:
        return Cut(name=name, value=None, limit=limit, margin=None, kept=True)
    return Cut(name, value, limit, margin=(limit - value) / abs(limit), kept=value <= limit)
