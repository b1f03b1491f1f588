"""Sky positions on a difference: those of the reference, carried over by the registration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import fit_wcs_from_points
from numpy.typing import NDArray

from astrid_site.imaging.fits_products import wcs_cards
from astrid_site.imaging.wcs_header import build_wcs

Float64 = NDArray[np.float64]

_GRID = 9
# what is less is the pointing error that every header has
_CONTRADICTED_PIX = 3.0
_CONTRADICTED_DEG = 1.0
# a registration that no linear world coordinates carry to better than this is distorted
_DISTORTED_PIX = 0.05
_SIP_DEGREE = 4


class PixelMap(Protocol):
    """Map from science to reference pixels."""

    def to_reference(self, x: Float64, y: Float64) -> tuple[Float64, Float64]:
        """Reference pixel positions of science pixel positions."""


@dataclass(frozen=True)
class TiedWcs:
    """World coordinates of a science frame that agree with the reference's.

    Attributes
    ----------
    wcs : astropy.wcs.WCS
        For the science frame.
    rms_pix : float
        How well it carries the registration [science pix].
    shift_pix : float or None
        Mean correction of the frame's own world coordinates [pix]; None where it had none, or
        they lie on the other side of the sky.
    turn_deg : float
        By how much the frame is turned against its own world coordinates.
    is_mirrored : bool
        Whether it is mirrored against them.
    is_elsewhere : bool
        Whether they lie on the other side of the sky, where they can tell nothing.
    """

    wcs: WCS
    rms_pix: float
    shift_pix: float | None
    turn_deg: float = 0.0
    is_mirrored: bool = False
    is_elsewhere: bool = False


def tie_wcs(
    science: WCS | None, reference: WCS, registration: PixelMap, *, shape: tuple[int, int]
) -> TiedWcs:
    """World coordinates that put every star of a science frame where the reference has it.

    Parameters
    ----------
    science : astropy.wcs.WCS or None
        The frame's own world coordinates, whose distortions are kept.
    reference : astropy.wcs.WCS
        Of the reference.
    registration : PixelMap
        From science to reference pixels.
    shape : tuple of int
        (ny, nx) of the science frame.

    Returns
    -------
    TiedWcs

    Notes
    -----
    Detections of one source in many epochs join into one object only if all epochs share one
    astrometric frame; headers of different nights differ by an arcsecond and more, while the
    stars tie them to a few hundredths of a pixel. With u' = A u + b the affine map from true to
    believed pixels, CD' = CD A and CRPIX' = A^-1 (CRPIX - b) carry the correction exactly for
    distortions that act on intermediate world coordinates (TPV) and to first order for SIP. A
    registration that is distorted against that gets new world coordinates with SIP terms.
    """
    ny, nx = shape
    grid_y, grid_x = np.meshgrid(
        np.linspace(0.0, ny - 1.0, _GRID), np.linspace(0.0, nx - 1.0, _GRID), indexing="ij"
    )
    x, y = grid_x.ravel(), grid_y.ravel()
    ra, dec = reference.celestial.all_pix2world(*registration.to_reference(x, y), 0)
    if science is None:
        return _fit_anew(x, y, ra=ra, dec=dec, shape=shape)
    believed_x, believed_y = science.celestial.all_world2pix(ra, dec, 0, maxiter=50, quiet=True)
    if not (np.isfinite(believed_x).all() and np.isfinite(believed_y).all()):
        return replace(_fit_anew(x, y, ra=ra, dec=dec, shape=shape), is_elsewhere=True)
    matrix, offset = _affine(np.stack([x, y]), np.stack([believed_x, believed_y]))
    tied = _correct(science, matrix, offset)
    rms = _rms(tied, x, y, ra=ra, dec=dec)
    if rms > _DISTORTED_PIX:
        # stars tell of a distortion that this header does not
        anew = _fit_anew(x, y, ra=ra, dec=dec, shape=shape)
        tied, rms = (anew.wcs, anew.rms_pix) if anew.rms_pix < rms else (tied, rms)
    return TiedWcs(
        wcs=tied,
        rms_pix=rms,
        shift_pix=float(np.hypot((believed_x - x).mean(), (believed_y - y).mean())),
        turn_deg=abs(float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))),
        is_mirrored=bool(np.linalg.det(matrix) < 0.0),
    )


def _fit_anew(
    x: Float64, y: Float64, *, ra: Float64, dec: Float64, shape: tuple[int, int]
) -> TiedWcs:
    """World coordinates from where the reference has the pixels of a frame alone."""
    sky = SkyCoord(ra, dec, unit="deg")
    fitted = fit_wcs_from_points((x, y), sky, projection="TAN")
    rms = _rms(fitted, x, y, ra=ra, dec=dec)
    if rms > _DISTORTED_PIX:
        fitted = fit_wcs_from_points((x, y), sky, projection="TAN", sip_degree=_SIP_DEGREE)
        rms = _rms(fitted, x, y, ra=ra, dec=dec)
    fitted.array_shape = shape
    return TiedWcs(fitted, rms, None)


def describe_tie(tied: TiedWcs) -> str | None:
    """How wrong a frame's own world coordinates were, where they were off by pixels."""
    flaws = []
    if tied.is_elsewhere:
        flaws.append("elsewhere on the sky")
    elif tied.shift_pix is not None and tied.shift_pix > _CONTRADICTED_PIX:
        scale = float(np.sqrt(abs(np.linalg.det(tied.wcs.celestial.pixel_scale_matrix)))) * 3600.0
        flaws.append(f"{_angle(tied.shift_pix * scale)} off")
    if tied.is_mirrored:
        flaws.append("mirrored")
    elif tied.turn_deg > _CONTRADICTED_DEG:
        flaws.append(f"turned by {tied.turn_deg:.0f} degrees")
    if not flaws:
        return None
    return (
        f"the science image's WCS is {' and '.join(flaws)} by the stars; "
        "the reference's was believed"
    )


def _angle(arcsec: float) -> str:
    return f"{arcsec:.1f} arcsec" if arcsec < 100.0 else f"{arcsec / 60.0:.1f} arcmin"


def _affine(true: Float64, believed: Float64) -> tuple[Float64, Float64]:
    """Matrix and offset of the affine map from true to believed pixels, (2, n) each."""
    design = np.column_stack([true.T, np.ones(true.shape[1])])
    solution, *_ = np.linalg.lstsq(design, believed.T, rcond=None)
    return np.asarray(solution[:2].T), np.asarray(solution[2])


def _correct(science: WCS, matrix: Float64, offset: Float64) -> WCS:
    """Fold the affine map from true to believed pixels into the linear part of a WCS."""
    cards = wcs_cards(science.celestial)
    linear = science.celestial.pixel_scale_matrix @ matrix
    # FITS pixels count from 1
    centre = np.linalg.solve(matrix, science.celestial.wcs.crpix - 1.0 - offset) + 1.0
    for i in (0, 1):
        cards[f"CRPIX{i + 1}"] = float(centre[i])
        for j in (0, 1):
            cards[f"CD{i + 1}_{j + 1}"] = float(linear[i, j])
    tied = build_wcs(cards)
    tied.array_shape = science.array_shape
    return tied


def _rms(wcs: WCS, x: Float64, y: Float64, *, ra: Float64, dec: Float64) -> float:
    """Distance of where a WCS puts sky positions from where they are [pix], root mean square."""
    back_x, back_y = wcs.all_world2pix(ra, dec, 0, maxiter=50, quiet=True)
    return float(np.sqrt(np.mean((back_x - x) ** 2 + (back_y - y) ** 2)))
