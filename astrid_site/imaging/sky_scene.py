"""Noise-free pixels of a simulated field: points, galaxies and sky."""

from __future__ import annotations

import numpy as np

from astrid_site.imaging.sky_geometry import PlaneMap
from astrid_site.imaging.sky_psf import Float32, Float64, MoffatField, chunks, radial_lookup
from astrid_site.imaging.sky_sources import (
    SERSIC_INDICES,
    StaticSky,
    sersic_transform,
    truncation_radii,
)

_OVERSAMPLING = 2


def add_stars(
    canvas: Float64, psf: MoffatField, sky: StaticSky, *, where: PlaneMap, zero_point: float
) -> None:
    """Add the stars of a field to ``canvas`` in place."""
    x, y = where.to_pixel(sky.star_xi, sky.star_eta)
    flux = 10 ** (-0.4 * (sky.star_mag - zero_point))
    ny, nx = canvas.shape
    near = (x > -80) & (x < nx + 80) & (y > -80) & (y < ny + 80)
    add_points(canvas, psf, x=x[near], y=y[near], flux=flux[near], level=0.2)


def add_points(
    canvas: Float64, psf: MoffatField, *, x: Float64, y: Float64, flux: Float64, level: float
) -> None:
    """Add point sources to ``canvas`` in place.

    Parameters
    ----------
    canvas : NDArray[float64], shape (ny, nx)
        Changed here.
    psf : MoffatField
        The PSF of the frame.
    x, y, flux : NDArray[float64], shape (n,)
        Positions, 0-based, and total fluxes; sources beyond the border still send their wings.
    level : float
        Wings fainter than this per pixel may be left out [flux units].
    """
    halves = psf.half_width(flux, level=level)
    for half in np.unique(halves):
        chosen = np.flatnonzero(halves == half)
        for part in chunks(len(chosen), half=int(half)):
            which = chosen[part]
            images = psf.cutouts(x[which], y[which], half=int(half))
            images *= flux[which].astype(np.float32)[:, None, None]
            _scatter(canvas, images, x=x[which], y=y[which])


def _scatter(canvas: Float64, images: Float32, *, x: Float64, y: Float64) -> None:
    """Add cutouts centred on the nearest pixels, clipped at the border."""
    ny, nx = canvas.shape
    half = images.shape[-1] // 2
    columns, rows = np.rint(x).astype(int) - half, np.rint(y).astype(int) - half
    size = images.shape[-1]
    for image, left, bottom in zip(images, columns, rows, strict=True):
        x0, x1 = max(left, 0), min(left + size, nx)
        y0, y1 = max(bottom, 0), min(bottom + size, ny)
        if x0 < x1 and y0 < y1:
            canvas[y0:y1, x0:x1] += image[y0 - bottom : y1 - bottom, x0 - left : x1 - left]


def add_galaxies(
    canvas: Float64, psf: MoffatField, sky: StaticSky, *, where: PlaneMap, zero_point: float
) -> None:
    """Add the galaxies of a field to ``canvas`` in place, convolved with the local PSF.

    Notes
    -----
    Sersic profile, PSF and pixel are multiplied as analytic transforms on a grid of half
    pixels, so that position, turn and seeing of an epoch leave the galaxy itself unchanged.
    """
    x, y = where.to_pixel(sky.galaxy_xi, sky.galaxy_eta)
    shapes = where.matrix @ sky.galaxy_shape @ where.matrix.T
    flux = 10 ** (-0.4 * (sky.galaxy_mag - zero_point))
    size = np.sqrt(np.trace(shapes, axis1=1, axis2=2))
    reach = size * truncation_radii(sky.galaxy_index)[1] + 5 * psf.fwhm_pix
    halves = (np.ceil(reach / 12) * 12).astype(int)
    ny, nx = canvas.shape
    near = (x > -halves) & (x < nx + halves) & (y > -halves) & (y < ny + halves)
    for index in SERSIC_INDICES:
        for half in np.unique(halves[near]):
            chosen = np.flatnonzero(near & (halves == half) & (sky.galaxy_index == index))
            for part in chunks(len(chosen), half=int(half)):
                which = chosen[part]
                images = _galaxy_images(
                    psf, x=x[which], y=y[which], shapes=shapes[which], index=index, half=int(half)
                )
                images *= flux[which, None, None]
                _scatter(canvas, images.astype(np.float32), x=x[which], y=y[which])


def _galaxy_images(
    psf: MoffatField, *, x: Float64, y: Float64, shapes: Float64, index: float, half: int
) -> Float64:
    n = 2 * half + 2
    fine = n * _OVERSAMPLING
    kx: Float64 = (2 * np.pi * np.fft.rfftfreq(fine, d=1 / _OVERSAMPLING)).astype(np.float64)
    ky: Float64 = (2 * np.pi * np.fft.fftfreq(fine, d=1 / _OVERSAMPLING)).astype(np.float64)
    product = radial_lookup(sersic_transform(index), shapes, kx=kx, ky=ky)
    product *= psf.transform(x, y, kx=kx, ky=ky)
    product *= np.sinc(kx / (2 * np.pi))[None, None, :] * np.sinc(ky / (2 * np.pi))[None, :, None]
    shift_x, shift_y = x - np.rint(x) + half, y - np.rint(y) + half
    phase_x = np.exp(-1j * kx[None, :] * shift_x[:, None])[:, None, :]
    phase_y = np.exp(-1j * ky[None, :] * shift_y[:, None])[:, :, None]
    images = np.fft.irfft2(product * phase_x * phase_y, s=(fine, fine)) * _OVERSAMPLING**2
    step = _OVERSAMPLING
    return np.asarray(images[:, ::step, ::step][:, : n - 1, : n - 1], dtype=np.float64)


def sky_surface(
    shape: tuple[int, int], *, level: float, gradient: tuple[float, float], bowl: float
) -> Float64:
    """Sky level over a frame [adu]: a plane and a bowl, as fractions of the central level."""
    ny, nx = shape
    v, u = np.linspace(-1, 1, ny)[:, None], np.linspace(-1, 1, nx)[None, :]
    return np.asarray(level * (1 + gradient[0] * u + gradient[1] * v + bowl * (u**2 + v**2)))
