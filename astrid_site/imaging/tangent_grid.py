"""World coordinates as a small table: positions on the tangent plane at a few pixels.

Between the nodes a straight line is drawn. For a gnomonic projection that is exact; the more
distorted a frame is, the more nodes it gets, until the table follows its world coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_NODES = (2, 3, 5, 9, 17, 33, 65)
#: Positions per axis at which a table is tested; shares no divisor with the nodes.
_TESTS = 47
#: Cosine of the angle to the tangent point below which the plane is useless.
_LEAST_COSINE = 0.1


@dataclass(frozen=True)
class TangentGrid:
    """Standard coordinates of a frame at evenly spaced pixels.

    Attributes
    ----------
    ra, dec : float
        Tangent point, ICRS [deg].
    xi, eta : NDArray[float64], shape (n, n)
        Standard coordinates at the nodes, eastward and northward [rad]; node (j, i) lies at the
        i-th of n even steps in x from -0.5 to nx - 0.5, and at the j-th in y.
    shape : tuple of int
        (ny, nx) of the frame.
    error_pix : float
        Largest deviation from the world coordinates on a dense test grid [pix].
    """

    ra: float
    dec: float
    xi: Float64
    eta: Float64
    shape: tuple[int, int]
    error_pix: float

    def to_sky(self, x: Float64, y: Float64) -> tuple[Float64, Float64]:
        """ICRS right ascension and declination [deg] of 0-based pixel positions."""
        xi, eta = self.to_plane(x, y)
        return _deproject(xi, eta, self.ra, self.dec)

    def to_plane(self, x: Float64, y: Float64) -> tuple[Float64, Float64]:
        """Standard coordinates [rad] of 0-based pixel positions."""
        ny, nx = self.shape
        column, u = _cell(np.asarray(x, dtype=np.float64), nx, len(self.xi))
        row, v = _cell(np.asarray(y, dtype=np.float64), ny, len(self.xi))
        weights = ((1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u)
        corners = ((row, column), (row, column + 1), (row + 1, column), (row + 1, column + 1))
        pairs = list(zip(weights, corners, strict=True))
        xi = sum(w * self.xi[corner] for w, corner in pairs)
        eta = sum(w * self.eta[corner] for w, corner in pairs)
        return np.asarray(xi), np.asarray(eta)

    def as_json(self) -> dict[str, Any]:
        """Plain numbers; 1e-12 rad is a millionth of a pixel of any telescope."""
        return {
            "ra": self.ra,
            "dec": self.dec,
            "shape": list(self.shape),
            "xi": np.round(self.xi, 12).tolist(),
            "eta": np.round(self.eta, 12).tolist(),
            "error_pix": self.error_pix,
        }


def _cell(position: Float64, side: int, n_nodes: int) -> tuple[NDArray[np.int64], Float64]:
    """Cell of each position along one axis, and how far into it; the outer cells go on."""
    at = (position + 0.5) / side * (n_nodes - 1)
    cell = np.clip(np.floor(at), 0, n_nodes - 2).astype(np.int64)
    return cell, at - cell


def fit_tangent_grid(
    wcs: WCS, shape: tuple[int, int], *, tolerance_pix: float = 0.02
) -> TangentGrid | None:
    """The smallest table that follows a frame's world coordinates.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Celestial world coordinates with whatever distortion.
    shape : tuple of int
        (ny, nx) of the frame.
    tolerance_pix : float
        Largest deviation allowed [pix].

    Returns
    -------
    TangentGrid or None
        The finest table tried has 65 x 65 nodes and says its own error. None where the frame
        reaches beyond what a tangent plane can show, or has pixels without a position.
    """
    ny, nx = shape
    middle = wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0)
    # only around its own reference point is a gnomonic frame straight
    for ra, dec in (wcs.wcs.crval, middle):
        if np.isfinite([ra, dec]).all():
            grid = _fit_around(wcs, shape, (float(ra), float(dec)), tolerance_pix=tolerance_pix)
            if grid is not None:
                return grid
    return None


def _fit_around(
    wcs: WCS, shape: tuple[int, int], centre: tuple[float, float], *, tolerance_pix: float
) -> TangentGrid | None:
    ny, nx = shape
    ra, dec = centre
    tests = np.meshgrid(np.linspace(-0.5, nx - 0.5, _TESTS), np.linspace(-0.5, ny - 0.5, _TESTS))
    truth = _standard(wcs, tests[0], tests[1], centre=centre)
    if truth is None:
        return None
    scale = _pixel_scale(truth, shape)
    grid = None
    for n_nodes in _NODES:
        nodes = np.meshgrid(
            np.linspace(-0.5, nx - 0.5, n_nodes), np.linspace(-0.5, ny - 0.5, n_nodes)
        )
        plane = _standard(wcs, nodes[0], nodes[1], centre=centre)
        if plane is None:
            return None
        grid = TangentGrid(ra % 360.0, dec, *plane, shape=shape, error_pix=0.0)
        xi, eta = grid.to_plane(*tests)
        error = float(np.hypot(xi - truth[0], eta - truth[1]).max() / scale)
        grid = TangentGrid(ra % 360.0, dec, *plane, shape=shape, error_pix=error)
        if error <= tolerance_pix:
            break
    return grid


def _pixel_scale(plane: tuple[Float64, Float64], shape: tuple[int, int]) -> float:
    """Side of a pixel [rad], from the area of the test grid's middle cell."""
    middle = _TESTS // 2
    box = (slice(middle, middle + 2), slice(middle, middle + 2))
    xi, eta = plane[0][box], plane[1][box]
    along_x = (xi[0, 1] - xi[0, 0], eta[0, 1] - eta[0, 0])
    along_y = (xi[1, 0] - xi[0, 0], eta[1, 0] - eta[0, 0])
    area = abs(along_x[0] * along_y[1] - along_x[1] * along_y[0])
    ny, nx = shape
    return float(np.sqrt(area * (_TESTS - 1) ** 2 / (nx * ny)))


def _standard(
    wcs: WCS, x: Float64, y: Float64, *, centre: tuple[float, float]
) -> tuple[Float64, Float64] | None:
    """Standard coordinates [rad]; None where a position is missing or too far from the centre."""
    ra, dec = (np.radians(part) for part in wcs.all_pix2world(x, y, 0))
    ra0, dec0 = np.radians(centre[0]), np.radians(centre[1])
    turn = ra - ra0
    cosine = np.sin(dec0) * np.sin(dec) + np.cos(dec0) * np.cos(dec) * np.cos(turn)
    if not (np.isfinite(cosine).all() and cosine.min() > _LEAST_COSINE):
        return None
    xi = np.cos(dec) * np.sin(turn) / cosine
    eta = (np.cos(dec0) * np.sin(dec) - np.sin(dec0) * np.cos(dec) * np.cos(turn)) / cosine
    return xi, eta


def _deproject(xi: Float64, eta: Float64, ra: float, dec: float) -> tuple[Float64, Float64]:
    """ICRS degrees of standard coordinates around a tangent point."""
    sin0, cos0 = np.sin(np.radians(dec)), np.cos(np.radians(dec))
    down = cos0 - eta * sin0
    turn = np.arctan2(xi, down)
    height = np.arctan2(sin0 + eta * cos0, np.hypot(xi, down))
    return (ra + np.degrees(turn)) % 360.0, np.degrees(height)
