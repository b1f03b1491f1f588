"""What a registration is: a map refined by matched stars, their residual and their flux ratio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import NoWorkError
from astrid_site.imaging.image import Image
from preprocessing.algorithms.flux_ratio import fit_flux_ratio
from preprocessing.algorithms.plane_map import PlaneMap, apply_maps, overlap_of
from preprocessing.algorithms.same_grid import is_still
from preprocessing.algorithms.star_matching import (
    Matches,
    fit_correction,
    match_stars,
    prefer_stars,
)
from preprocessing.algorithms.stars import StarList

Float64 = NDArray[np.float64]

_MIN_OVERLAP = 0.01


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


def refine(
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
    require_overlap(overlap)
    return result_of(final, matches, reference_stars, science_stars, method=method, overlap=overlap)


def result_of(
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


def offset_at_centre(
    first: tuple[PlaneMap, ...], second: tuple[PlaneMap, ...], shape: tuple[int, int]
) -> float:
    """Distance [reference pix] between where two maps put the centre of a frame."""
    ny, nx = shape
    x, y = np.array([(nx - 1) / 2.0]), np.array([(ny - 1) / 2.0])
    x1, y1 = apply_maps(first, x, y)
    x2, y2 = apply_maps(second, x, y)
    return float(np.hypot(x2 - x1, y2 - y1)[0])


def require_overlap(overlap: float) -> None:
    """Refuse frames that hardly share any sky."""
    if overlap < _MIN_OVERLAP:
        msg = (
            f"the reference covers {100 * overlap:.1f} % of the frame, "
            f"{100 * _MIN_OVERLAP:.0f} % are needed"
        )
        raise NoWorkError(msg, overlap=overlap, overlap_required=_MIN_OVERLAP)
