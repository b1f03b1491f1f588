"""Light by formula: Moffat profiles integrated over pixels, and Sersic galaxies as many points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]

#: Half widths of the stamps; each point takes the least that holds its light.
_HALVES = (6, 8, 11, 15, 20, 27, 36, 48, 64, 90, 130)
_BATCH_PIXELS = 1_500_000
_GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


@dataclass(frozen=True)
class MoffatField:
    """A Moffat profile whose width and shear change over the frame.

    Attributes
    ----------
    shape : tuple of int
        (ny, nx) of the frame.
    fwhm_pix : float
        Geometric mean of major and minor FWHM at the centre.
    beta : float
        Exponent of the wings.
    shear : complex
        (a - b) / (a + b) and twice the angle of the major axis from x to y, at the centre.
    growth : tuple of float
        Relative change of the FWHM with u, v and u^2 + v^2, positions scaled to [-1, 1].
    shear_growth : complex
        Change of the shear with (u + iv).
    """

    shape: tuple[int, int]
    fwhm_pix: float
    beta: float
    shear: complex = 0j
    growth: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shear_growth: complex = 0j

    @cached_property
    def nodes(self) -> tuple[Float64, Float64]:
        """Gauss-Legendre nodes and weights over a pixel, finer for a narrow profile."""
        place, weight = np.polynomial.legendre.leggauss(2 if self.fwhm_pix >= 2.2 else 5)
        return place / 2.0, weight / 2.0

    def alpha(self, x: Float64, y: Float64) -> Float64:
        """Moffat radius at positions [pix]."""
        u, v = self._scaled(x, y)
        a, b, c = self.growth
        fwhm = self.fwhm_pix * (1.0 + a * u + b * v + c * (u**2 + v**2))
        return np.asarray(fwhm / (2.0 * np.sqrt(2.0 ** (1.0 / self.beta) - 1.0)))

    def metric(self, x: Float64, y: Float64) -> Float64:
        """(m_xx, m_xy, m_yy) of the squared radius in units of alpha; shape (3, n)."""
        u, v = self._scaled(x, y)
        shear = self.shear + self.shear_growth * (u + 1j * v)
        size = np.abs(shear)
        ratio = (1.0 + size) / (1.0 - size)
        cos, sin = np.cos(np.angle(shear) / 2.0), np.sin(np.angle(shear) / 2.0)
        scale = 1.0 / self.alpha(x, y) ** 2
        return np.stack(
            [
                scale * (cos**2 / ratio + sin**2 * ratio),
                scale * cos * sin * (1.0 / ratio - ratio),
                scale * (sin**2 / ratio + cos**2 * ratio),
            ]
        )

    def stamps(self, x: Float64, y: Float64, half: int) -> Float32:
        """Unit-flux pixels around positions, (n, 2 half + 1, 2 half + 1), on the frame's grid."""
        place, weight = self.nodes
        n_nodes = len(place)
        offset = (np.arange(-half, half + 1)[:, None] + place[None, :]).ravel()
        dx = (offset[None, :] - (x - np.rint(x))[:, None]).astype(np.float32)
        dy = (offset[None, :] - (y - np.rint(y))[:, None]).astype(np.float32)
        m = self.metric(x, y).astype(np.float32)
        dx, dy = dx[:, None, :], dy[:, :, None]
        m = m[:, :, None, None]
        radius = (m[0] * dx + np.float32(2.0) * m[1] * dy) * dx + m[2] * dy**2
        value = np.power(np.float32(1.0) + radius, np.float32(-self.beta))
        side = 2 * half + 1
        value = value.reshape(len(x), side, n_nodes, side, n_nodes)
        pixels = np.einsum("niajb,a,b->nij", value, *(weight.astype(np.float32),) * 2)
        return np.asarray(pixels * self._peak(x, y)[:, None, None], dtype=np.float32)

    def density(self, x: float, y: float, dx: Float64, dy: Float64) -> Float64:
        """Flux in a pixel of this frame whose centre lies (dx, dy) from a unit source at (x, y)."""
        place, weight = self.nodes
        m = self.metric(np.array([x]), np.array([y]))[:, 0]
        total = np.zeros(np.broadcast(dx, dy).shape)
        for a, wa in zip(place, weight, strict=True):
            for b, wb in zip(place, weight, strict=True):
                px, py = dx + a, dy + b
                radius = m[0] * px**2 + 2.0 * m[1] * px * py + m[2] * py**2
                total += wa * wb * (1.0 + radius) ** -self.beta
        return np.asarray(total * self._peak(np.array([x]), np.array([y]))[0])

    def reach(self, x: Float64, y: Float64, *, flux: Float64, level: float) -> Float64:
        """Radius [pix] beyond which a source gives less than ``level`` per pixel."""
        size = np.abs(self.shear) + np.abs(self.shear_growth)
        stretch = np.sqrt((1.0 + size) / (1.0 - size))
        excess = np.maximum(flux * self._peak(x, y) / level, 1.0)
        radius = np.sqrt(excess ** (1.0 / self.beta) - 1.0)
        return np.asarray(self.alpha(x, y) * stretch * radius)

    def _peak(self, x: Float64, y: Float64) -> Float64:
        return np.asarray((self.beta - 1.0) / (np.pi * self.alpha(x, y) ** 2))

    def _scaled(self, x: Float64, y: Float64) -> tuple[Float64, Float64]:
        ny, nx = self.shape
        return 2.0 * x / max(nx - 1, 1) - 1.0, 2.0 * y / max(ny - 1, 1) - 1.0


def add_points(
    scene: Float64, psf: MoffatField, *, x: Float64, y: Float64, flux: Float64, level: Float64
) -> None:
    """Add point sources to a scene, in place.

    Parameters
    ----------
    scene : NDArray[float64], shape (ny, nx)
        Electrons per pixel.
    psf : MoffatField
        Of this frame.
    x, y, flux : NDArray[float64], shape (n,)
        Positions [pix] and electrons; positions may lie outside.
    level : NDArray[float64], shape (n,)
        Electrons per pixel below which the wings of each are left out.
    """
    ny, nx = scene.shape
    reach = np.zeros(len(x))
    for value in np.unique(level):
        same = level == value
        reach[same] = psf.reach(x[same], y[same], flux=flux[same], level=float(value))
    slot = np.minimum(np.searchsorted(_HALVES, reach), len(_HALVES) - 1)
    for index, half in enumerate(_HALVES):
        inside = (x > -half - 1) & (x < nx + half) & (y > -half - 1) & (y < ny + half)
        chosen = np.flatnonzero((slot == index) & inside & (flux > 0))
        batch = max(1, _BATCH_PIXELS // ((2 * half + 1) * len(psf.nodes[0])) ** 2)
        for start in range(0, len(chosen), batch):
            part = chosen[start : start + batch]
            stamps = psf.stamps(x[part], y[part], half) * flux[part, None, None].astype(np.float32)
            _add_stamps(scene, stamps, x=x[part], y=y[part])


def _add_stamps(scene: Float64, stamps: Float32, *, x: Float64, y: Float64) -> None:
    ny, nx = scene.shape
    half = stamps.shape[-1] // 2
    columns, rows = np.rint(x).astype(int), np.rint(y).astype(int)
    for stamp, column, row in zip(stamps, columns, rows, strict=True):
        left, bottom = column - half, row - half
        x0, x1 = max(left, 0), min(left + 2 * half + 1, nx)
        y0, y1 = max(bottom, 0), min(bottom + 2 * half + 1, ny)
        if x0 < x1 and y0 < y1:
            scene[y0:y1, x0:x1] += stamp[y0 - bottom : y1 - bottom, x0 - left : x1 - left]


def sersic_points(
    *, half_light: float, index: float, axis_ratio: float, angle: float, n: int
) -> tuple[Float64, Float64]:
    """Points of equal light that stand for a Sersic galaxy, (x, y) about its centre.

    Parameters
    ----------
    half_light : float
        Half-light radius along the major axis, in the units of the answer.
    index : float
        Sersic index.
    axis_ratio, angle : float
        Minor over major axis, and angle of the major axis [rad].
    n : int
        Number of points; each holds 1 / n of the light.

    Notes
    -----
    Radii are the light's quantiles, ``r = r_e (P^-1(2n, q) / b)^n`` with P the regularised
    incomplete gamma function; angles go by the golden angle. The same points serve every
    exposure, so the galaxy is one and the same thing in all of them.
    """
    share = (np.arange(n) + 0.5) / n
    scale = gammaincinv(2.0 * index, 0.5)
    radius = half_light * (gammaincinv(2.0 * index, share) / scale) ** index
    turn = np.arange(n) * _GOLDEN_ANGLE
    major, minor = radius * np.cos(turn), axis_ratio * radius * np.sin(turn)
    cos, sin = np.cos(angle), np.sin(angle)
    return major * cos - minor * sin, major * sin + minor * cos
