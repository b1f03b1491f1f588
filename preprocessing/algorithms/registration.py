"""Register two frames: the map from science to reference pixels and the ratio of their fluxes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError, NoWorkError
from astrid_site.imaging.image import Image
from preprocessing.algorithms.asterisms import match_asterisms
from preprocessing.algorithms.flux_ratio import fit_flux_ratio
from preprocessing.algorithms.plane_map import (
    PlaneMap,
    apply_maps,
    identity_map,
    overlap_of,
    shift_map,
    similarity_map,
)
from preprocessing.algorithms.pointing import format_offset, refuse_wrong_pointing
from preprocessing.algorithms.quality import pixel_scale_arcsec
from preprocessing.algorithms.same_grid import is_one_grid, is_still, median_miss
from preprocessing.algorithms.star_matching import (
    Matches,
    fit_correction,
    match_stars,
    prefer_stars,
)
from preprocessing.algorithms.stars import StarList
from preprocessing.algorithms.wcs_doubt import refuse_unconfirmed_wcs
from preprocessing.algorithms.wcs_match import vote_offset, wcs_error_arcsec, wcs_map

Float64 = NDArray[np.float64]

_MIN_OVERLAP = 0.01
_MIN_MATCHED = 4
# fewer matches that scatter widely may be different sources
_ENOUGH_TO_JUDGE = 8
# stars this much off (in widths of the PSF) do not make frames of one grid worth resampling: the
# kernel takes the shift, and interpolation would correlate the noise
_KEPT_GRID_FWHM = 0.07
_KEPT_GRID_PIX = 0.2
# a handful of true matches scatters less
_DOUBTFUL_RMS_PIX = 0.4
# a pattern that lies this near to where the WCS puts it confirms it
_CONTRADICTION_PIX = 3.0


@dataclass(frozen=True)
class Registration:
    """How a science frame lies on a reference.

    Attributes
    ----------
    maps : tuple of PlaneMap
        Applied one after the other: science pixel to reference pixel.
    n_matched : int
        Stars that fix the map; 0 where the WCS or the given alignment alone does.
    rms_pix : float or None
        Residual of the matched stars of S/N > 50 (all of them where there are under 5) per axis
        [reference pix]; None without matched stars.
    wcs_offset_arcsec : float or None
        How far the stars are from where the two WCS put them; None where that was not measured.
    method : str
        ``"wcs+stars"``, ``"stars"``, ``"wcs+pixels"`` (stars could not decide, the correlation
        of the pixels confirms the WCS), ``"wcs"`` or ``"identity"``.
    flux_ratio : float or None
        Science over reference flux of the matched stars; None where none match.
    flux_ratio_error : float or None
        Its standard error.
    overlap : float
        Fraction of the science frame that the reference covers.
    n_flux_stars : int
        Clean stars behind the flux ratio; 0 where it rests on other sources.
    """

    maps: tuple[PlaneMap, ...]
    n_matched: int
    rms_pix: float | None
    wcs_offset_arcsec: float | None
    method: str
    flux_ratio: float | None
    flux_ratio_error: float | None
    overlap: float
    n_flux_stars: int = 0

    @property
    def is_identity(self) -> bool:
        """Whether every pixel of the science grid is the same pixel of the reference's."""
        steps = self.maps
        return len(steps) == 1 and is_still(steps[0], steps[0].shape, tolerance=1e-9)

    def to_reference(self, x: Float64, y: Float64) -> tuple[Float64, Float64]:
        """Reference pixel positions of science pixel positions."""
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        for step in self.maps:
            x, y = step(x, y)
        return x, y

    def derivatives(self, x: Float64, y: Float64) -> Float64:
        """Matrices d(x', y') / d(x, y) of the map at positions, shape (n, 2, 2)."""
        h = 0.5
        right, left = self.to_reference(x + h, y), self.to_reference(x - h, y)
        up, down = self.to_reference(x, y + h), self.to_reference(x, y - h)
        along_x = np.stack([right[0] - left[0], right[1] - left[1]], axis=-1)
        along_y = np.stack([up[0] - down[0], up[1] - down[1]], axis=-1)
        return np.stack([along_x, along_y], axis=-1)


def register(
    reference: Image,
    reference_stars: StarList,
    science: Image,
    *,
    science_stars: StarList,
    aligned: bool = False,
    max_wcs_offset_arcsec: float = 60.0,
) -> Registration:
    """Map science pixels onto a reference: world coordinates refined by stars, or stars alone.

    Parameters
    ----------
    reference, science : Image
        Background-subtracted frames.
    reference_stars, science_stars : StarList
        Their sources.
    aligned : bool
        The frames are on one grid already: the map is the identity, and the stars only tell how
        well that holds and what the flux ratio is.
    max_wcs_offset_arcsec : float
        Largest offset between the two WCS that is corrected rather than refused.

    Returns
    -------
    Registration

    Raises
    ------
    NoWorkError
        If the frames hardly overlap; carries ``overlap`` and ``overlap_required``.
    AlgorithmError
        If the stars, or the pixels where stars cannot decide, contradict the WCS
        (``offset_arcsec``), or there are neither world coordinates nor enough stars that match
        (``n_stars``, ``n_required``).
    """
    if aligned:
        return _register_aligned(reference_stars, science, science_stars, shape=reference.shape)
    if reference.wcs is not None and science.wcs is not None:
        return _register_by_wcs(
            reference,
            reference_stars,
            science,
            science_stars=science_stars,
            max_offset_arcsec=max_wcs_offset_arcsec,
        )
    coarse, _ = _asterism_map(reference_stars, science_stars, shape=science.shape)
    if coarse is None:
        n_stars = min(len(reference_stars), len(science_stars))
        msg = (
            "no world coordinates, and the stars of the two frames do not match "
            f"({len(science_stars)} and {len(reference_stars)} sources)"
        )
        raise AlgorithmError(msg, n_stars=n_stars, n_required=_MIN_MATCHED)
    return _refine(
        (coarse,), reference, reference_stars, science, science_stars=science_stars, method="stars"
    )


def _register_aligned(
    reference_stars: StarList, science: Image, science_stars: StarList, *, shape: tuple[int, int]
) -> Registration:
    """Identity map, with what the stars say about it."""
    if shape != science.shape:
        msg = f"frames said to be aligned differ in shape: {science.shape} and {shape}"
        raise AlgorithmError(msg, nx=science.shape[1], ny=science.shape[0])
    maps = (identity_map(science.shape),)
    matches = match_stars(maps, reference_stars, science_stars, radius=2.0)
    return _result(maps, matches, reference_stars, science_stars, method="identity", overlap=1.0)


def _register_by_wcs(
    reference: Image,
    reference_stars: StarList,
    science: Image,
    *,
    science_stars: StarList,
    max_offset_arcsec: float,
) -> Registration:
    """World coordinates first; the stars confirm, refine or contradict them."""
    scale = pixel_scale_arcsec(reference.wcs) or 1.0
    prior = wcs_map(science, reference)
    if prior is not None and is_one_grid(prior, reference, science):
        kept = _keep_grid(reference, reference_stars, science, science_stars=science_stars)
        if kept is not None:
            moved = median_miss(kept.maps, reference_stars, science_stars) * scale
            return replace(kept, wcs_offset_arcsec=moved)
    if prior is not None:
        reach = max_offset_arcsec / scale
        shift = vote_offset(
            prior, reference_stars, science_stars, reach_pix=reach, shape=reference.shape
        )
        if shift is not None:
            shifted = (prior, shift_map(shift, reference.shape))
            found = _refine(
                shifted,
                reference,
                reference_stars,
                science,
                science_stars=science_stars,
                method="wcs+stars",
            )
            if found.n_matched >= 3 and not _is_doubtful(found):
                moved = _offset_at_centre((prior,), found.maps, science.shape) * scale
                return replace(found, wcs_offset_arcsec=moved)
    _refuse_if_stars_contradict(
        prior, reference, reference_stars, science, science_stars=science_stars
    )
    is_confirmed = False
    if reference.variance is not None and science.variance is not None:
        is_confirmed = refuse_wrong_pointing(reference, science)
    return _trust_wcs(
        prior,
        reference,
        reference_stars,
        science,
        science_stars=science_stars,
        is_confirmed=is_confirmed,
    )


def _is_doubtful(found: Registration) -> bool:
    """Whether a few matches scatter so widely that they may be different sources."""
    few = found.n_matched < _ENOUGH_TO_JUDGE
    return few and found.rms_pix is not None and found.rms_pix > _DOUBTFUL_RMS_PIX


def _keep_grid(
    reference: Image, reference_stars: StarList, science: Image, *, science_stars: StarList
) -> Registration | None:
    """The identity, where the stars of frames on one grid agree with it; None where they do not."""
    maps = (identity_map(science.shape),)
    matches = match_stars(maps, reference_stars, science_stars, radius=1.0)
    if matches.science.size < 3:
        return None
    widths = [image.psf.fwhm_pix for image in (reference, science) if image.psf is not None]
    limit = min(_KEPT_GRID_PIX, _KEPT_GRID_FWHM * min(widths)) if widths else 0.0
    found = _result(maps, matches, reference_stars, science_stars, method="wcs+stars", overlap=1.0)
    return found if found.rms_pix is not None and found.rms_pix <= limit else None


def _refuse_if_stars_contradict(
    prior: PlaneMap | None,
    reference: Image,
    reference_stars: StarList,
    science: Image,
    *,
    science_stars: StarList,
) -> None:
    """Raise where the stars match by their pattern, somewhere else than the WCS says."""
    coarse, n_matched = _asterism_map(reference_stars, science_stars, shape=science.shape)
    if coarse is None:
        return
    offset = None if prior is None else wcs_error_arcsec(coarse, reference, science)
    scale = pixel_scale_arcsec(reference.wcs) or 1.0
    if offset is not None and offset <= _CONTRADICTION_PIX * scale:
        return
    where = "elsewhere on the sky" if offset is None else f"{format_offset(offset)} away"
    msg = f"the WCS is wrong: stars put the frame {where} ({n_matched} stars match by pattern)"
    raise AlgorithmError(msg, offset_arcsec=offset, n_matched=n_matched)


def _trust_wcs(
    prior: PlaneMap | None,
    reference: Image,
    reference_stars: StarList,
    science: Image,
    *,
    science_stars: StarList,
    is_confirmed: bool,
) -> Registration:
    """The WCS alone, where the frames overlap and its pixels or a want of stars speak for it."""
    overlap = 0.0 if prior is None else overlap_of((prior,), science.shape, reference.shape)
    _require_overlap(overlap)
    if prior is None:
        msg = "the world coordinates of the two frames cannot be related"
        raise AlgorithmError(msg)
    if is_confirmed:
        return Registration((prior,), 0, None, None, "wcs+pixels", None, None, overlap)
    refuse_unconfirmed_wcs(prior, reference, reference_stars, science, science_stars=science_stars)
    return Registration((prior,), 0, None, None, "wcs", None, None, overlap)


def _asterism_map(
    reference_stars: StarList, science_stars: StarList, *, shape: tuple[int, int]
) -> tuple[PlaneMap | None, int]:
    """Similarity from science to reference pixels by star patterns, and its matched stars."""
    source = science_stars.x + 1j * science_stars.y
    target = reference_stars.x + 1j * reference_stars.y
    found = match_asterisms(source, target)
    if found is None:
        return None, 0
    coarse = similarity_map(found.parameters, flipped=found.flipped, shape=shape)
    return coarse, int(found.source.size)


def _refine(
    maps: tuple[PlaneMap, ...],
    reference: Image,
    reference_stars: StarList,
    science: Image,
    *,
    science_stars: StarList,
    method: str,
) -> Registration:
    """Correct a coarse map by a polynomial through the matched stars, clipped robustly."""
    correction: tuple[PlaneMap, ...] = ()
    matches = match_stars(maps, reference_stars, science_stars, radius=3.0)
    for radius in (3.0, 2.0, 1.5, 1.0, 1.0):
        matches = match_stars(maps + correction, reference_stars, science_stars, radius=radius)
        if matches.science.size < 3:
            break
        matches = prefer_stars(matches, reference_stars, science_stars)
        fitted = fit_correction(maps, matches, reference_stars, science_stars, reference.shape)
        correction = (fitted,)
    final = maps + correction
    overlap = overlap_of(final, science.shape, reference.shape)
    _require_overlap(overlap)
    return _result(final, matches, reference_stars, science_stars, method=method, overlap=overlap)


def _result(
    maps: tuple[PlaneMap, ...],
    matches: Matches,
    reference_stars: StarList,
    science_stars: StarList,
    *,
    method: str,
    overlap: float,
) -> Registration:
    """Residual and flux ratio of the matched stars of a final map."""
    close = match_stars(maps, reference_stars, science_stars, radius=1.0)
    matches = prefer_stars(
        close if close.science.size >= 3 else matches, reference_stars, science_stars
    )
    ours, theirs = science_stars.select(matches.science), reference_stars.select(matches.reference)
    ratio = fit_flux_ratio(ours, theirs)
    rms = None
    if len(ours) > 0:
        x, y = apply_maps(maps, ours.x, ours.y)
        miss = np.hypot(x - theirs.x, y - theirs.y)
        bright = (ours.snr > 50.0) & (theirs.snr > 50.0)
        miss = miss[bright] if bright.sum() >= 5 else miss
        miss = miss[miss <= 4.0 * np.median(miss) + 1e-9]
        rms = float(np.sqrt(np.mean(miss**2) / 2.0))
    return Registration(
        maps=maps,
        n_matched=len(ours),
        rms_pix=rms,
        wcs_offset_arcsec=None,
        method=method,
        flux_ratio=ratio.value,
        flux_ratio_error=ratio.error,
        overlap=overlap,
        n_flux_stars=ratio.n_clean,
    )


def _offset_at_centre(
    first: tuple[PlaneMap, ...], second: tuple[PlaneMap, ...], shape: tuple[int, int]
) -> float:
    """Distance [reference pix] between where two maps put the centre of a frame."""
    ny, nx = shape
    x, y = np.array([(nx - 1) / 2.0]), np.array([(ny - 1) / 2.0])
    x1, y1 = apply_maps(first, x, y)
    x2, y2 = apply_maps(second, x, y)
    return float(np.hypot(x2 - x1, y2 - y1)[0])


def _require_overlap(overlap: float) -> None:
    """Refuse frames that hardly share any sky."""
    if overlap < _MIN_OVERLAP:
        msg = (
            f"the reference covers {100 * overlap:.1f} % of the frame, "
            f"{100 * _MIN_OVERLAP:.0f} % are needed"
        )
        raise NoWorkError(msg, overlap=overlap, overlap_required=_MIN_OVERLAP)
