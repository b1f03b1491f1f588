"""One exposure of a sky: its PSF, its light, its background, and the frame that comes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine import detector
from benchmarks.engine.detector import READ_NOISE, Frame
from benchmarks.engine.light import MoffatField, add_points
from benchmarks.engine.regimes import Epoch
from benchmarks.engine.sky import PixelMap, Sky

Float64 = NDArray[np.float64]

#: Light per pixel left out of the wings, in units of the sky's noise.
WING_LEVEL = 0.01


@dataclass(frozen=True)
class Exposed:
    """One frame with what was drawn on it [electrons]."""

    psf: MoffatField
    light: Float64
    sky: Float64
    frame: Frame

    @property
    def variance(self) -> Float64:
        """Expected variance per pixel without transients [electrons^2]."""
        return self.light + self.sky + READ_NOISE**2


def empty_frame(shape: tuple[int, int]) -> Frame:
    nothing = np.zeros(shape, dtype=bool)
    return Frame(data=np.zeros(shape, dtype=np.float32), bad=nothing, saturated=nothing)


def draw_psf(epoch: Epoch, shape: tuple[int, int], rng: np.random.Generator) -> MoffatField:
    """Width changes by a few per cent over the frame, shear by a few hundredths."""
    growth = rng.normal(0.0, 0.015, 3)
    turn = np.exp(1j * rng.uniform(0.0, 2.0 * np.pi))
    return MoffatField(
        shape=shape,
        fwhm_pix=epoch.fwhm_arcsec / epoch.pixel_arcsec,
        beta=epoch.beta,
        shear=epoch.shear,
        growth=(float(growth[0]), float(growth[1]), float(abs(growth[2]))),
        shear_growth=complex(0.015 * turn),
    )


def draw_background(epoch: Epoch, shape: tuple[int, int]) -> Float64:
    ny, nx = shape
    v, u = np.meshgrid(np.linspace(-1, 1, ny), np.linspace(-1, 1, nx), indexing="ij")
    a, b, bowl = epoch.gradient
    level = epoch.sky_rate * epoch.exposure_s * epoch.pixel_arcsec**2
    return np.asarray(level * (1.0 + a * u + b * v + bowl * (u**2 + v**2)))


def draw_light(epoch: Epoch, psf: MoffatField, sky: Sky, *, where: PixelMap) -> Float64:
    """Electrons of stars and galaxies."""
    scene = np.zeros(psf.shape)
    level = WING_LEVEL * np.sqrt(epoch.sky_rate * epoch.exposure_s) * epoch.pixel_arcsec
    for east, north, rate, share in (
        (sky.star_east, sky.star_north, sky.star_rate, np.ones(len(sky.star_east))),
        (sky.cloud_east, sky.cloud_north, sky.cloud_rate, sky.cloud_share),
    ):
        x, y = where.to_pixel(east, north)
        add_points(scene, psf, x=x, y=y, flux=rate * epoch.response, level=level * share)
    return scene


def expose(
    epoch: Epoch, psf: MoffatField, sky: Sky, *, where: PixelMap, rng: np.random.Generator
) -> Exposed:
    light = draw_light(epoch, psf, sky, where=where)
    background = draw_background(epoch, psf.shape)
    return Exposed(psf, light, background, detector.expose(light + background, rng))
