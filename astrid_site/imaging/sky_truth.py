"""What happens in one simulated exposure, and the table that tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from astrid_site.imaging.masks import is_bad
from astrid_site.imaging.sky_detector import Exposure
from astrid_site.imaging.sky_geometry import tan_wcs
from astrid_site.imaging.sky_noise import Seen, difference_snr, local_pixels, seen_at
from astrid_site.imaging.sky_psf import Float64
from astrid_site.imaging.sky_scene import add_points
from astrid_site.imaging.sky_survey import (
    Field,
    Night,
    SkyConfig,
    Supernova,
    Variable,
    draw_inner_position,
    draw_night,
    magnitudes_for_snr,
)

_WING_LEVEL = 0.2
_WINDOW_PIX = 40
_TRAIL_POINTS = 9
#: What the numbers of the truth table are in; magnitudes are AB, a pure number has an empty unit.
_UNITS = {
    "epoch": "",
    "mjd": "d",
    "ra": "deg",
    "dec": "deg",
    "x": "pix",
    "y": "pix",
    "flux_adu": "adu",
    "reference_flux_adu": "adu",
    "mag": "mag",
    "snr_ideal": "",
    "snr_difference": "",
    "host_id": "",
}
#: Main-belt asteroids near opposition move at 0.3 to 0.8 arcsec a minute.
_ASTEROID_RATE = (0.3, 0.8)
_ASTEROID_SNR = (8.0, 60.0)


@dataclass(frozen=True)
class Event:
    """A varying or moving source during one exposure.

    Attributes
    ----------
    object_id, kind, subtype : str
        Identity, the same in every epoch; "supernova", "variable" or "asteroid"; and the finer
        type, empty for asteroids.
    xi, eta : float
        Place in the middle of the exposure on the tangent plane [arcsec].
    mag_flux, reference_mag_flux : float
        Flux at zero point 0 (10^(-0.4 mag)) now, and its mean over the template epochs.
    host_id : int
        Number of the host galaxy in the field, -1 for none.
    motion : tuple of float
        Shift during the exposure (xi, eta) [arcsec].
    """

    object_id: str
    kind: str
    subtype: str
    xi: float
    eta: float
    mag_flux: float
    reference_mag_flux: float = 0.0
    host_id: int = -1
    motion: tuple[float, float] = (0.0, 0.0)


def events_of(
    config: SkyConfig, scenery: Field, *, field_index: int, epoch: int
) -> tuple[Event, ...]:
    """Supernovae, variables and asteroids of one exposure, those not yet exploded included."""
    mjd = draw_night(config, field_index=field_index, epoch=epoch).mid_mjd
    templates = np.array(
        [
            draw_night(config, field_index=field_index, epoch=number).mid_mjd
            for number in range(config.n_template_epochs)
        ]
    )
    name = scenery.name
    events = [
        _supernova_event(f"{name}-SN{i + 1:02d}", item, mjd)
        for i, item in enumerate(scenery.supernovae)
    ]
    events += [
        _variable_event(f"{name}-VAR{i + 1:02d}", item, mjd, templates)
        for i, item in enumerate(scenery.variables)
    ]
    if epoch >= config.n_template_epochs:
        events += _asteroids(config, field_index=field_index, epoch=epoch, name=name)
    return tuple(events)


def _supernova_event(object_id: str, supernova: Supernova, mjd: float) -> Event:
    relative = supernova.shape.relative_flux(np.array([mjd - supernova.explosion_mjd]))
    return Event(
        object_id=object_id,
        kind="supernova",
        subtype=supernova.shape.subtype,
        xi=supernova.xi,
        eta=supernova.eta,
        mag_flux=float(relative[0]) * 10 ** (-0.4 * supernova.peak_mag),
        host_id=supernova.host,
    )


def _variable_event(object_id: str, variable: Variable, mjd: float, templates: Float64) -> Event:
    mean = 10 ** (-0.4 * variable.mean_mag)
    return Event(
        object_id=object_id,
        kind="variable",
        subtype=variable.shape.subtype,
        xi=variable.xi,
        eta=variable.eta,
        mag_flux=mean * float(variable.shape.relative_flux(np.array([mjd]))[0]),
        reference_mag_flux=mean * float(variable.shape.relative_flux(templates).mean()),
    )


def _asteroids(config: SkyConfig, *, field_index: int, epoch: int, name: str) -> list[Event]:
    rng = np.random.default_rng([config.seed, 14, field_index, epoch])
    n = config.asteroids_per_field
    low, high = np.log(_ASTEROID_SNR)
    mags = magnitudes_for_snr(config, np.exp(rng.uniform(low, high, n)))
    minutes = draw_night(config, field_index=field_index, epoch=epoch).exposure_s / 60
    events = []
    for i, mag in enumerate(mags):
        xi, eta = draw_inner_position(config, rng)
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(*_ASTEROID_RATE) * minutes
        events.append(
            Event(
                object_id=f"{name}-E{epoch:02d}-AST{i + 1}",
                kind="asteroid",
                subtype="",
                xi=xi,
                eta=eta,
                mag_flux=10 ** (-0.4 * float(mag)),
                motion=(float(length * np.cos(angle)), float(length * np.sin(angle))),
            )
        )
    return events


def add_event(scene: Float64, event: Event, night: Night) -> None:
    """Add one event to a scene in place; a moving one leaves a short trail."""
    n = _TRAIL_POINTS if event.kind == "asteroid" else 1
    along = (np.arange(n) + 0.5) / n - 0.5
    x, y = night.where.to_pixel(
        event.xi + along * event.motion[0], event.eta + along * event.motion[1]
    )
    flux = np.full(n, event.mag_flux * 10 ** (0.4 * night.zero_point) / n)
    if event.mag_flux > 0:
        add_points(scene, night.psf, x=x, y=y, flux=flux, level=_WING_LEVEL / n)


def ideal_snr(event: Event, night: Night, exposure: Exposure) -> float:
    """S/N of a matched filter that knows the true profile and the true noise of every pixel.

    S^2 = sum s^2 / V over the usable pixels, s being the source's own pixels (trail included)
    and V the true variance with sky, read noise, host and the source itself.
    """
    alone = np.zeros(exposure.data.shape)
    add_event(alone, event, night)
    x, y = night.where.to_pixel(np.array([event.xi]), np.array([event.eta]))
    column, row = round(float(x[0])), round(float(y[0]))
    window = (
        slice(max(row - _WINDOW_PIX, 0), max(row + _WINDOW_PIX + 1, 0)),
        slice(max(column - _WINDOW_PIX, 0), max(column + _WINDOW_PIX + 1, 0)),
    )
    usable = ~is_bad(exposure.mask[window])
    return float(np.sqrt((alone[window] ** 2 / exposure.variance[window])[usable].sum()))


def subtraction_snr(
    config: SkyConfig, events: Sequence[Event], *, field_index: int, epoch: int, exposure: Exposure
) -> Float64:
    """S/N of each flux change in the best difference against the template epochs.

    NaN in the template epochs themselves. The light under a source is taken from this exposure
    for the templates too, and an asteroid's trail as a point.
    """
    if epoch < config.n_template_epochs or not events:
        return np.full(len(events), np.nan)
    night = draw_night(config, field_index=field_index, epoch=epoch)
    xi, eta, now, before = (
        np.array([getattr(event, name) for event in events])
        for name in ("xi", "eta", "mag_flux", "reference_mag_flux")
    )
    per_flux = 10 ** (0.4 * night.zero_point)
    x, y = night.where.to_pixel(xi, eta)
    variance = local_pixels(exposure.variance, x=x, y=y)
    science = seen_at(night.psf, x=x, y=y, variance=variance, response=1.0)
    own = (now * per_flux)[:, None, None] * science.profile
    floor = config.camera.variance_of(np.zeros(1))[0]
    static = (variance - floor) * config.camera.gain - night.sky_adu - own
    static += (before * per_flux)[:, None, None] * science.profile
    references: list[Seen] = []
    for number in range(config.n_template_epochs):
        other = draw_night(config, field_index=field_index, epoch=number)
        response = 10 ** (0.4 * (other.zero_point - night.zero_point))
        counts = other.sky_adu + np.maximum(static, 0.0) * response
        there_x, there_y = other.where.to_pixel(xi, eta)
        references.append(
            seen_at(
                other.psf,
                x=there_x,
                y=there_y,
                variance=config.camera.variance_of(counts),
                response=response,
            )
        )
    return difference_snr((now - before) * per_flux, science, references)


def truth_table(
    config: SkyConfig,
    events: tuple[Event, ...],
    scenery: Field,
    *,
    field_index: int,
    epoch: int,
    exposure: Exposure,
    file_name: str,
) -> Table:
    """The events of one exposure whose centres are on the frame, one row each.

    Returns
    -------
    astropy.table.Table
        field, epoch, file; mjd (middle of the exposure); object_id, kind, subtype; true ra, dec
        [deg]; x, y (0-based pixels); flux_adu; reference_flux_adu (mean over the template
        epochs, at this frame's zero point); mag (NaN for no flux); snr_ideal (this exposure
        alone); snr_difference (of the flux change, in the best difference against the template
        epochs); host_id (-1: no host); masked (the centre pixel carries no usable flux).
    """
    night = draw_night(config, field_index=field_index, epoch=epoch)
    ny, nx = exposure.data.shape
    xi, eta = (np.array([getattr(event, name) for event in events]) for name in ("xi", "eta"))
    x, y = night.where.to_pixel(xi, eta)
    inside = np.flatnonzero((x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5))
    kept = [events[i] for i in inside]
    x, y = x[inside], y[inside]
    ra, dec = tan_wcs(night.where, centre=scenery.centre).all_pix2world(x, y, 0)
    per_flux = 10 ** (0.4 * night.zero_point)
    mag_flux = np.array([event.mag_flux for event in kept], dtype=np.float64)
    positive = mag_flux > 0
    mag = np.where(positive, -2.5 * np.log10(np.where(positive, mag_flux, 1.0)), np.nan)
    n = len(kept)
    bad = is_bad(exposure.mask)[np.rint(y).astype(int), np.rint(x).astype(int)]
    table = Table(
        {
            "field": np.full(n, scenery.name),
            "epoch": np.full(n, epoch),
            "file": np.full(n, file_name),
            "mjd": np.full(n, night.mid_mjd),
            "object_id": np.array([event.object_id for event in kept], dtype=str),
            "kind": np.array([event.kind for event in kept], dtype=str),
            "subtype": np.array([event.subtype for event in kept], dtype=str),
            "ra": ra,
            "dec": dec,
            "x": x,
            "y": y,
            "flux_adu": mag_flux * per_flux,
            "reference_flux_adu": np.array(
                [event.reference_mag_flux * per_flux for event in kept], dtype=np.float64
            ),
            "mag": mag,
            "snr_ideal": np.array(
                [ideal_snr(event, night, exposure) for event in kept], dtype=np.float64
            ),
            "snr_difference": subtraction_snr(
                config, kept, field_index=field_index, epoch=epoch, exposure=exposure
            ),
            "host_id": np.array([event.host_id for event in kept], dtype=np.int64),
            "masked": bad,
        }
    )
    for name, unit in _UNITS.items():
        table[name].unit = unit
    return table
