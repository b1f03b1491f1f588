"""How the pixels of a frame lie on the sky, from the corners of its footprint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Bars offered for the scale [arcsec].
_BARS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


@dataclass(frozen=True)
class SkyOrientation:
    """The turn that puts north up and east left.

    Attributes
    ----------
    matrix : tuple of float, (a, b, c, d)
        x' = a u + c v, y' = b u + d v, for u to the right and v down on a picture whose row 0 is
        at the bottom; lengths are kept: the order of SVG's ``matrix``.
    scale_arcsec : float
        Size of a pixel [arcsec], the square root of its area.
    """

    matrix: tuple[float, float, float, float]
    scale_arcsec: float


def orient_to_sky(
    footprint: Sequence[Sequence[float]], *, shape: tuple[int, int], ra: float, dec: float
) -> SkyOrientation | None:
    """Find the turn that puts north up and east left at one position of a frame.

    The corners say enough: over one frame the turn follows from the gnomonic projection of its
    four corners about the position, so that no header is parsed to show a picture.

    Parameters
    ----------
    footprint : sequence of (ra, dec)
        Sky positions [deg] of the outer corners in the order (0, 0), (nx, 0), (nx, ny), (0, ny), as
        ``observations.algorithms.footprint`` gives them.
    shape : tuple of int
        (ny, nx) of the frame.
    ra, dec : float
        Position [deg] at which north is up.

    Returns
    -------
    SkyOrientation or None
        None where the corners are not four or enclose no area on the sky.
    """
    ny, nx = shape
    if len(footprint) != 4 or min(ny, nx) < 2:
        return None
    sky = _project(np.asarray(footprint, dtype=np.float64), ra=ra, dec=dec)
    if sky is None:
        return None
    x = np.array([0.0, nx, nx, 0.0])
    y = np.array([0.0, 0.0, ny, ny])
    design = np.column_stack([x, y, np.ones(4)])
    solution, *_ = np.linalg.lstsq(design, sky, rcond=None)
    jacobian = solution[:2].T  # rows: east, north; columns: x, y [arcsec/pix]
    scale = math.sqrt(abs(float(np.linalg.det(jacobian))))
    if not scale > 1e-9:
        return None
    # east is to the left and north is up, while v runs against y
    turn = np.diag([-1.0, -1.0]) @ jacobian @ np.diag([1.0, -1.0]) / scale
    a, c, b, d = (float(v) for v in turn.ravel())
    return SkyOrientation(matrix=(a, b, c, d), scale_arcsec=scale)


def _project(corners: NDArray[np.float64], *, ra: float, dec: float) -> NDArray[np.float64] | None:
    """Gnomonic projection of (ra, dec) about a position, (xi east, eta north) [arcsec]."""
    d_ra = np.radians(corners[:, 0] - ra)
    d, d0 = np.radians(corners[:, 1]), math.radians(dec)
    cosine = np.sin(d0) * np.sin(d) + np.cos(d0) * np.cos(d) * np.cos(d_ra)
    if not np.isfinite(cosine).all() or cosine.min() <= 0:
        return None
    xi = np.cos(d) * np.sin(d_ra) / cosine
    eta = (np.cos(d0) * np.sin(d) - np.sin(d0) * np.cos(d) * np.cos(d_ra)) / cosine
    return np.asarray(np.degrees(np.column_stack([xi, eta])) * 3600.0)


def choose_bar(width_arcsec: float) -> float:
    """A round length [arcsec] that fills about a quarter of a picture."""
    fitting = [bar for bar in _BARS if bar <= 0.34 * width_arcsec]
    return fitting[-1] if fitting else _BARS[0]
