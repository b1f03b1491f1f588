"""What a simulated survey looks at: fields with their transients, and each exposure's night."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from astrid_site.imaging.sky_detector import Camera
from astrid_site.imaging.sky_geometry import PlaneMap, plane_map
from astrid_site.imaging.sky_light_curves import (
    SupernovaShape,
    VariableShape,
    draw_supernova_shape,
    draw_variable_shape,
)
from astrid_site.imaging.sky_noise import flux_for_snr
from astrid_site.imaging.sky_psf import Float64, MoffatField, draw_moffat_field
from astrid_site.imaging.sky_sources import SkyPopulation, StaticSky, draw_static_sky

#: Zero point of a one-second exposure at the zenith through a clear sky [AB mag].
ZERO_POINT_1S = 21.32
NOMINAL_EXPOSURE_S = 120.0
NOMINAL_ZERO_POINT = ZERO_POINT_1S + 2.5 * float(np.log10(NOMINAL_EXPOSURE_S))
_NOMINAL_SKY_ADU = 420.0
_EXTINCTION_MAG_PER_AIRMASS = 0.09
_SKY_ADU_PER_S = 3.0
#: Stars brighter than this saturate in most epochs; supernovae keep off them.
_SATURATING_MAG = 13.6
_SATURATION_RADIUS_PIX = 30.0
_HOSTLESS_SHARE = 0.1
# the first field straddles RA 0, where naive box searches break
_CENTRES = ((0.02, 4.5), (150.1, 2.2), (214.9, 52.8), (53.1, -27.8))


@dataclass(frozen=True)
class SkyConfig:
    """A simulated survey.

    Attributes
    ----------
    seed : int
        Everything follows from it.
    n_fields, n_epochs : int
        Fields, and exposures of each.
    shape : tuple of int
        (ny, nx) of every frame.
    pixel_scale_arcsec : float
        Arcseconds per pixel.
    band : str
        Name of the filter.
    star_density_per_mpix, galaxy_density_per_mpix : float
        Numbers per million pixels.
    supernovae_per_field, variables_per_field : int
        Numbers in each field.
    asteroids_per_field : int
        Asteroids in each exposure after the template epochs, new ones every time.
    n_template_epochs : int
        First epochs, before every explosion and free of asteroids: a coadd of two exposures
        cannot reject a moving source, so a clean reference needs clean epochs. They are two
        to four times as long as the others.
    cadence_days : float
        Mean interval of the epochs after the template epochs.
    seeing_range_pix : tuple of float
        Range of the Moffat FWHM; template epochs take the better half of it.
    peak_snr_range : tuple of float
        Nominal S/N of the supernovae at peak, spread evenly in its logarithm.
    wcs_offset_arcsec : tuple of float
        Constant error of the header WCS (east, north); 0.3 arcsec in all.
    wcs_error_pix : float
        Random error of the header WCS of each exposure, each axis.
    zero_point_error_mag : float
        Random error of the header zero point of each exposure.
    satellites_per_frame : float
        Mean number of satellites that cross each exposure; none by default.
    satellite_sigma_range : tuple of float
        Range of the height of their trails over the noise of a sky pixel, even in its logarithm.
    camera : Camera
        The detector.
    """

    seed: int = 1
    n_fields: int = 3
    n_epochs: int = 6
    shape: tuple[int, int] = (1024, 1024)
    pixel_scale_arcsec: float = 1.0
    band: str = "r"
    star_density_per_mpix: float = 600.0
    galaxy_density_per_mpix: float = 150.0
    supernovae_per_field: int = 10
    variables_per_field: int = 5
    asteroids_per_field: int = 3
    n_template_epochs: int = 2
    cadence_days: float = 10.0
    seeing_range_pix: tuple[float, float] = (2.3, 3.6)
    peak_snr_range: tuple[float, float] = (6.0, 60.0)
    wcs_offset_arcsec: tuple[float, float] = (0.24, -0.18)
    wcs_error_pix: float = 0.05
    zero_point_error_mag: float = 0.01
    satellites_per_frame: float = 0.0
    satellite_sigma_range: tuple[float, float] = (1.0, 30.0)
    camera: Camera = field(default_factory=Camera)

    def __post_init__(self) -> None:
        for name in ("n_fields", "n_epochs", "n_template_epochs"):
            if getattr(self, name) < 1:
                msg = f"{name}: at least 1 is needed, got {getattr(self, name)}"
                raise ValueError(msg)
        if min(self.shape) < 128:
            msg = f"shape: at least 128 pixels each way are needed, got {self.shape}"
            raise ValueError(msg)


@dataclass(frozen=True)
class Night:
    """Conditions of one exposure.

    Attributes
    ----------
    mjd : float
        Start of the exposure.
    exposure_s, airmass, zero_point, sky_adu : float
        Exposure [s], airmass, true AB zero point, and sky at the centre of the frame [adu].
    sky_gradient, sky_bowl : tuple of float, float
        Shape of the sky as fractions of its level.
    psf : MoffatField
        True PSF.
    where : PlaneMap
        True map from the field's tangent plane to pixels.
    """

    mjd: float
    exposure_s: float
    airmass: float
    zero_point: float
    sky_adu: float
    sky_gradient: tuple[float, float]
    sky_bowl: float
    psf: MoffatField
    where: PlaneMap

    @property
    def mid_mjd(self) -> float:
        """Middle of the exposure."""
        return self.mjd + self.exposure_s / 2 / 86400


@dataclass(frozen=True)
class Supernova:
    """A supernova: place [arcsec on the tangent plane], explosion, peak and host (-1: none)."""

    xi: float
    eta: float
    explosion_mjd: float
    peak_mag: float
    shape: SupernovaShape
    host: int


@dataclass(frozen=True)
class Variable:
    """A variable star: place [arcsec on the tangent plane], mean magnitude and light curve."""

    xi: float
    eta: float
    mean_mag: float
    shape: VariableShape


@dataclass(frozen=True)
class Field:
    """One field: its centre (ra, dec) [deg], what stands still in it and what varies."""

    name: str
    centre: tuple[float, float]
    sky: StaticSky
    supernovae: tuple[Supernova, ...]
    variables: tuple[Variable, ...]


def epoch_mjd(config: SkyConfig, epoch: int) -> float:
    """Start of an epoch, the same for all fields: templates 3 days apart, then the cadence."""
    rng = np.random.default_rng([config.seed, 11, epoch])
    n = config.n_template_epochs
    days = 3.0 * min(epoch, n - 1) + config.cadence_days * max(epoch - n + 1, 0)
    return 60310.2 + days + float(rng.uniform(-0.1, 0.1))


def draw_night(config: SkyConfig, *, field_index: int, epoch: int) -> Night:
    """Seeing, depth, sky and pointing of one exposure."""
    rng = np.random.default_rng([config.seed, 12, field_index, epoch])
    is_template = epoch < config.n_template_epochs
    # a reference is deeper than what it is taken from, or it would cost a quarter of the S/N
    exposure = float(np.round(rng.uniform(*((300, 360) if is_template else (80, 170)))))
    airmass, transparency = float(rng.uniform(1.0, 1.8)), float(rng.uniform(0.85, 1.0))
    extinction = _EXTINCTION_MAG_PER_AIRMASS * (airmass - 1.0)
    low, high = config.seeing_range_pix
    top = (low + high) / 2 if is_template else high
    ny, nx = config.shape
    dither = min(30.0, min(config.shape) / 20)
    origin = np.array([(nx - 1) / 2, (ny - 1) / 2]) + rng.uniform(-dither, dither, 2)
    return Night(
        # fields are taken one after the other
        mjd=epoch_mjd(config, epoch) + field_index * 0.004,
        exposure_s=exposure,
        airmass=airmass,
        zero_point=ZERO_POINT_1S + 2.5 * float(np.log10(exposure * transparency)) - extinction,
        sky_adu=_SKY_ADU_PER_S * exposure * float(rng.uniform(0.8, 1.8)),
        sky_gradient=(float(rng.normal(0, 0.03)), float(rng.normal(0, 0.03))),
        sky_bowl=float(rng.uniform(-0.02, 0.005)),
        psf=draw_moffat_field(
            rng,
            shape=config.shape,
            fwhm_pix=float(rng.uniform(low, top)),
            beta=float(rng.uniform(3.0, 4.0)),
        ),
        where=plane_map(
            config.pixel_scale_arcsec,
            rotation_deg=float(rng.uniform(-0.4, 0.4)),
            origin=(float(origin[0]), float(origin[1])),
        ),
    )


def field_name(field_index: int) -> str:
    """Name of a field, counted from 1 as people do."""
    return f"SIM-F{field_index + 1:02d}"


def draw_field(config: SkyConfig, field_index: int) -> Field:
    """Everything in a field that does not depend on the exposure."""
    rng = np.random.default_rng([config.seed, 13, field_index])
    ny, nx = config.shape
    half = tuple((n / 2 + 70) * config.pixel_scale_arcsec for n in (nx, ny))
    mpix = (nx + 140) * (ny + 140) / 1e6
    sky = draw_static_sky(
        rng,
        SkyPopulation(
            half_width_arcsec=(half[0], half[1]),
            n_stars=int(rng.poisson(config.star_density_per_mpix * mpix)),
            n_galaxies=int(rng.poisson(config.galaxy_density_per_mpix * mpix)),
            half_light_arcsec=2.0 * config.pixel_scale_arcsec,
        ),
    )
    centre = _CENTRES[field_index] if field_index < len(_CENTRES) else _random_centre(rng)
    return Field(
        name=field_name(field_index),
        centre=centre,
        sky=sky,
        supernovae=_draw_supernovae(config, rng, sky),
        variables=_draw_variables(config, rng),
    )


def _random_centre(rng: np.random.Generator) -> tuple[float, float]:
    return float(rng.uniform(0, 360)), float(np.rad2deg(np.arcsin(rng.uniform(-0.9, 0.9))))


def _inner_half_width(config: SkyConfig) -> tuple[float, float]:
    """Half extent [arcsec] of what every epoch's frame holds, less a PSF at the border."""
    ny, nx = config.shape
    lost = min(30.0, min(config.shape) / 20) + 0.007 * max(config.shape) / 2 + 20.0
    scale = config.pixel_scale_arcsec
    return (nx / 2 - lost) * scale, (ny / 2 - lost) * scale


def draw_inner_position(config: SkyConfig, rng: np.random.Generator) -> tuple[float, float]:
    """A place on the tangent plane [arcsec] that every epoch's frame holds."""
    wide, high = _inner_half_width(config)
    return float(rng.uniform(-wide, wide)), float(rng.uniform(-high, high))


def magnitudes_for_snr(config: SkyConfig, snr: Float64) -> Float64:
    """Magnitudes that a nominal exposure measures at the wanted S/N on blank sky."""
    middle = float(np.mean(config.seeing_range_pix))
    terms = (0.0,) * 6
    psf = MoffatField(config.shape, 3.5, (middle, *terms[1:]), terms, terms)
    x, y = np.full(len(snr), config.shape[1] / 2), np.full(len(snr), config.shape[0] / 2)
    scene = np.full(config.shape, _NOMINAL_SKY_ADU)
    flux = flux_for_snr(snr, x=x, y=y, psf=psf, scene=scene, camera=config.camera)
    return np.asarray(NOMINAL_ZERO_POINT - 2.5 * np.log10(flux), dtype=np.float64)


def _draw_supernovae(
    config: SkyConfig, rng: np.random.Generator, sky: StaticSky
) -> tuple[Supernova, ...]:
    n = config.supernovae_per_field
    if n == 0:
        return ()
    low, high = np.log(config.peak_snr_range)
    peaks = magnitudes_for_snr(config, np.exp(rng.permutation(np.linspace(low, high, n))))
    last_template = epoch_mjd(config, config.n_template_epochs - 1) + 0.5
    last = epoch_mjd(config, max(config.n_epochs - 1, config.n_template_epochs))
    # in the first half of what is left: a supernova of type Ia takes 17 days to its peak
    explosions = rng.uniform(last_template, last_template + (last - last_template) * 0.5, n)
    taken: list[tuple[float, float]] = []
    supernovae = []
    for peak, explosion in zip(peaks, explosions, strict=True):
        xi, eta, host = _supernova_place(config, rng, sky, taken=taken)
        taken.append((xi, eta))
        supernovae.append(
            Supernova(xi, eta, float(explosion), float(peak), draw_supernova_shape(rng), host)
        )
    return tuple(supernovae)


def _supernova_place(
    config: SkyConfig,
    rng: np.random.Generator,
    sky: StaticSky,
    *,
    taken: list[tuple[float, float]],
) -> tuple[float, float, int]:
    """A place in a galaxy, following its ellipse, off other supernovae and saturated stars."""
    scale = config.pixel_scale_arcsec
    wide, high = _inner_half_width(config)
    bright = sky.star_mag < _SATURATING_MAG
    avoid_xi = np.concatenate([sky.star_xi[bright], [place[0] for place in taken]])
    avoid_eta = np.concatenate([sky.star_eta[bright], [place[1] for place in taken]])
    # massive galaxies have more supernovae, but not in proportion to their light
    weight = 10 ** (-0.2 * sky.galaxy_mag)
    hosts = rng.choice(
        len(weight), size=min(60, len(weight)), replace=False, p=weight / weight.sum()
    )
    if rng.random() < _HOSTLESS_SHARE:
        hosts = hosts[:0]
    for host in hosts:
        # inside 1.3 half-light radii along the ellipse
        turn = rng.uniform(0, 2 * np.pi)
        circle = np.sqrt(rng.uniform(0.02, 1.7)) * np.array([np.cos(turn), np.sin(turn)])
        offset = np.linalg.cholesky(sky.galaxy_shape[host]) @ circle
        xi, eta = sky.galaxy_xi[host] + offset[0], sky.galaxy_eta[host] + offset[1]
        apart = np.hypot(avoid_xi - xi, avoid_eta - eta).min(initial=np.inf)
        if abs(xi) < wide and abs(eta) < high and apart > _SATURATION_RADIUS_PIX * scale:
            return float(xi), float(eta), int(host)
    return (*draw_inner_position(config, rng), -1)


def _draw_variables(config: SkyConfig, rng: np.random.Generator) -> tuple[Variable, ...]:
    n = config.variables_per_field
    mags = magnitudes_for_snr(config, np.exp(rng.uniform(np.log(50), np.log(300), n)))
    return tuple(
        Variable(*draw_inner_position(config, rng), float(mag), draw_variable_shape(rng))
        for mag in mags
    )
