"""Satellites that cross a simulated exposure: lines of light as wide as the PSF or wider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from astropy.table import Table, vstack
from scipy.special import expit, gammaln

from astrid_site.imaging.sky_geometry import tan_wcs
from astrid_site.imaging.sky_psf import Float64, MoffatField
from astrid_site.imaging.sky_survey import Field, Night, SkyConfig

#: Share of the satellites that enter or leave the frame while the shutter opens or closes.
_ENDING_SHARE = 0.3
#: Greatest defocus of a satellite, in FWHM of the stars: it is nearer than they are.
_MAX_DEFOCUS = 0.8
#: Beyond so many profile widths a trail is left out.
_REACH = 25.0
_ENDS = ("x_start", "y_start", "x_end", "y_end")


@dataclass(frozen=True)
class SkyTrail:
    """One satellite during one exposure.

    Attributes
    ----------
    x0, y0, x1, y1 : float
        Ends of its path in 0-based pixels; they may lie off the frame.
    peak_adu : float
        Height of the trail on its axis without defocus [adu per pixel].
    defocus_pix : float
        Widening of its cross profile [pix].
    """

    x0: float
    y0: float
    x1: float
    y1: float
    peak_adu: float
    defocus_pix: float


def draw_trails(
    config: SkyConfig, night: Night, *, sky_sigma: float, field_index: int, epoch: int
) -> tuple[SkyTrail, ...]:
    """Satellites of one exposure, at random places and in random directions.

    Parameters
    ----------
    config : SkyConfig
        The survey; ``satellites_per_frame`` and ``satellite_sigma_range`` matter.
    night : Night
        The exposure.
    sky_sigma : float
        Noise of a sky pixel [adu].
    field_index, epoch : int
        Which exposure; the same gives the same satellites.
    """
    rng = np.random.default_rng([config.seed, 23, field_index, epoch])
    ny, nx = config.shape
    far = 2.0 * (nx + ny)
    low, high = np.log(config.satellite_sigma_range)
    trails = []
    for _ in range(rng.poisson(config.satellites_per_frame)):
        x, y = rng.uniform(0.1 * nx, 0.9 * nx), rng.uniform(0.1 * ny, 0.9 * ny)
        angle = rng.uniform(0.0, 2.0 * np.pi)
        ux, uy = float(np.cos(angle)), float(np.sin(angle))
        back = 0.0 if rng.random() < _ENDING_SHARE else far
        trails.append(
            SkyTrail(
                x0=float(x - back * ux),
                y0=float(y - back * uy),
                x1=float(x + far * ux),
                y1=float(y + far * uy),
                peak_adu=float(np.exp(rng.uniform(low, high))) * sky_sigma,
                defocus_pix=float(rng.uniform(0.0, _MAX_DEFOCUS)) * night.psf.fwhm_pix,
            )
        )
    return tuple(trails)


def add_trails(canvas: Float64, psf: MoffatField, trails: Sequence[SkyTrail]) -> Float64:
    """Add trails to ``canvas`` in place.

    Returns
    -------
    NDArray[float64], shape (ny, nx)
        What was added.

    Notes
    -----
    A line seen through an elliptical Moffat has the profile ``(1 + d^2 / s^2)^(1/2 - beta)``,
    s^2 being the shape matrix along the line's normal; defocus adds to s^2.
    """
    light = np.zeros_like(canvas)
    for trail in trails:
        _add_trail(light, psf, trail)
    canvas += light
    return light


def _add_trail(light: Float64, psf: MoffatField, trail: SkyTrail) -> None:
    length = float(np.hypot(trail.x1 - trail.x0, trail.y1 - trail.y0))
    ux, uy = (trail.x1 - trail.x0) / length, (trail.y1 - trail.y0) / length
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]]
    across = (rows - trail.y0) * ux - (columns - trail.x0) * uy
    near = np.abs(across) < _REACH * _profile_width(psf, trail)
    y, x = rows[near].astype(np.float64), columns[near].astype(np.float64)
    normal = np.array([-uy, ux])
    sharp = np.einsum("i,nij,j->n", normal, psf.shape_matrices(x, y), normal)
    widened = sharp + trail.defocus_pix**2
    profile = (1.0 + across[near] ** 2 / widened) ** (0.5 - psf.beta)
    along, soft = (x - trail.x0) * ux + (y - trail.y0) * uy, np.sqrt(widened)
    inside = expit(along / soft) * expit((length - along) / soft)
    # defocus spreads the same light wider
    light[near] += trail.peak_adu * np.sqrt(sharp / widened) * profile * inside


def _profile_width(psf: MoffatField, trail: SkyTrail) -> float:
    """Width s of the cross profile in the middle of the frame."""
    ny, nx = psf.shape
    matrix = psf.shape_matrices(np.array([(nx - 1) / 2]), np.array([(ny - 1) / 2]))[0]
    normal = np.array([-(trail.y1 - trail.y0), trail.x1 - trail.x0])
    normal /= np.hypot(*normal)
    return float(np.sqrt(normal @ matrix @ normal + trail.defocus_pix**2))


def _flux_per_pixel(psf: MoffatField, trail: SkyTrail) -> float:
    """Light per pixel of a trail's length [adu]: its cross profile integrated."""
    width = _profile_width(psf, replace(trail, defocus_pix=0.0))
    ratio = np.exp(gammaln(psf.beta - 1.0) - gammaln(psf.beta - 0.5))
    return float(trail.peak_adu * width * np.sqrt(np.pi) * ratio)


def clip_to_frame(trail: SkyTrail, shape: tuple[int, int]) -> tuple[float, float, float, float]:
    """The ends of a trail, those off the frame replaced by where it leaves it."""
    ny, nx = shape
    dx, dy = trail.x1 - trail.x0, trail.y1 - trail.y0
    low, high = 0.0, 1.0
    for origin, step, size in ((trail.x0, dx, nx), (trail.y0, dy, ny)):
        if abs(step) < 1e-12:
            continue
        a, b = sorted(((-0.5 - origin) / step, (size - 0.5 - origin) / step))
        low, high = max(low, a), min(high, b)
    return (
        trail.x0 + low * dx,
        trail.y0 + low * dy,
        trail.x0 + high * dx,
        trail.y0 + high * dy,
    )


def trail_rows(
    truth: Table,
    trails: Sequence[SkyTrail],
    night: Night,
    scenery: Field,
    *,
    epoch: int,
    file_name: str,
) -> Table:
    """A truth table with the ends of the trails as further columns and a row for each trail.

    Returns
    -------
    astropy.table.Table
        With ``x_start``, ``y_start``, ``x_end``, ``y_end`` [pix], NaN for all but trails. A trail
        is of kind "trail"; its place is the middle of what the frame shows, its flux all of the
        light that falls on the frame; it has no S/N and no host.
    """
    result = truth.copy()
    for name in _ENDS:
        result[name] = np.full(len(truth), np.nan)
        result[name].unit = "pix"
    shape = night.psf.shape
    rows = []
    for number, trail in enumerate(trails):
        ends = clip_to_frame(trail, shape)
        x, y = (ends[0] + ends[2]) / 2, (ends[1] + ends[3]) / 2
        ra, dec = tan_wcs(night.where, centre=scenery.centre).all_pix2world([x], [y], 0)
        length = float(np.hypot(ends[2] - ends[0], ends[3] - ends[1]))
        flux = _flux_per_pixel(night.psf, trail) * length
        rows.append(
            {
                "field": scenery.name,
                "epoch": epoch,
                "file": file_name,
                "mjd": night.mid_mjd,
                "object_id": f"{scenery.name}-E{epoch:02d}-SAT{number + 1}",
                "kind": "trail",
                "subtype": "satellite",
                "ra": float(ra[0]),
                "dec": float(dec[0]),
                "x": x,
                "y": y,
                "flux_adu": flux,
                "reference_flux_adu": 0.0,
                "mag": night.zero_point - 2.5 * float(np.log10(flux)),
                "snr_ideal": np.nan,
                "snr_difference": np.nan,
                "host_id": -1,
                "masked": True,
                **dict(zip(_ENDS, ends, strict=True)),
            }
        )
    return vstack([result, Table(rows)], metadata_conflicts="silent") if rows else result
