"""A simulated detector that is known to the last pixel, and the raw frames it reads out.

It knows nothing of the code that measures detectors, so that its truth can judge it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.time import Time

from astrid_site.imaging.masks import BoolArray
from astrid_site.imaging.sky_files import HeaderValue, write_frame
from astrid_site.imaging.sky_psf import Float32, Float64

_ADC_TOP = 65535
#: Kelvin by which dark current doubles (silicon near -20 C).
_DOUBLING_K = 6.0


@dataclass(frozen=True)
class DetectorConfig:
    """What a simulated detector is like.

    Attributes
    ----------
    seed : int
        Draws its fixed pattern.
    shape : tuple of int
        (ny, nx) of the pixels that see light.
    overscan : int
        Columns read out beyond them.
    gain, read_noise : float
        Electrons per adu; electrons.
    pedestal, pedestal_drift, pattern : float
        Bias level [adu], its scatter from frame to frame, and the width of its fixed pattern.
    dark_e_s, temperature_c : float
        Dark current [electron / s] at this temperature [C].
    hot_fraction, hot_e_s : float, tuple of float
        Share of hot pixels and the range of their dark current [electron / s].
    dead_fraction, n_dead_columns : float, int
        Share of pixels with little response, and columns of them.
    response_rms, vignetting : float
        Pixel-to-pixel scatter of the response, and its loss in the corners.
    nonlinearity : float
        Share of the charge that is not recorded at full well; grows with the charge.
    full_well : float
        Charge a pixel holds [electrons].
    crosstalk : float
        Share of the signal of one half of the detector that its mirror image in the other shows.
    cosmic_rays_per_mpix_100s : float
        Hits per million pixels in 100 s.
    """

    seed: int = 1
    shape: tuple[int, int] = (512, 512)
    overscan: int = 32
    gain: float = 1.7
    read_noise: float = 6.0
    pedestal: float = 1000.0
    pedestal_drift: float = 3.0
    pattern: float = 4.0
    dark_e_s: float = 0.05
    temperature_c: float = -20.0
    hot_fraction: float = 1e-3
    hot_e_s: tuple[float, float] = (5.0, 300.0)
    dead_fraction: float = 5e-4
    n_dead_columns: int = 1
    response_rms: float = 0.01
    vignetting: float = 0.2
    nonlinearity: float = 0.0
    full_well: float = 90_000.0
    crosstalk: float = 0.0
    cosmic_rays_per_mpix_100s: float = 15.0


@dataclass(frozen=True)
class Detector:
    """A detector and its true maps, shape (ny, nx).

    Attributes
    ----------
    bias : NDArray[float64]
        Fixed pattern above the pedestal [adu].
    dark : NDArray[float64]
        Dark current at the reference temperature [electron / s].
    response : NDArray[float64]
        Share of the light that is recorded; 1 on average over good pixels.
    hot, dead : NDArray[bool]
        Pixels that must be found.
    """

    config: DetectorConfig
    bias: Float64
    dark: Float64
    response: Float64
    hot: BoolArray
    dead: BoolArray

    @property
    def bad(self) -> BoolArray:
        """Hot and dead pixels."""
        return np.asarray(self.hot | self.dead)

    def dark_at(self, temperature_c: float) -> Float64:
        """Dark current [electron / s] at a temperature [C]."""
        warmer = (temperature_c - self.config.temperature_c) / _DOUBLING_K
        return np.asarray(self.dark * 2.0**warmer)


@dataclass(frozen=True)
class RawFrame:
    """One read-out.

    Attributes
    ----------
    data : NDArray[float32], shape (ny, nx + overscan)
        Whole adu.
    cosmic_rays : NDArray[bool], shape (ny, nx)
        Pixels that were hit.
    header : dict
        FITS cards.
    """

    data: Float32
    cosmic_rays: BoolArray
    header: dict[str, HeaderValue]


def make_detector(config: DetectorConfig) -> Detector:
    """Draw the fixed pattern of a detector from its seed."""
    rng = np.random.default_rng([config.seed, 41])
    ny, nx = config.shape
    columns = rng.normal(0.0, config.pattern, nx)
    slope = np.linspace(-config.pattern, config.pattern, ny)[:, None]
    hot = rng.random(config.shape) < config.hot_fraction
    dead = rng.random(config.shape) < config.dead_fraction
    for column in rng.integers(0, nx, config.n_dead_columns):
        dead[int(rng.integers(0, ny // 2)) :, column] = True
    hot &= ~dead
    dark = config.dark_e_s * rng.lognormal(0.0, 0.2, config.shape)
    low, high = np.log(config.hot_e_s)
    dark[hot] = np.exp(rng.uniform(low, high, int(hot.sum())))
    response = _illumination(config, rng) * rng.normal(1.0, config.response_rms, config.shape)
    response /= response.mean()
    response[dead] *= rng.uniform(0.0, 0.5, int(dead.sum()))
    return Detector(config, columns[None, :] + slope, dark, response, hot, dead)


def _illumination(config: DetectorConfig, rng: np.random.Generator) -> Float64:
    """Vignetting and the shadows of dust."""
    ny, nx = config.shape
    y, x = np.mgrid[0:ny, 0:nx]
    radius2 = ((x - nx / 2) ** 2 + (y - ny / 2) ** 2) / ((nx / 2) ** 2 + (ny / 2) ** 2)
    shape = 1.0 - config.vignetting * radius2
    for _ in range(4):
        at_x, at_y, size = rng.uniform(0, nx), rng.uniform(0, ny), rng.uniform(8.0, 20.0)
        distance = np.hypot(x - at_x, y - at_y)
        shape *= 1.0 - 0.04 * np.exp(-0.5 * ((distance - size) / 3.0) ** 2)
    return np.asarray(shape)


def read_out(
    detector: Detector,
    light: Float64 | float,
    *,
    exposure_s: float,
    rng: np.random.Generator,
    temperature_c: float | None = None,
    cards: Mapping[str, HeaderValue] | None = None,
) -> RawFrame:
    """Expose the detector and read it out.

    Parameters
    ----------
    detector : Detector
        The camera.
    light : float or NDArray[float64], shape (ny, nx)
        Expected electrons of a pixel of response 1 over the whole exposure.
    exposure_s : float
        Exposure time [s]; 0 for a bias.
    rng : numpy.random.Generator
        Source of all noise.
    temperature_c : float, optional
        Of the detector; its reference temperature by default.
    cards : mapping, optional
        Further FITS cards: IMAGETYP, FILTER, DATE-OBS and so on.
    """
    config = detector.config
    temperature = config.temperature_c if temperature_c is None else temperature_c
    expected = light * detector.response + detector.dark_at(temperature) * exposure_s
    electrons = rng.poisson(expected).astype(np.float64)
    charge = _cosmic_rays(config, exposure_s=exposure_s, rng=rng)
    electrons = np.minimum(electrons + charge, config.full_well)
    recorded = electrons * (1.0 - config.nonlinearity * electrons / config.full_well)
    signal = recorded / config.gain
    # two amplifiers read from the outer edges inwards: each sees the other's mirror image
    signal = signal + config.crosstalk * signal[:, ::-1]
    ny, nx = config.shape
    wide = np.zeros((ny, nx + config.overscan))
    wide[:, :nx] = signal + detector.bias
    # the pedestal wanders from frame to frame, and a little from the first row to the last
    drift = rng.normal(0.0, config.pedestal_drift)
    slope = rng.normal(0.0, 0.5 * config.pedestal_drift) * np.linspace(-1.0, 1.0, ny)[:, None]
    wide += config.pedestal + drift + slope
    wide += rng.normal(0.0, config.read_noise / config.gain, wide.shape)
    data = np.clip(np.rint(wide), 1, _ADC_TOP).astype(np.float32)
    header = _header(config, exposure_s=exposure_s, temperature_c=temperature)
    return RawFrame(data, np.asarray(charge > 0), header | dict(cards or {}))


def _cosmic_rays(config: DetectorConfig, *, exposure_s: float, rng: np.random.Generator) -> Float64:
    """Electrons of short straight tracks."""
    ny, nx = config.shape
    charge = np.zeros(config.shape)
    rate = config.cosmic_rays_per_mpix_100s * ny * nx / 1e6 * exposure_s / 100.0
    for _ in range(int(rng.poisson(rate))):
        x, y, angle = rng.uniform(0, nx), rng.uniform(0, ny), rng.uniform(0, np.pi)
        steps = np.arange(int(rng.integers(1, 8)))
        columns = np.clip((x + steps * np.cos(angle)).astype(int), 0, nx - 1)
        rows = np.clip((y + steps * np.sin(angle)).astype(int), 0, ny - 1)
        charge[rows, columns] += 1200.0 * rng.lognormal(0.0, 0.6)
    return charge


def _header(
    config: DetectorConfig, *, exposure_s: float, temperature_c: float
) -> dict[str, HeaderValue]:
    ny, nx = config.shape
    header: dict[str, HeaderValue] = {
        "SIMULATE": True,
        "ORIGIN": "AstrID simulator",
        "TELESCOP": "AstrID Simulated 1.0m",
        "INSTRUME": "SIMCAM",
        "EXPTIME": float(exposure_s),
        "CCD-TEMP": round(float(temperature_c), 2),
        "XBINNING": 1,
        "YBINNING": 1,
        "GAIN": config.gain,
        "RDNOISE": config.read_noise,
        "SATURATE": round(config.full_well / config.gain + config.pedestal, 1),
        "BUNIT": "adu",
    }
    if config.overscan:
        header["TRIMSEC"] = f"[1:{nx},1:{ny}]"
        header["BIASSEC"] = f"[{nx + 1}:{nx + config.overscan},1:{ny}]"
    return header


@dataclass(frozen=True)
class NightPlan:
    """Calibration frames of one night: how many of each kind, and when.

    ``flats`` holds (band, exposure [s], electrons) of each flat; the frames are a minute apart.
    """

    mjd: float = 61100.0
    n_bias: int = 8
    darks: tuple[tuple[float, int], ...] = ((60.0, 6),)
    flats: tuple[tuple[str, float, float], ...] = (("r", 5.0, 20_000.0),) * 6
    temperature_c: float = -20.0


def calibration_frames(detector: Detector, plan: NightPlan) -> dict[str, RawFrame]:
    """Every calibration frame of a night by file name; the same for the same arguments."""
    wanted: list[tuple[str, float, float, str]] = [("bias", 0.0, 0.0, "")] * plan.n_bias
    for exposure_s, count in plan.darks:
        wanted += [("dark", exposure_s, 0.0, "")] * count
    wanted += [("flat", exposure_s, light, band) for band, exposure_s, light in plan.flats]
    frames = {}
    for number, (kind, exposure_s, light, band) in enumerate(wanted):
        moment = Time(plan.mjd + number / 1440.0, format="mjd", scale="utc")
        cards: dict[str, HeaderValue] = {
            "IMAGETYP": kind,
            "DATE-OBS": str(moment.isot),
            "OBSID": f"CAL{detector.config.seed:03d}-{plan.mjd:.0f}-{number:03d}",
            "OBJECT": kind,
        }
        if band:
            cards["FILTER"] = band
        frames[f"{kind}-{number:03d}.fits"] = read_out(
            detector, light, exposure_s=exposure_s, temperature_c=plan.temperature_c, cards=cards,
            rng=np.random.default_rng([detector.config.seed, 42, round(plan.mjd * 10), number]),
        )  # fmt: skip
    return frames


def write_calibration_frames(directory: Path, detector: Detector, plan: NightPlan) -> list[Path]:
    """Write a night's calibration frames as 16-bit FITS; returns their paths in order."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, frame in calibration_frames(detector, plan).items():
        write_frame(directory / name, frame.data, frame.header)
        paths.append(directory / name)
    return paths
