"""What a bogus candidate may be: likelihoods of the usual causes from what was measured of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from scipy.stats import poisson

#: Share of candidates that are hot pixels before anything is known of them.
HOT_PRIOR = 0.02
#: A candidate so near to another's pixel is at the same one [pix].
SAME_PIXEL = 1.5
#: Names of the causes, those of the reasons that people give where they have one.
CAUSES: Final = (
    "dipole",
    "wing",
    "ringing",
    "hot_pixel",
    "cosmic_ray",
    "trail",
    "ghost",
    "edge",
)
POINT_SOURCE: Final = "point_source"


@dataclass(frozen=True)
class PixelHistory:
    """What was found at one pixel of a detector in other frames, at other places of the sky.

    Attributes
    ----------
    n_frames : int
        Other frames of the camera that were searched and look elsewhere.
    n_hits : int
        Those with a candidate at the pixel.
    expected : float
        Frames with one there by accident, from the density of their candidates.
    """

    n_frames: int
    n_hits: int
    expected: float

    @property
    def chance(self) -> float | None:
        """Probability of so many hits or more by accident; None without frames."""
        if self.n_frames == 0:
            return None
        return float(poisson.sf(self.n_hits - 1, max(self.expected, 1e-9)))

    @property
    def hot_probability(self) -> float | None:
        """That the pixel is hot; None without frames.

        Of a hot pixel every rate of recurrence is as likely as any other, so that each number
        of hits has probability 1 / (n + 1); of a good one they are a Poisson draw.
        """
        if self.n_frames == 0:
            return None
        hot = HOT_PRIOR / (self.n_frames + 1)
        good = (1 - HOT_PRIOR) * float(poisson.pmf(self.n_hits, max(self.expected, 1e-9)))
        return hot / (hot + good)


@dataclass(frozen=True)
class Evidence:
    """What the causes are told by; None where it was not measured.

    Attributes
    ----------
    features : mapping of str to float or None
        As the feature model has them.
    likelihood_ratio : float or None
        Likelihood ratio of the dipole fit.
    lobe_share : float or None
        Weaker over stronger lobe of that fit.
    edge_fwhm : float
        Distance to the edge of the frame or to pixels without data, in widths of the PSF.
    history : PixelHistory or None
        Of its detector pixel.
    """

    features: Mapping[str, float | None]
    likelihood_ratio: float | None = None
    lobe_share: float | None = None
    edge_fwhm: float = math.inf
    history: PixelHistory | None = None


def likely_causes(evidence: Evidence) -> dict[str, float]:
    """Relative likelihood of each cause and of a point source; they sum to 1.

    Parameters
    ----------
    evidence : Evidence
        What was measured.

    Returns
    -------
    dict
        By cause, the likeliest first; ``point_source`` among them.

    Notes
    -----
    Each cause is a product of logistic steps at the values at which the cuts and the simulated
    faults separate it from point sources; a point source is what none of them explains. These
    are likelihoods of a model set by hand, not frequencies: they rank causes, no more.
    """
    shown = _shown(evidence)
    # two lobes fit a spike better than one does, but it is none of the PSF's making
    is_blurred = _step(-shown["sharpness"], -1.6, 0.1)
    told = {
        "dipole": max(
            _step(shown["dipole_ratio"], 0.4, 0.06),
            _step(shown["likelihood_ratio"], 40.0, 8.0)
            * _step(shown["lobe_share"], 0.3, 0.06)
            * is_blurred,
        ),
        "wing": _step(shown["star_near"], 0.55, 0.06) * _step(shown["unlike"], 0.5, 0.15),
        "ringing": _step(shown["saturation_near"], 0.6, 0.06)
        * _step(shown["ring_scatter"], 2.0, 0.3),
        "hot_pixel": _step(shown["sharpness"], 2.0, 0.2) * (0.45 + 0.55 * shown["hot"]),
        "cosmic_ray": _step(shown["sharpness"], 2.0, 0.2)
        * (0.3 + 0.7 * _step(shown["elongation"], 1.6, 0.2))
        * (1.0 - 0.9 * shown["hot"]),
        "trail": _step(shown["elongation"], 2.5, 0.2)
        * is_blurred
        * _step(-shown["dipole_ratio"], -0.4, 0.06),
        "ghost": _step(shown["width"], 2.0, 0.2) * _step(-shown["elongation"], -2.0, 0.2),
        "edge": _step(-evidence.edge_fwhm, -1.5, 0.25),
    }
    nothing = math.prod(1.0 - value for value in told.values())
    total = nothing + sum(told.values())
    shares = {name: value / total for name, value in (told | {POINT_SOURCE: nothing}).items()}
    return dict(sorted(shares.items(), key=lambda pair: -pair[1]))


def _shown(evidence: Evidence) -> dict[str, float]:
    """Values on their own scales; what was not measured speaks for a point source."""
    f = evidence.features
    hot = evidence.history.hot_probability if evidence.history else None
    width = _power(f.get("log_fwhm_ratio"), 1.0)
    chi2 = f.get("log_psf_chi2")
    return {
        "dipole_ratio": f.get("dipole_ratio") or 0.0,
        "likelihood_ratio": evidence.likelihood_ratio or 0.0,
        "lobe_share": evidence.lobe_share or 0.0,
        "star_near": f.get("star_proximity") or 0.0,
        "saturation_near": f.get("saturation_proximity") or 0.0,
        "ring_scatter": _power(f.get("log_ring_scatter"), 1.0),
        "sharpness": _power(f.get("log_sharpness"), 1.0),
        "elongation": _power(f.get("log_elongation"), 1.0),
        "width": width,
        "unlike": chi2 if chi2 is not None else 0.0,
        "hot": hot if hot is not None else 0.0,
    }


def _power(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else 10.0**value


def _step(value: float, middle: float, width: float) -> float:
    """A logistic step from 0 below the middle to 1 above it."""
    return 1.0 / (1.0 + math.exp(-min(max((value - middle) / width, -50.0), 50.0)))
