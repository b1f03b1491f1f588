"""Register two frames: the map from science to reference pixels and the ratio of their fluxes."""

from __future__ import annotations

from dataclasses import replace

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from preprocessing.algorithms.asterisms import match_asterisms
from preprocessing.algorithms.plane_map import (
    PlaneMap,
    identity_map,
    overlap_of,
    shift_map,
    similarity_map,
)
from preprocessing.algorithms.pointing import format_offset, refuse_wrong_pointing
from preprocessing.algorithms.quality import pixel_scale_arcsec
from preprocessing.algorithms.registration_fit import (
    Registration,
    offset_at_centre,
    refine,
    require_overlap,
    result_of,
)
from preprocessing.algorithms.same_grid import is_one_grid, median_miss
from preprocessing.algorithms.star_matching import match_stars
from preprocessing.algorithms.stars import StarList
from preprocessing.algorithms.wcs_doubt import (
    is_pattern_trusted,
    is_placed_as,
    refuse_unconfirmed_wcs,
    share_of_stars,
)
from preprocessing.algorithms.wcs_match import vote_offset, wcs_error_arcsec, wcs_map

__all__ = ["Registration", "register"]

_MIN_MATCHED = 4
# fewer matches that scatter widely may be different sources
_ENOUGH_TO_JUDGE = 8
# stars this much off (in widths of the PSF) do not make frames of one grid worth resampling: the
# kernel takes the shift, and interpolation would correlate the noise
_KEPT_GRID_FWHM = 0.07
_KEPT_GRID_PIX = 0.2
# a handful of true matches scatters less
_DOUBTFUL_RMS_PIX = 0.4
# the best shift brings together 2 to 4 % of the stars of unrelated fields, crowded or not
_CHANCE_SHARE = 0.1
_CENTRED_PIX = 3.0
# no telescope errs by more: the header is another frame's, and nothing in it is to be believed
_MAX_OFFSET_ARCSEC = 1800.0
# with a smaller share of the common stars matched, a pattern elsewhere may be the better match
_SURE_SHARE = 0.25


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
        Largest offset between the two WCS that is sought by itself. A frame that lies further off,
        or is turned, mirrored or scaled against its WCS, is found by the pattern of its stars.

    Returns
    -------
    Registration

    Raises
    ------
    NoWorkError
        If the frames hardly overlap; carries ``overlap`` and ``overlap_required``.
    AlgorithmError
        If too few stars to go by, or the pixels where stars cannot decide, contradict the WCS
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
    return refine(
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
    return result_of(maps, matches, reference_stars, science_stars, method="identity", overlap=1.0)


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
    voted = None
    if prior is not None:
        voted = _register_by_votes(
            prior,
            reference,
            reference_stars,
            science,
            science_stars=science_stars,
            reach_pix=max_offset_arcsec / scale,
        )
    if voted is not None and _is_sure(voted, reference, reference_stars, science, science_stars):
        return voted
    found = _register_against_wcs(
        prior,
        reference,
        reference_stars,
        science,
        science_stars=science_stars,
        more_than=0 if voted is None else 2 * voted.n_matched,
    )
    found = found or voted
    if found is not None:
        return found
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
    found = result_of(
        maps, matches, reference_stars, science_stars, method="wcs+stars", overlap=1.0
    )
    return found if found.rms_pix is not None and found.rms_pix <= limit else None


def _register_by_votes(
    prior: PlaneMap,
    reference: Image,
    reference_stars: StarList,
    science: Image,
    *,
    science_stars: StarList,
    reach_pix: float,
) -> Registration | None:
    """The WCS shifted to where most stars meet, and refined; None where too few do."""
    shape = reference.shape
    shift = vote_offset(prior, reference_stars, science_stars, reach_pix=reach_pix, shape=shape)
    if shift is None:
        return None
    shifted = (prior, shift_map(shift, shape))
    found = refine(
        shifted,
        reference,
        reference_stars,
        science,
        science_stars=science_stars,
        method="wcs+stars",
    )
    stars = found.maps, reference, reference_stars, science, science_stars
    is_chance = share_of_stars(*stars, n_matched=found.n_matched) < _CHANCE_SHARE
    if found.n_matched < 3 or is_chance or _is_doubtful(found):
        return None
    scale = pixel_scale_arcsec(reference.wcs) or 1.0
    moved = offset_at_centre((prior,), found.maps, science.shape) * scale
    return replace(found, wcs_offset_arcsec=moved)


def _is_sure(
    found: Registration,
    reference: Image,
    reference_stars: StarList,
    science: Image,
    science_stars: StarList,
) -> bool:
    """Whether so many of the common stars match that chance cannot have brought them together."""
    stars = found.maps, reference, reference_stars, science, science_stars
    return share_of_stars(*stars, n_matched=found.n_matched) >= _SURE_SHARE


def _register_against_wcs(
    prior: PlaneMap | None,
    reference: Image,
    reference_stars: StarList,
    science: Image,
    *,
    science_stars: StarList,
    more_than: int,
) -> Registration | None:
    """Where the pattern of the stars puts the frame, if that is not where the WCS does.

    None where no pattern of more than so many stars matches, or it agrees with the WCS.

    Raises
    ------
    AlgorithmError
        If the pattern contradicts the WCS, but is of too few stars to go by.
    """
    coarse, n_matched = _asterism_map(reference_stars, science_stars, shape=science.shape)
    if coarse is None or n_matched <= more_than:
        return None
    if prior is not None and is_placed_as(prior, coarse, science.shape):
        return None
    found = refine(
        (coarse,), reference, reference_stars, science, science_stars=science_stars, method="stars"
    )
    offset = wcs_error_arcsec(found.to_reference, reference, science)
    stars = found.maps, reference, reference_stars, science, science_stars
    is_enough = is_pattern_trusted(*stars, n_matched=found.n_matched)
    if is_enough and offset is not None and offset <= _MAX_OFFSET_ARCSEC:
        return replace(found, wcs_offset_arcsec=offset)
    if more_than > 0:
        return None
    if offset is not None and offset <= _CENTRED_PIX * (pixel_scale_arcsec(reference.wcs) or 1.0):
        # turned about its middle: the pixels say so in better words
        return None
    where = "elsewhere on the sky" if offset is None else f"{format_offset(offset)} away"
    why = "too far to be an error of pointing" if is_enough else "too few to go by"
    msg = f"the WCS is wrong: stars put the frame {where} ({n_matched} match by pattern, {why})"
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
    require_overlap(overlap)
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
