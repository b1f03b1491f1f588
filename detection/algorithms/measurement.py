"""Measure candidates on the difference: flux, shape, dipole, surroundings, and what each shows."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrid_site.imaging.difference_products import DifferenceProducts
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskArray, MaskPlane
from astrid_site.imaging.photometry import (
    ForcedFluxes,
    PsfStamps,
    cut_psf_stamps,
    fit_stamp_fluxes,
    measure_noise_scale,
)
from detection.algorithms.candidates import Candidates
from detection.algorithms.cut_sources import fit_cut_sources
from detection.algorithms.features import BatchFluxes, describe_features, finite_or_none
from detection.algorithms.photon_errors import photon_excess, with_own_photons
from detection.algorithms.shape import Shapes, fit_dipoles, measure_shapes
from detection.algorithms.surroundings import (
    StarPositions,
    Surroundings,
    bright_star_tree,
    measure_surroundings,
    saturated_tree,
)

Values = NDArray[np.float64]
FloatArray = NDArray[np.float32]

#: Candidates measured at once; bounds the memory of their stamps.
_BATCH = 1000


@dataclass(frozen=True)
class Measurement:
    """One measured candidate.

    Attributes
    ----------
    x, y : float
        Position [pix], 0-based.
    flux, flux_error : float
        PSF flux in the difference and its error [science units]; negative for a fading source.
        Of a source that a mask cuts they hold what the mask may hide.
    score : float
        Signed matched-filter significance [sigma].
    sign : int
        +1 brightening, -1 fading.
    snr : float
        |flux| / flux_error at the peak: of what is seen, where a mask cuts the source.
    fwhm_pix, elongation : float or None
        Width [pix] and axis ratio; None where noise leaves no positive weighted flux.
    psf_fwhm_pix : float
        FWHM of the difference's PSF [pix], the unit of widths and distances in the cuts.
    moment_noise : float or None
        What noise makes of the second moments of a point source, in units of the PSF's [sigma].
    psf_chi2 : float
        Mean squared residual of the PSF fit above the local level in its core, in units of the
        variance.
    dipole_ratio : float
        Opposite lobe over own flux; 0 without a significant one.
    mask_fraction : float
        Share of the PSF's squared weight on unusable pixels.
    mask_flags : int
        ``MaskPlane`` bits in the 5x5 pixels around it.
    sharpness : float or None
        Peak over the fitted PSF's peak; far above 1 for a cosmic ray.
    negative_fraction : float
        Share of core pixels over 1 sigma of the opposite sign.
    nearest_star_pix : float or None
        Distance to the nearest bright star or saturated pixel [pix]; None where there is none.
    nearest_saturated_pix : float or None
        Distance to the nearest saturated or bled pixel [pix]; None where there is none.
    science_ratio : float or None
        |flux| over the PSF flux of the science image, both at the peak; None where that is not
        3 sigma.
    features : dict
        Inputs of the feature model; None where not measurable.
    """

    x: float
    y: float
    flux: float
    flux_error: float
    score: float
    sign: int
    snr: float
    fwhm_pix: float | None
    elongation: float | None
    psf_fwhm_pix: float
    moment_noise: float | None
    psf_chi2: float
    dipole_ratio: float
    mask_fraction: float
    mask_flags: int
    sharpness: float | None
    negative_fraction: float
    nearest_star_pix: float | None
    nearest_saturated_pix: float | None
    science_ratio: float | None
    features: dict[str, float | None]


def measure(
    subtraction: DifferenceProducts,
    template: Image,
    science: Image,
    candidates: Candidates,
    *,
    stars: StarPositions,
) -> list[Measurement]:
    """Measure every candidate on the difference.

    Parameters
    ----------
    subtraction : DifferenceProducts
        Difference, variance, score, mask and PSF on a grid of shape (ny, nx), science units.
    template, science : Image
        The images that were subtracted, on the same grid.
    candidates : Candidates
        n peaks of the score image.
    stars : StarPositions
        Stars of the science image.

    Returns
    -------
    list of Measurement
        One for each candidate, in their order. Errors are scaled by the scatter of blank-sky
        fluxes of this very difference, because its noise is correlated; the photons of a
        brightening source count as its filters correlate them.

    Raises
    ------
    ValueError
        If the images are not on the grid of the difference.
    """
    if not subtraction.difference.shape == template.shape == science.shape:
        msg = f"template, science: not on the grid of the difference: {template.shape}"
        raise ValueError(msg)
    noise_scale = measure_noise_scale(
        subtraction.difference,
        subtraction.variance,
        subtraction.psf,
        mask=_mask_candidates(subtraction, candidates),
    )
    trees = (bright_star_tree(stars), saturated_tree(science.mask, template.mask))
    photons = photon_excess(science, subtraction.psf)
    measurements: list[Measurement] = []
    for start in range(0, len(candidates), _BATCH):
        part = slice(start, start + _BATCH)
        batch = Candidates(*(getattr(candidates, f.name)[part] for f in fields(Candidates)))
        measurements += _measure_batch(
            subtraction,
            template,
            science,
            batch=batch,
            trees=trees,
            noise=(noise_scale, photons),
        )
    return measurements


def _mask_candidates(subtraction: DifferenceProducts, candidates: Candidates) -> MaskArray:
    """The mask with every candidate's surroundings added: what is left is blank sky."""
    mask = subtraction.mask.copy()
    reach = round(2.0 * subtraction.psf.fwhm_pix)
    for x, y in zip(np.rint(candidates.x), np.rint(candidates.y), strict=True):
        rows = slice(max(int(y) - reach, 0), int(y) + reach + 1)
        mask[rows, max(int(x) - reach, 0) : int(x) + reach + 1] |= np.uint16(MaskPlane.USER)
    return mask


def _measure_batch(
    subtraction: DifferenceProducts,
    template: Image,
    science: Image,
    *,
    batch: Candidates,
    trees: tuple[cKDTree | None, cKDTree | None],
    noise: tuple[float, float],
) -> list[Measurement]:
    """Measure at most a thousand candidates together.

    ``noise`` is the scale of the errors, and what a source's own photons add to their squares.
    """
    score_stamps = _stamps(subtraction, subtraction.score, batch)
    stamps = _without_zeroed(_stamps(subtraction, subtraction.difference, batch), score_stamps)
    sign = batch.sign[:, None, None].astype(np.float32)
    signal = np.asarray(stamps.data * sign, dtype=np.float32)
    # a candidate sits on a good pixel, so some flux is always measurable; the mask cut judges
    seen = fit_stamp_fluxes(stamps, noise_scale=noise[0], max_lost_weight=1.0)
    fwhm = subtraction.psf.fwhm_pix
    whole = fit_cut_sources(stamps, seen, noise_scale=noise[0], fwhm_pix=fwhm)
    fluxes = BatchFluxes(
        difference=with_own_photons(seen, noise[1]),
        science=fit_stamp_fluxes(_stamps(subtraction, science.data, batch), max_lost_weight=1.0),
        template=fit_stamp_fluxes(_stamps(subtraction, template.data, batch), max_lost_weight=1.0),
    )
    shapes = measure_shapes(
        stamps,
        signal,
        fwhm_pix=fwhm,
        dx=batch.x - np.rint(batch.x),
        dy=batch.y - np.rint(batch.y),
    )
    score = score_stamps.data * sign
    dipole = fit_dipoles(stamps, signal, score=score, fwhm_pix=fwhm)
    around = measure_surroundings(
        stamps,
        signal,
        x=batch.x,
        y=batch.y,
        fwhm_pix=fwhm,
        bright_stars=trees[0],
        saturated=trees[1],
    )
    whole = with_own_photons(whole, noise[1])
    return [
        replace(
            _assemble(i, batch, fluxes, shapes=shapes, dipole=dipole, around=around, fwhm=fwhm),
            flux=float(whole.flux[i]),
            flux_error=float(whole.flux_error[i]),
        )
        for i in range(len(batch))
    ]


def _stamps(subtraction: DifferenceProducts, data: FloatArray, batch: Candidates) -> PsfStamps:
    """Pixels of any plane of the grid under the difference's PSF at each candidate."""
    return cut_psf_stamps(
        data, subtraction.variance, subtraction.psf, mask=subtraction.mask, x=batch.x, y=batch.y
    )


def _without_zeroed(difference: PsfStamps, score: PsfStamps) -> PsfStamps:
    """Stamps on which halos and edges that the subtraction set to 0 do not count.

    They are no measurement of nothing, with an error that the light around them belies. What a
    filter spoilt beside a trail does count: it tells the trail's unmasked rim from a source.
    """
    marked = (difference.mask & np.uint16(MaskPlane.STAR_HALO | MaskPlane.EDGE)) != 0
    given_up = marked & (difference.data == 0) & (score.data == 0)
    return replace(difference, good=difference.good & ~given_up)


def _assemble(
    i: int,
    batch: Candidates,
    fluxes: BatchFluxes,
    *,
    shapes: Shapes,
    dipole: Values,
    around: Surroundings,
    fwhm: float,
) -> Measurement:
    """The i-th measurement of a batch, its flux that at the peak."""
    flux, error = float(fluxes.difference.flux[i]), float(fluxes.difference.flux_error[i])
    width = finite_or_none(shapes.fwhm_ratio[i])
    return Measurement(
        x=float(batch.x[i]),
        y=float(batch.y[i]),
        flux=flux,
        flux_error=error,
        score=float(batch.score[i]),
        sign=int(batch.sign[i]),
        snr=abs(flux) / error,
        fwhm_pix=None if width is None else width * fwhm,
        elongation=finite_or_none(shapes.elongation[i]),
        psf_fwhm_pix=fwhm,
        moment_noise=finite_or_none(shapes.moment_noise[i]),
        psf_chi2=float(shapes.psf_chi2[i]),
        dipole_ratio=float(dipole[i]),
        mask_fraction=float(fluxes.difference.mask_fraction[i]),
        mask_flags=int(fluxes.difference.flags[i]),
        sharpness=finite_or_none(shapes.sharpness[i]),
        negative_fraction=float(shapes.negative_fraction[i]),
        nearest_star_pix=finite_or_none(min(around.star_pix[i], around.saturated_pix[i])),
        nearest_saturated_pix=finite_or_none(around.saturated_pix[i]),
        science_ratio=_science_ratio(flux, fluxes.science, i),
        features=describe_features(
            i, batch, fluxes, shapes=shapes, dipole=dipole, around=around, fwhm=fwhm
        ),
    )


def _science_ratio(flux: float, science: ForcedFluxes, i: int) -> float | None:
    """|flux| over the science flux, or None where the science image shows nothing there."""
    if not science.flux[i] > 3.0 * science.flux_error[i]:
        return None
    return abs(flux) / float(science.flux[i])
