"""Small scenes for the light triplet simulator: everything is a sum of Gaussians.

A point source is a mixture of Gaussians, a galaxy another, and a galaxy seen through a PSF is the
mixture of all their sums: a scene is drawn without a Fourier transform, hundreds a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
FloatArray = NDArray[np.float32]

#: Scenes are larger than triplets: the peak that is found need not be where it was put.
SCENE = 79
MIDDLE = (SCENE - 1) / 2
_FWHM_TO_SIGMA = 1.0 / 2.3548
#: Mixture close to an exponential disc: share of the light and width in half-light radii.
_DISC = ((0.25, 0.35), (0.45, 0.75), (0.30, 1.35))
#: And to a bulge: sharper middle, wider wings.
_BULGE = ((0.30, 0.10), (0.35, 0.40), (0.35, 1.60))


@dataclass(frozen=True)
class Psf:
    """Mixture of circular Gaussians, each split in two along one direction.

    Attributes
    ----------
    fwhm : float
        Of the core [pix].
    wing : float
        Share of the light in a Gaussian twice as wide; a fifth as much is in one four times so.
    split_x, split_y : float
        Half the distance of the two halves [pix]: an elongation at any angle.
    """

    fwhm: float
    wing: float = 0.2
    split_x: float = 0.0
    split_y: float = 0.0

    def parts(self) -> list[tuple[float, float, float, float]]:
        """(share, sigma, dx, dy) of the Gaussians."""
        sigma = self.fwhm * _FWHM_TO_SIGMA
        shares = ((1.0 - 1.2 * self.wing, 1.0), (self.wing, 2.0), (0.2 * self.wing, 4.0))
        return [
            (0.5 * share, width * sigma, sign * self.split_x, sign * self.split_y)
            for share, width in shares
            for sign in (-1.0, 1.0)
        ]

    @property
    def peak(self) -> float:
        """Value in the middle of a source of flux 1."""
        return float(
            render_points(self, np.array([MIDDLE]), np.array([MIDDLE]), flux=np.ones(1)).max()
        )


@dataclass(frozen=True)
class Galaxies:
    """Galaxies; arrays of shape (n,).

    Attributes
    ----------
    x, y, flux : NDArray[float64]
        Positions [pix] in the scene and fluxes.
    radius, axis_ratio, angle : NDArray[float64]
        Half-light radius [pix], short over long axis, position angle [rad].
    is_bulge : NDArray[bool]
        Concentrated rather than a disc.
    """

    x: Values
    y: Values
    flux: Values
    radius: Values
    axis_ratio: Values
    angle: Values
    is_bulge: NDArray[np.bool_]


def render_points(psf: Psf, x: Values, y: Values, *, flux: Values) -> FloatArray:
    """Point sources at (x, y) [pix] seen through a PSF; shape (79, 79)."""
    pixels = np.arange(SCENE, dtype=np.float32)
    parts = np.array(psf.parts(), dtype=np.float32)
    share, sigma, dx, dy = parts.T
    centre_x = (x.astype(np.float32)[:, None] + dx).ravel()
    centre_y = (y.astype(np.float32)[:, None] + dy).ravel()
    width = np.broadcast_to(sigma, (len(x), len(sigma))).ravel()
    amplitude = (flux.astype(np.float32)[:, None] * share).ravel() / (2 * np.pi * width**2)
    across = np.exp(-0.5 * ((pixels - centre_x[:, None]) / width[:, None]) ** 2)
    along = np.exp(-0.5 * ((pixels - centre_y[:, None]) / width[:, None]) ** 2)
    return np.asarray((along * amplitude[:, None]).T @ across, dtype=np.float32)


def render_galaxies(psf: Psf, galaxies: Galaxies) -> FloatArray:
    """Galaxies seen through a PSF; shape (79, 79)."""
    image = np.zeros((SCENE, SCENE), dtype=np.float32)
    grid_y, grid_x = np.mgrid[:SCENE, :SCENE].astype(np.float32)
    core = (psf.fwhm * _FWHM_TO_SIGMA) ** 2 * (1.0 + 3.0 * psf.wing)
    for i in range(len(galaxies.x)):
        cos, sin = np.cos(galaxies.angle[i]), np.sin(galaxies.angle[i])
        u = cos * (grid_x - galaxies.x[i]) + sin * (grid_y - galaxies.y[i])
        v = cos * (grid_y - galaxies.y[i]) - sin * (grid_x - galaxies.x[i])
        for share, width in _BULGE if galaxies.is_bulge[i] else _DISC:
            major = (width * galaxies.radius[i]) ** 2 + core
            minor = (width * galaxies.radius[i] * galaxies.axis_ratio[i]) ** 2 + core
            amplitude = share * galaxies.flux[i] / (2 * np.pi * np.sqrt(major * minor))
            image += (amplitude * np.exp(-0.5 * (u * u / major + v * v / minor))).astype(np.float32)
    return image


def draw_galaxies(rng: np.random.Generator, n: int, *, psf: Psf) -> Galaxies:
    """Galaxies over the scene, in units of the sky's noise per pixel."""
    radius = psf.fwhm * np.exp(rng.uniform(np.log(0.4), np.log(2.5), n))
    # surface brightness in the middle from a noise to hundreds, faint ones far more often
    brightness = np.exp(rng.exponential(1.5, n)) * 1.5
    return Galaxies(
        x=rng.uniform(0, SCENE - 1, n),
        y=rng.uniform(0, SCENE - 1, n),
        flux=np.minimum(brightness, 800.0) * 2 * np.pi * (radius**2 + psf.fwhm**2 / 5.5),
        radius=radius,
        axis_ratio=rng.uniform(0.25, 1.0, n),
        angle=rng.uniform(0, np.pi, n),
        is_bulge=rng.random(n) < 0.4,
    )


def draw_psf(rng: np.random.Generator, fwhm: float, *, elongation: float = 0.15) -> Psf:
    """A PSF of a given width, with wings and an elongation at random."""
    angle, size = rng.uniform(0, np.pi), abs(rng.normal(0.0, elongation)) * fwhm
    return Psf(
        fwhm=fwhm,
        wing=float(rng.uniform(0.05, 0.4)),
        split_x=float(size * np.cos(angle)),
        split_y=float(size * np.sin(angle)),
    )


@dataclass(frozen=True)
class Sky:
    """One camera, field and subtraction.

    Attributes
    ----------
    psf, reference_psf, matched_psf : Psf
        Of the science frame, of the reference, and what the reference is convolved to.
    reference_noise : float
        Noise of the reference in units of the science frame's.
    shot : float
        Variance that a unit of signal adds.
    shift : tuple of float
        Error of registration (x, y) [pix].
    flux_error : float
        Fractional error of the reference's flux scale.
    star_density : float
        Mean number of stars in a scene.
    resampling : float
        Width of the smoothing that registration gave the template [pix].
    whitening : float
        Sigma of a last smoothing of the difference [pix]; 0 for none.
    ringing : float
        Strength of a last sharpening of the difference, which leaves rings; 0 for none.
    shows_matched : bool
        Whether the template plane is the convolved reference.
    full_well : float
        Level at which stars saturate.
    """

    psf: Psf
    reference_psf: Psf
    matched_psf: Psf
    reference_noise: float
    shot: float
    shift: tuple[float, float]
    flux_error: float
    star_density: float
    resampling: float
    whitening: float
    ringing: float
    shows_matched: bool
    full_well: float


def draw_sky(rng: np.random.Generator) -> Sky:
    """A camera, a night and a subtraction: one group of triplets shares them."""
    fwhm = float(np.exp(rng.normal(np.log(2.8), 0.45)))
    fwhm = float(np.clip(fwhm, 1.3, 9.0))
    psf = draw_psf(rng, fwhm, elongation=0.12)
    reference_psf = draw_psf(rng, fwhm * float(np.exp(rng.normal(-0.08, 0.18))), elongation=0.08)
    width_error = float(rng.normal(0.0, np.exp(rng.uniform(np.log(0.003), np.log(0.08)))))
    matched = Psf(
        fwhm=fwhm * (1.0 + width_error),
        wing=float(np.clip(psf.wing + rng.normal(0.0, 0.02), 0.0, 0.6)),
        split_x=psf.split_x * float(rng.uniform(0.6, 1.2)),
        split_y=psf.split_y * float(rng.uniform(0.6, 1.2)),
    )
    error = float(np.exp(rng.uniform(np.log(0.01), np.log(0.5)))) * fwhm / 2.5
    return Sky(
        psf=psf,
        reference_psf=reference_psf,
        matched_psf=matched,
        reference_noise=float(np.exp(rng.uniform(np.log(0.12), np.log(1.1)))),
        shot=float(np.exp(rng.uniform(np.log(0.003), np.log(0.3)))),
        shift=(float(rng.normal(0.0, error)), float(rng.normal(0.0, error))),
        flux_error=float(rng.normal(0.0, np.exp(rng.uniform(np.log(0.002), np.log(0.03))))),
        star_density=float(np.exp(rng.uniform(np.log(1.0), np.log(60.0)))),
        resampling=float(rng.uniform(0.25, 0.6)),
        whitening=float(rng.choice([0.0, rng.uniform(0.4, 0.9)], p=[0.7, 0.3])),
        ringing=float(rng.choice([0.0, rng.uniform(0.3, 1.5)], p=[0.7, 0.3])),
        shows_matched=bool(rng.random() < 0.35),
        full_well=float(np.exp(rng.uniform(np.log(300.0), np.log(20000.0)))),
    )
