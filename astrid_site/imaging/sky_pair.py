"""Two simulated exposures of one field with transients of known flux: the ruler of differencing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from astropy.table import Table

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import is_bad
from astrid_site.imaging.psf import PsfField
from astrid_site.imaging.sky_detector import Camera, Exposure, draw_bad_columns, expose
from astrid_site.imaging.sky_geometry import PlaneMap, plane_map, tan_wcs
from astrid_site.imaging.sky_noise import (
    Seen,
    difference_snr,
    flux_for_snr,
    local_pixels,
    seen_at,
)
from astrid_site.imaging.sky_psf import Float32, Float64, MoffatField, draw_moffat_field
from astrid_site.imaging.sky_scene import (
    add_galaxies,
    add_points,
    add_stars,
    sky_surface,
)
from astrid_site.imaging.sky_sources import SkyPopulation, StaticSky, draw_static_sky

_ZERO_POINT = 26.5
_FIELD_CENTRE = (150.1, 2.2)
_SEPARATION_PIX = 24.0
_EXPOSURE_S = 100.0
_WING_LEVEL = 0.2


@dataclass(frozen=True)
class PairConfig:
    """Two exposures of one field.

    Attributes
    ----------
    shape, reference_shape : tuple of int
        (ny, nx) of the science frame, and of the reference (None: the same).
    star_density_per_mpix, galaxy_density_per_mpix, transient_density_per_mpix : float
        Numbers per million science pixels.
    star_mag_range : tuple of float
        Bright and faint limits [AB mag] at zero point 26.5; stars brighter than about 12 saturate.
    reference_fwhm_pix, science_fwhm_pix : float
        Moffat FWHM, each in its own frame's pixels.
    psf_variation, ellipticity : float
        Fractional change of the FWHM over a frame, and the size of the ellipticity.
    reference_sky, science_sky : float
        Sky level [adu] at the frame centre.
    flux_ratio : float
        Science over reference response: a source of reference flux 1 has this science flux.
    pixel_scale_arcsec, pixel_scale_ratio : float
        Science pixel, and reference pixel over science pixel.
    rotation_deg, shift_pix : float, tuple of float
        Turn of the reference against the science frame, and (x, y) shift of its centre
        [reference pixels].
    wcs_error_pix : float
        Size of the random error of each header WCS, each axis [pixels].
    transient_snr : tuple of float
        Range of the ideal S/N in the science frame, spread evenly in its logarithm.
    host_fraction : float
        Share of the transients that sit on galaxies; the others are placed at random.
    camera : Camera
        The detector of both frames.
    """

    seed: int = 1
    shape: tuple[int, int] = (512, 512)
    reference_shape: tuple[int, int] | None = None
    star_density_per_mpix: float = 2000.0
    galaxy_density_per_mpix: float = 150.0
    transient_density_per_mpix: float = 80.0
    star_mag_range: tuple[float, float] = (12.0, 21.0)
    reference_fwhm_pix: float = 2.6
    science_fwhm_pix: float = 3.2
    psf_variation: float = 0.04
    ellipticity: float = 0.03
    reference_sky: float = 300.0
    science_sky: float = 400.0
    flux_ratio: float = 0.9
    pixel_scale_arcsec: float = 1.0
    pixel_scale_ratio: float = 1.0
    rotation_deg: float = 0.0
    shift_pix: tuple[float, float] = (0.0, 0.0)
    wcs_error_pix: float = 0.0
    transient_snr: tuple[float, float] = (3.0, 50.0)
    host_fraction: float = 0.5
    camera: Camera = field(default_factory=Camera)


@dataclass(frozen=True)
class SimulatedPair:
    """Two frames as a camera gives them, and the truth about them.

    Attributes
    ----------
    reference, science : Image
        Counts with sky [adu], true mask, header WCS; no variance and no PSF.
    reference_psf, science_psf : PsfField
        True PSFs.
    reference_variance, science_variance : NDArray[float32]
        True variances [adu^2].
    reference_sky, science_sky : NDArray[float32]
        True sky levels [adu].
    flux_ratio : float
        Science flux of a source of reference flux 1.
    truth : astropy.table.Table
        Transients, absent from the reference: transient_id, kind, x, y (science pixels),
        x_reference, y_reference, ra, dec, flux_adu, snr_ideal (in the science frame alone, noise
        of the transient, host and sky), snr_difference (in the best difference of the two),
        host ("galaxy" or "none"), nearest_star_pix, masked.
    """

    reference: Image
    science: Image
    reference_psf: PsfField
    science_psf: PsfField
    reference_variance: Float32
    science_variance: Float32
    reference_sky: Float32
    science_sky: Float32
    flux_ratio: float
    truth: Table

    def calibrated_reference(self) -> Image:
        """The reference with true sky removed, true variance and true PSF."""
        return _calibrated(
            self.reference, self.reference_sky, self.reference_variance, psf=self.reference_psf
        )

    def calibrated_science(self) -> Image:
        """The science frame with true sky removed, true variance and true PSF."""
        return _calibrated(
            self.science, self.science_sky, self.science_variance, psf=self.science_psf
        )


def _calibrated(image: Image, sky: Float32, variance: Float32, *, psf: PsfField) -> Image:
    data = np.where(is_bad(image.mask), np.float32(0.0), image.data - sky)
    return image.with_(data=data, variance=variance, psf=psf)


def simulate_pair(config: PairConfig) -> SimulatedPair:
    """Expose one field twice and put transients into the second exposure.

    Parameters
    ----------
    config : PairConfig
        With ``rotation_deg`` 0, ``shift_pix`` (0, 0), ``pixel_scale_ratio`` 1 and no
        ``reference_shape`` the frames share one grid.

    Returns
    -------
    SimulatedPair
        The same for the same configuration.
    """
    rng = np.random.default_rng([config.seed, 77])
    reference_map, science_map = _maps(config)
    sky = _pair_sky(config, rng)
    reference_psf, science_psf = _psfs(config, rng)
    science_zero_point = _ZERO_POINT + 2.5 * float(np.log10(config.flux_ratio))
    reference_scene, reference_sky = _scene(
        sky, reference_psf, reference_map, zero_point=_ZERO_POINT, sky_level=config.reference_sky
    )
    scene, science_sky = _scene(
        sky, science_psf, science_map, zero_point=science_zero_point, sky_level=config.science_sky
    )
    truth = _place_transients(config, rng, sky, where=science_map, psf=science_psf, scene=scene)
    x, y, flux = (np.asarray(truth[name]) for name in ("x", "y", "flux_adu"))
    add_points(scene, science_psf, x=x, y=y, flux=flux, level=_WING_LEVEL)
    reference_exposure = _expose(reference_scene, config.camera, rng)
    exposure = _expose(scene, config.camera, rng)
    truth["x_reference"], truth["y_reference"] = reference_map.to_pixel(*science_map.to_plane(x, y))
    truth["ra"], truth["dec"] = tan_wcs(science_map, centre=_FIELD_CENTRE).all_pix2world(x, y, 0)
    truth["snr_difference"] = difference_snr(
        flux,
        seen_at(
            science_psf,
            x=x,
            y=y,
            variance=local_pixels(exposure.variance, x=x, y=y),
            response=1.0,
        ),
        [_reference_seen(config, reference_psf, reference_exposure, truth=truth)],
    )
    truth["masked"] = is_bad(exposure.mask)[np.rint(y).astype(int), np.rint(x).astype(int)]
    return SimulatedPair(
        reference=_frame(
            reference_exposure, config, rng, where=reference_map, zero_point=_ZERO_POINT
        ),
        science=_frame(exposure, config, rng, where=science_map, zero_point=science_zero_point),
        reference_psf=reference_psf.to_psf_field(),
        science_psf=science_psf.to_psf_field(),
        reference_variance=reference_exposure.variance,
        science_variance=exposure.variance,
        reference_sky=reference_sky.astype(np.float32),
        science_sky=science_sky.astype(np.float32),
        flux_ratio=config.flux_ratio,
        truth=truth,
    )


def _reference_seen(
    config: PairConfig, psf: MoffatField, exposure: Exposure, *, truth: Table
) -> Seen:
    """The reference under the transients, on pixels of the science frame's size."""
    ratio = config.pixel_scale_ratio
    x, y = np.asarray(truth["x_reference"]), np.asarray(truth["y_reference"])
    return seen_at(
        replace(psf, fwhm_terms=tuple(ratio * term for term in psf.fwhm_terms)),
        x=x,
        y=y,
        # the same photons over other pixels: variance goes with their area
        variance=local_pixels(exposure.variance, x=x, y=y) / ratio**2,
        response=1.0 / config.flux_ratio,
    )


def _reference_shape(config: PairConfig) -> tuple[int, int]:
    return config.reference_shape or config.shape


def _maps(config: PairConfig) -> tuple[PlaneMap, PlaneMap]:
    (ny, nx), (reference_ny, reference_nx) = config.shape, _reference_shape(config)
    scale = config.pixel_scale_arcsec
    reference_origin = (
        (reference_nx - 1) / 2 + config.shift_pix[0],
        (reference_ny - 1) / 2 + config.shift_pix[1],
    )
    return (
        plane_map(
            scale * config.pixel_scale_ratio,
            rotation_deg=config.rotation_deg,
            origin=reference_origin,
        ),
        plane_map(scale, rotation_deg=0.0, origin=((nx - 1) / 2, (ny - 1) / 2)),
    )


def _psfs(config: PairConfig, rng: np.random.Generator) -> tuple[MoffatField, MoffatField]:
    reference, science = (
        draw_moffat_field(
            rng,
            shape=shape,
            fwhm_pix=fwhm,
            beta=float(rng.uniform(3.0, 4.0)),
            variation=config.psf_variation,
            ellipticity=config.ellipticity,
        )
        for shape, fwhm in (
            (_reference_shape(config), config.reference_fwhm_pix),
            (config.shape, config.science_fwhm_pix),
        )
    )
    return reference, science


def _expose(scene: Float64, camera: Camera, rng: np.random.Generator) -> Exposure:
    shape = (int(scene.shape[0]), int(scene.shape[1]))
    bad_columns = draw_bad_columns(rng, camera, shape=shape)
    return expose(scene, camera, exposure_s=_EXPOSURE_S, bad_columns=bad_columns, rng=rng)


def _pair_sky(config: PairConfig, rng: np.random.Generator) -> StaticSky:
    """Sources over both frames' circles, so that a turned reference has no empty corners."""
    scale = config.pixel_scale_arcsec
    science = float(np.hypot(*config.shape)) / 2 * scale
    reference = float(np.hypot(*_reference_shape(config))) / 2 * scale * config.pixel_scale_ratio
    shift = float(np.hypot(*config.shift_pix)) * scale * config.pixel_scale_ratio
    half = max(science, reference + shift) + 20.0 * scale
    mpix = (2 * half / scale) ** 2 / 1e6
    population = SkyPopulation(
        half_width_arcsec=(half, half),
        n_stars=int(config.star_density_per_mpix * mpix),
        n_galaxies=int(config.galaxy_density_per_mpix * mpix),
        star_mag_range=config.star_mag_range,
        half_light_arcsec=1.8 * scale,
    )
    return draw_static_sky(rng, population)


def _scene(
    sky: StaticSky, psf: MoffatField, where: PlaneMap, *, zero_point: float, sky_level: float
) -> tuple[Float64, Float64]:
    background = sky_surface(psf.shape, level=sky_level, gradient=(0.04, -0.03), bowl=0.01)
    scene = background.copy()
    add_stars(scene, psf, sky, where=where, zero_point=zero_point)
    add_galaxies(scene, psf, sky, where=where, zero_point=zero_point)
    # rounding in the galaxies' transforms must not push the sky below zero
    return np.maximum(scene, 0.0), background


def _frame(
    exposure: Exposure,
    config: PairConfig,
    rng: np.random.Generator,
    *,
    where: PlaneMap,
    zero_point: float,
) -> Image:
    error = rng.normal(0.0, 1.0, 2) * config.wcs_error_pix
    believed = PlaneMap(where.matrix, (where.origin[0] + error[0], where.origin[1] + error[1]))
    ny, nx = exposure.data.shape
    wcs = tan_wcs(believed, centre=_FIELD_CENTRE)
    wcs.array_shape = (ny, nx)
    return Image(
        data=exposure.data,
        mask=exposure.mask,
        wcs=wcs,
        gain=config.camera.gain,
        read_noise=config.camera.read_noise,
        saturation=config.camera.saturation,
        zero_point=zero_point,
        exposure_s=_EXPOSURE_S,
    )


def _place_transients(
    config: PairConfig,
    rng: np.random.Generator,
    sky: StaticSky,
    *,
    where: PlaneMap,
    psf: MoffatField,
    scene: Float64,
) -> Table:
    """Choose positions and the fluxes that give the wanted S/N there."""
    ny, nx = config.shape
    wanted = round(config.transient_density_per_mpix * ny * nx / 1e6)
    x, y, hosted = _positions(config, rng, sky, where=where, wanted=wanted)
    n = len(x)
    low, high = np.log(config.transient_snr)
    # even steps, then shuffled: every S/N is met even with few transients
    target = np.exp(rng.permutation(np.linspace(low, high, n)))
    flux = flux_for_snr(target, x=x, y=y, psf=psf, scene=scene, camera=config.camera)
    star_x, star_y = where.to_pixel(sky.star_xi, sky.star_eta)
    nearest = [np.hypot(star_x - x[i], star_y - y[i]).min(initial=np.inf) for i in range(n)]
    return Table(
        {
            "transient_id": np.arange(n),
            "kind": np.full(n, "transient"),
            "x": x,
            "y": y,
            "flux_adu": flux,
            "snr_ideal": target,
            "host": np.where(hosted, "galaxy", "none"),
            "nearest_star_pix": np.array(nearest, dtype=np.float64),
        }
    )


def _positions(
    config: PairConfig,
    rng: np.random.Generator,
    sky: StaticSky,
    *,
    where: PlaneMap,
    wanted: int,
) -> tuple[Float64, Float64, Float64]:
    """Positions apart from each other and from the border, a share of them on galaxies."""
    ny, nx = config.shape
    galaxy_x, galaxy_y = where.to_pixel(sky.galaxy_xi, sky.galaxy_eta)
    order = rng.permutation(len(galaxy_x))
    size = np.sqrt(np.trace(sky.galaxy_shape, axis1=1, axis2=2)) / config.pixel_scale_arcsec
    angle, radius = rng.uniform(0, 2 * np.pi, order.size), rng.uniform(0.2, 1.2, order.size)
    hosts = np.stack([galaxy_x, galaxy_y]) + size * radius * np.stack(
        [np.cos(angle), np.sin(angle)]
    )
    blank = np.stack([rng.uniform(0, nx, 40 * wanted + 40), rng.uniform(0, ny, 40 * wanted + 40)])
    kept: list[tuple[float, float, bool]] = []
    n_hosted = round(config.host_fraction * wanted)
    for points, is_host, limit in ((hosts[:, order], True, n_hosted), (blank, False, wanted)):
        for x, y in points.T:
            apart = all(np.hypot(x - u, y - v) > _SEPARATION_PIX for u, v, _ in kept)
            if len(kept) < limit and apart and 20 < x < nx - 21 and 20 < y < ny - 21:
                kept.append((float(x), float(y), is_host))
    columns = np.array(kept, dtype=np.float64).reshape(-1, 3)
    return columns[:, 0], columns[:, 1], columns[:, 2]
