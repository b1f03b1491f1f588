"""Light curves of simulated transients and variables, with shapes measured on real ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from astrid_site.imaging.sky_psf import Float64

_NICKEL_DAYS = 8.8
_COBALT_DAYS = 111.3
_NICKEL_HEATING = 3.90e10  # erg / s / g
_COBALT_HEATING = 6.78e9
_GRID_DAYS = np.linspace(0.0, 400.0, 2001)


@dataclass(frozen=True)
class SupernovaShape:
    """Light-curve shape of one supernova.

    Attributes
    ----------
    subtype : str
        "Ia", "Ibc" or "II".
    rise_days : float
        Rest-frame days from explosion to peak.
    gamma_days : float
        "Ia" and "Ibc": time at which the ejecta become transparent to gamma rays [d].
    plateau_days, plateau_slope : float
        "II": end of the optically thick phase [d] and slope on the plateau [mag / 100 d].
    redshift : float
        Stretches time by 1 + z.
    """

    subtype: str
    rise_days: float
    gamma_days: float
    plateau_days: float
    plateau_slope: float
    redshift: float

    def relative_flux(self, days: Float64) -> Float64:
        """Flux over peak flux at observer-frame days since explosion; 0 before it."""
        rest = np.asarray(days, dtype=np.float64) / (1.0 + self.redshift)
        if self.subtype == "II":
            return plateau_flux(
                rest,
                rise_days=self.rise_days,
                plateau_days=self.plateau_days,
                plateau_slope=self.plateau_slope,
            )
        return nickel_flux(rest, rise_days=self.rise_days, gamma_days=self.gamma_days)


def draw_supernova_shape(rng: np.random.Generator) -> SupernovaShape:
    """Draw a subtype and shape parameters from published distributions.

    Notes
    -----
    Subtypes come 60 : 25 : 15 (Ia : II : Ibc), fewer Ia than in a magnitude-limited sample
    (79 : 17 : 4, Li et al. 2011, MNRAS 412, 1441), so that small surveys hold every shape.

    - Ia: rise 17.4 +- 1.6 d (Hayden et al. 2010, ApJ 712, 350); gamma-ray time 30 - 40 d
      (Stritzinger et al. 2006, A&A 450, 241; Scalzo et al. 2014, MNRAS 440, 1498).
    - Ibc: rise 11 - 23 d (Taddia et al. 2015, A&A 574, A60); gamma-ray time 60 - 130 d
      (Wheeler, Johnson & Clocchiatti 2015, MNRAS 450, 1295).
    - II: rise 7.5 +- 1.5 d (Gall et al. 2015, A&A 582, A3); thick phase 84 +- 17 d, slope
      1.27 +- 0.6 mag / 100 d (Anderson et al. 2014, ApJ 786, 67).
    """
    subtype = str(rng.choice(["Ia", "II", "Ibc"], p=[0.6, 0.25, 0.15]))
    rises = {
        "Ia": float(np.clip(rng.normal(17.4, 1.6), 13.0, 22.0)),
        "Ibc": float(rng.uniform(11.0, 23.0)),
        "II": float(np.clip(rng.normal(7.5, 1.5), 4.0, 12.0)),
    }
    gammas = {"Ia": float(rng.uniform(30, 40)), "Ibc": float(rng.uniform(60, 130)), "II": 0.0}
    return SupernovaShape(
        subtype=subtype,
        rise_days=rises[subtype],
        gamma_days=gammas[subtype],
        plateau_days=float(np.clip(rng.normal(83.7, 16.7), 45.0, 120.0)),
        plateau_slope=float(np.clip(rng.normal(1.27, 0.6), 0.0, 3.0)),
        redshift=float(rng.uniform(0.01, 0.08)),
    )


def nickel_flux(days: Float64, *, rise_days: float, gamma_days: float) -> Float64:
    """Flux over peak of a supernova lit by the decay of nickel and cobalt, diffusing out.

    Parameters
    ----------
    days : NDArray[float64]
        Rest-frame days since explosion.
    rise_days : float
        Days from explosion to peak; sets the diffusion time.
    gamma_days : float
        Days after which gamma rays escape: the light falls by 1 - exp(-(gamma_days / t)^2).

    References
    ----------
    .. [1] Arnett 1982, ApJ 253, 785; with cobalt as in Valenti et al. 2008, MNRAS 383, 1485,
       eq. A1; gamma-ray escape as in Clocchiatti & Wheeler 1997, ApJ 491, 375.
    """
    peaks, widths = _diffusion_times(gamma_days)
    curve = _arnett(float(np.interp(rise_days, peaks, widths)), gamma_days)
    relative = np.interp(days, _GRID_DAYS, curve / curve.max())
    return np.where(np.asarray(days) > 0, relative, 0.0)


def _arnett(diffusion_days: float, gamma_days: float) -> Float64:
    t = _GRID_DAYS
    x2 = (t / diffusion_days) ** 2
    heating = (_NICKEL_HEATING - _COBALT_HEATING) * np.exp(-t / _NICKEL_DAYS)
    heating += _COBALT_HEATING * np.exp(-t / _COBALT_DAYS)
    # exp(x^2) overflows late; the factor is carried step by step instead
    energy = np.zeros_like(t)
    source = 2.0 * t / diffusion_days**2 * heating
    step = t[1] - t[0]
    for i in range(1, t.size):
        fade = np.exp(x2[i - 1] - x2[i])
        energy[i] = energy[i - 1] * fade + 0.5 * step * (source[i - 1] * fade + source[i])
    leak = np.ones_like(t)
    leak[1:] = 1.0 - np.exp(-((gamma_days / t[1:]) ** 2))
    return np.asarray(energy * leak, dtype=np.float64)


@lru_cache(maxsize=256)
def _diffusion_times(gamma_days: float) -> tuple[Float64, Float64]:
    """Peak times of a ladder of diffusion times, to turn a rise time into one."""
    widths = np.linspace(4.0, 45.0, 16)
    peaks = np.array([_GRID_DAYS[_arnett(float(width), gamma_days).argmax()] for width in widths])
    return peaks, widths


def plateau_flux(
    days: Float64, *, rise_days: float, plateau_days: float, plateau_slope: float
) -> Float64:
    """Flux over peak of a hydrogen-rich supernova: quick rise, plateau, drop, radioactive tail.

    Parameters
    ----------
    days : NDArray[float64]
        Rest-frame days since explosion.
    rise_days, plateau_days : float
        Days from explosion to peak and to the middle of the drop.
    plateau_slope : float
        Decline on the plateau [mag / 100 d].

    References
    ----------
    .. [1] Anderson et al. 2014, ApJ 786, 67 (slopes; tail 1.47 mag / 100 d); the drop of two
       magnitudes as a Fermi-Dirac step 5 d wide, Olivares et al. 2010, ApJ 715, 833, eq. 1.
    """
    t = np.asarray(days, dtype=np.float64)
    late = np.maximum(t - rise_days, 0.0)
    plateau = np.minimum(late, plateau_days - rise_days)
    tail = np.maximum(t - plateau_days, 0.0)
    drop = 2.0 / (1.0 + np.exp(-np.clip((t - plateau_days) / 5.0, -50.0, 50.0)))
    magnitude = plateau_slope * plateau / 100.0 + 1.47 * tail / 100.0 + drop
    # the photosphere of a cooling fireball: fast at first, flat at the peak
    rise = 1.0 - (1.0 - np.clip(t / rise_days, 0.0, 1.0)) ** 2
    return np.asarray(rise * 10 ** (-0.4 * magnitude), dtype=np.float64)


@dataclass(frozen=True)
class VariableShape:
    """Light curve of a periodic variable star.

    Attributes
    ----------
    subtype : str
        "rr_lyrae" (fast rise, slow decline) or "sinusoid".
    period_days, amplitude_mag, phase : float
        Period [d], peak-to-peak amplitude [mag], and phase at MJD 0.
    """

    subtype: str
    period_days: float
    amplitude_mag: float
    phase: float

    def relative_flux(self, mjd: Float64) -> Float64:
        """Flux over the flux at mean magnitude."""
        turn = np.mod(np.asarray(mjd) / self.period_days + self.phase, 1.0)
        if self.subtype == "rr_lyrae":
            # 15 % of the period up, 85 % down, the asymmetry of type ab (Smith 1995, ch. 1)
            wave = np.where(turn < 0.15, 1.0 - 2.0 * turn / 0.15, -1.0 + 2.0 * (turn - 0.15) / 0.85)
        else:
            wave = np.cos(2 * np.pi * turn)
        return np.asarray(10 ** (-0.4 * self.amplitude_mag / 2 * wave), dtype=np.float64)


def draw_variable_shape(rng: np.random.Generator) -> VariableShape:
    """A pulsating star of short period or a smooth one of long period, half and half."""
    if rng.random() < 0.5:
        return VariableShape(
            "rr_lyrae", rng.uniform(0.45, 0.8), rng.uniform(0.5, 1.2), rng.random()
        )
    return VariableShape("sinusoid", rng.uniform(2.0, 60.0), rng.uniform(0.3, 1.2), rng.random())
