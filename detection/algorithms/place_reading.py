"""What a difference and its score image say at one place, whether or not anything was found."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.masks import MaskArray, is_bad, plane_names
from astrid_site.imaging.photometry import (
    cut_psf_stamps,
    fit_stamp_fluxes,
    flux_to_mag,
    measure_noise_scale,
)
from astrid_site.imaging.psf import PsfField

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

#: A place is lost where no pixel so near to it, in widths of the PSF, can be used.
CORE_FWHM = 0.5
#: A candidate may lie so many widths of the PSF from the place that was asked for, at least 2 pix.
MATCH_FWHM = 1.0
_LEAST_MATCH_PIX = 2.0
#: Fluxes of blank sky around are measured on a grid so many places wide.
_NOISE_SIDE = 24


@dataclass(frozen=True)
class PlacePixels:
    """Pixels of one difference around a place, cut off where the frame ends; all shape (h, w).

    Attributes
    ----------
    difference, variance, score : NDArray[float32]
        Difference, its variance, and the score image [sigma].
    mask : NDArray[uint16]
        ``MaskPlane`` bits.
    psf : PsfField
        PSF of the difference, of the shape of these pixels.
    x, y : float
        The place [pix], 0-based, counted in these pixels.
    zero_point : float or None
        AB magnitude of one data unit [mag].
    """

    difference: FloatArray
    variance: FloatArray
    score: FloatArray
    mask: MaskArray
    psf: PsfField
    x: float
    y: float
    zero_point: float | None


@dataclass(frozen=True)
class PlaceReading:
    """What the pixels say at one place.

    Attributes
    ----------
    peak_score : float or None
        Score of largest size within one FWHM, signed [sigma]; None where no pixel can be used.
    peak_offset_pix : float or None
        Its distance from the place [pix].
    planes : tuple of str
        Mask planes on the unusable pixels within half a FWHM.
    is_lost : bool
        Whether no pixel within half a FWHM can be used.
    masked_share : float
        Share of the PSF's squared weight on unusable pixels, 0 to 1.
    usable_pix : float or None
        Distance to the nearest usable pixel [pix]; None where there is none around.
    flux, flux_error : float or None
        Forced PSF flux and its error [science units]; None where too much is masked.
    limiting_magnitude : float or None
        Five times that error as an AB magnitude.
    fwhm_pix : float
        Width of the PSF [pix].
    """

    peak_score: float | None
    peak_offset_pix: float | None
    planes: tuple[str, ...]
    is_lost: bool
    masked_share: float
    usable_pix: float | None
    flux: float | None
    flux_error: float | None
    limiting_magnitude: float | None
    fwhm_pix: float

    @property
    def flux_snr(self) -> float | None:
        """Forced flux over its error [sigma]."""
        if self.flux is None or not self.flux_error:
            return None
        return self.flux / self.flux_error


def match_radius_pix(fwhm_pix: float) -> float:
    """Distance within which a candidate is the one at a place [pix]."""
    return max(_LEAST_MATCH_PIX, MATCH_FWHM * fwhm_pix)


def read_place(pixels: PlacePixels) -> PlaceReading:
    """Read score, mask, forced flux and depth at one place of a difference.

    Parameters
    ----------
    pixels : PlacePixels
        Planes around the place; some tens of widths of the PSF, so that the noise can be
        measured on blank sky.

    Returns
    -------
    PlaceReading

    Notes
    -----
    A pixel cannot be used if it is masked, has no variance, or was set to zero in both images:
    there the subtraction gave up. The flux is that of ``forced_photometry``, its error scaled by
    the scatter of blank-sky fluxes around.
    """
    p = pixels
    rows, columns = np.indices(p.score.shape)
    distance = np.hypot(columns - p.x, rows - p.y)
    given_up = (p.score == 0) & (p.difference == 0)
    usable = ~is_bad(p.mask) & (p.variance > 0) & np.isfinite(p.score) & ~given_up
    core = distance <= max(CORE_FWHM * p.psf.fwhm_pix, float(distance.min()))
    near = usable & (distance <= match_radius_pix(p.psf.fwhm_pix))
    lost = p.mask[core & ~usable]
    planes = int(np.bitwise_or.reduce(lost)) if lost.size else 0
    peak = np.unravel_index(np.argmax(np.where(near, np.abs(p.score), -1.0)), p.score.shape)
    flux, error, share = _forced(p, usable)
    has_limit = error is not None and p.zero_point is not None
    return PlaceReading(
        peak_score=float(p.score[peak]) if near.any() else None,
        peak_offset_pix=float(distance[peak]) if near.any() else None,
        planes=tuple(plane_names(planes)),
        is_lost=not bool((core & usable).any()),
        masked_share=share,
        usable_pix=float(distance[usable].min()) if usable.any() else None,
        flux=flux,
        flux_error=error,
        limiting_magnitude=(
            flux_to_mag(0.0, error, p.zero_point).limit_mag if has_limit else None  # type: ignore[arg-type]
        ),
        fwhm_pix=p.psf.fwhm_pix,
    )


def _forced(p: PlacePixels, usable: BoolArray) -> tuple[float | None, float | None, float]:
    """Forced flux, its error, and the share of the PSF that is lost."""
    stamps = cut_psf_stamps(
        p.difference,
        np.where(usable, p.variance, np.float32(0)),
        p.psf,
        mask=p.mask,
        x=np.array([p.x]),
        y=np.array([p.y]),
    )
    scale = measure_noise_scale(p.difference, p.variance, p.psf, mask=p.mask, n_side=_NOISE_SIDE)
    fit = fit_stamp_fluxes(stamps, noise_scale=scale)
    share = float(np.clip(fit.mask_fraction[0], 0.0, 1.0))
    if not (math.isfinite(fit.flux[0]) and math.isfinite(fit.flux_error[0])):
        return None, None, share
    return float(fit.flux[0]), float(fit.flux_error[0]), share
