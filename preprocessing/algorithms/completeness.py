"""How completely sources of each flux are found, and from which flux on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Noise-based and injected limits that differ by more are worth a look [mag].
NOTABLE_DIFFERENCE = 0.1
#: z of a 68 % interval.
_Z = 1.0


@dataclass(frozen=True)
class Crossing:
    """Flux at which a share of the sources is found [data units].

    Attributes
    ----------
    flux : float
        Where the measured completeness crosses the share.
    low, high : float or None
        Where the bounds of its 68 % binomial interval (Wilson) cross it; None where they do not
        within the fluxes tried.
    """

    flux: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class InjectedDepth:
    """What part of the sources that were put into a frame is found.

    Attributes
    ----------
    flux : NDArray[float64], shape (n,)
        Total fluxes injected, rising [data units].
    n_found : NDArray[int64], shape (n,)
        Sources found of each flux.
    n_places : int
        Sources injected of each flux, at as many places.
    noise_scale : float
        Width of the significance of nothing at the blank places, by which sigma was corrected; 1
        where the variance tells the truth.
    noise_flux : float
        Five-sigma flux that the variance alone promises [data units].
    half, most : Crossing or None
        Where 50 % and 90 % are found; None where that is outside the fluxes tried.
    """

    flux: Float64
    n_found: IntArray
    n_places: int
    noise_scale: float
    noise_flux: float
    half: Crossing | None
    most: Crossing | None

    def as_json(self, *, zero_point: float | None) -> dict[str, object]:
        """Plain numbers for a run's metrics; magnitudes are None without a zero point."""
        return {
            "n_places": self.n_places,
            "flux": [float(f"{value:.6g}") for value in self.flux],
            "n_found": self.n_found.tolist(),
            "noise_scale": self.noise_scale,
            "noise_flux": self.noise_flux,
            "noise_magnitude": to_magnitude(self.noise_flux, zero_point),
            **_crossing_json("50", self.half, zero_point),
            **_crossing_json("90", self.most, zero_point),
        }


def to_magnitude(flux: float | None, zero_point: float | None) -> float | None:
    """AB magnitude of a positive flux; None without either."""
    if flux is None or zero_point is None or not flux > 0:
        return None
    return float(zero_point - 2.5 * np.log10(flux))


def _crossing_json(
    name: str, crossing: Crossing | None, zero_point: float | None
) -> dict[str, float | None]:
    flux, low, high = (crossing.flux, crossing.low, crossing.high) if crossing else (None,) * 3
    return {
        f"flux_{name}": flux,
        f"magnitude_{name}": to_magnitude(flux, zero_point),
        # the brighter bound of the magnitude is the larger flux
        f"magnitude_{name}_low": to_magnitude(high, zero_point),
        f"magnitude_{name}_high": to_magnitude(low, zero_point),
    }


def summarise(
    flux: Float64, found: list[int], *, n_places: int, noise_scale: float, noise_flux: float
) -> InjectedDepth:
    """Completeness of the fluxes tried, and where it crosses 50 % and 90 %."""
    n_found = np.array(found, dtype=np.int64)
    half, most = (find_crossing(flux, n_found, n_places, share=share) for share in (0.5, 0.9))
    return InjectedDepth(flux, n_found, n_places, noise_scale, noise_flux, half, most)


def find_crossing(flux: Float64, n_found: IntArray, n: int, *, share: float) -> Crossing | None:
    """Where the completeness, made to rise with flux, and its binomial bounds cross a share.

    References
    ----------
    .. [1] Wilson 1927, J. Am. Stat. Assoc. 22, 209 (interval of a binomial share).
    """
    rising = _isotonic(n_found / n)
    middle = (rising + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    spread = _Z * np.sqrt(rising * (1 - rising) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    at = _first_above(flux, rising, share)
    if at is None:
        return None
    return Crossing(
        at,
        low=_first_above(flux, middle + spread, share),
        high=_first_above(flux, middle - spread, share),
    )


def _first_above(flux: Float64, rising: Float64, share: float) -> float | None:
    """Flux at which a rising curve crosses a share, linear in magnitude between two steps."""
    above = np.flatnonzero(rising >= share)
    if above.size == 0 or above[0] == 0:
        return None
    k = int(above[0])
    part = (share - rising[k - 1]) / (rising[k] - rising[k - 1])
    return float(flux[k - 1] * (flux[k] / flux[k - 1]) ** part)


def _isotonic(values: Float64) -> Float64:
    """The rising sequence nearest to one that should rise (pool adjacent violators)."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        total, count = float(value), 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / count:
            last = blocks.pop()
            total, count = total + last[0], count + last[1]
        blocks.append((total, count))
    return np.concatenate([np.full(count, total / count) for total, count in blocks])
