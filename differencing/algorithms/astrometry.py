"""Sky positions on a difference: those of the reference, carried over by the registration."""

from __future__ import annotations

from dataclasses import dataclass
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
        Mean correction of the frame's own world coordinates [pix]; None where it had none.
    """

    wcs: WCS
    rms_pix: float
    shift_pix: float | None


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
    distortions that act on intermediate world coordinates (TPV) and to first order for SIP.
    """
    ny, nx = shape
    grid_y, grid_x = np.meshgrid(
        np.linspace(0.0, ny - 1.0, _GRID), np.linspace(0.0, nx - 1.0, _GRID), indexing="ij"
    )
    x, y = grid_x.ravel(), grid_y.ravel()
    ra, dec = reference.celestial.all_pix2world(*registration.to_reference(x, y), 0)
    if science is None:
        sky = SkyCoord(ra, dec, unit="deg")
        fitted = fit_wcs_from_points((x, y), sky, projection="TAN")
        fitted.array_shape = shape
        return TiedWcs(fitted, _rms(fitted, x, y, ra=ra, dec=dec), None)
    believed_x, believed_y = science.celestial.all_world2pix(ra, dec, 0, maxiter=50, quiet=True)
    tied = _correct(science, np.stack([x, y]), np.stack([believed_x, believed_y]))
    shift = float(np.hypot((believed_x - x).mean(), (believed_y - y).mean()))
    return TiedWcs(tied, _rms(tied, x, y, ra=ra, dec=dec), shift)


def describe_tie(tied: TiedWcs) -> str | None:
    """How wrong a frame's own world coordinates were, where they were off by pixels."""
    if tied.shift_pix is None or tied.shift_pix <= _CONTRADICTED_PIX:
        return None
    scale = float(np.sqrt(abs(np.linalg.det(tied.wcs.celestial.pixel_scale_matrix)))) * 3600.0
    return (
        f"the science image's WCS is {tied.shift_pix * scale:.1f} arcsec off by the stars; "
        "the reference's was believed"
    )


def _correct(science: WCS, true: Float64, believed: Float64) -> WCS:
    """Fold the affine map from true to believed pixels into the linear part of a WCS."""
    design = np.column_stack([true.T, np.ones(true.shape[1])])
    solution, *_ = np.linalg.lstsq(design, believed.T, rcond=None)
    matrix, offset = solution[:2].T, solution[2]
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
