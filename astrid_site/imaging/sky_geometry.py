"""Where a simulated field falls on a detector: the tangent plane and its maps to pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS

from astrid_site.imaging.sky_psf import Float64


@dataclass(frozen=True)
class PlaneMap:
    """The linear map from a field's tangent plane [arcsec] to a frame's pixels.

    Attributes
    ----------
    matrix : NDArray[float64], shape (2, 2)
        Pixels per arcsecond; the first column belongs to xi (east), the second to eta (north).
    origin : tuple of float
        (x, y) of the tangent point, 0-based.
    """

    matrix: Float64
    origin: tuple[float, float]

    def to_pixel(self, xi: Float64, eta: Float64) -> tuple[Float64, Float64]:
        """Pixel positions of tangent-plane positions."""
        x, y = self.matrix @ np.stack([xi, eta])
        return x + self.origin[0], y + self.origin[1]

    def to_plane(self, x: Float64, y: Float64) -> tuple[Float64, Float64]:
        """Tangent-plane positions [arcsec] of pixel positions."""
        shifted = np.stack([np.asarray(x) - self.origin[0], np.asarray(y) - self.origin[1]])
        xi, eta = np.linalg.solve(self.matrix, shifted)
        return xi, eta


def plane_map(
    pixel_scale_arcsec: float, *, rotation_deg: float, origin: tuple[float, float]
) -> PlaneMap:
    """The map of a camera with north up and east left, turned by ``rotation_deg``."""
    angle = np.deg2rad(rotation_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return PlaneMap(turn @ np.diag([-1.0, 1.0]) / pixel_scale_arcsec, origin)


def tan_wcs(where: PlaneMap, *, centre: tuple[float, float]) -> WCS:
    """Gnomonic WCS whose tangent point is the field centre (ra, dec) [deg]."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = list(centre)
    wcs.wcs.crpix = [where.origin[0] + 1, where.origin[1] + 1]
    wcs.wcs.cd = np.linalg.inv(where.matrix) / 3600.0
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.set()
    return wcs
