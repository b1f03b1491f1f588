"""What a second method says of the candidates of the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import is_bad
from astrid_site.imaging.photometry import cut_psf_stamps, fit_stamp_fluxes
from differencing.algorithms.subtract import subtract
from differencing.algorithms.subtraction import Method, Stars, Subtraction, SubtractionConfig

Float64 = NDArray[np.float64]

#: Least second score, as a share of the threshold of the first. Both scores are of the same
#: photons, so that they differ by far less than 1 sigma where both methods match the images.
_LEAST_OF_THRESHOLD = 0.8
#: Least second score, as a share of the first: what one method alone makes is not confirmed.
_LEAST_OF_SCORE = 0.5
#: The second peak may lie this far off [pix].
_REACH = 1


@dataclass(frozen=True)
class Agreement:
    """A second method's view of one candidate; None where it shows nothing there (a mask).

    Attributes
    ----------
    score : float or None
        Its score within one pixel of the candidate, signed [sigma].
    flux_ratio : float or None
        PSF flux in the second difference over that in the first.
    least_score : float
        The score, of the candidate's sign, from which on it agrees [sigma].
    agrees : bool or None
        Whether it reaches that.
    """

    score: float | None
    flux_ratio: float | None
    least_score: float
    agrees: bool | None


@dataclass(frozen=True)
class SecondOpinion:
    """A second method's verdict on a pair, and its view of every candidate.

    Attributes
    ----------
    method : str
        As in ``Subtraction.method``; the name asked for where it made no difference.
    agreements : tuple of Agreement, or None
        One for each candidate; None where the second method tells nothing.
    problem : str
        Why it does not; empty where it does.
    """

    method: str
    agreements: tuple[Agreement, ...] | None
    problem: str


class Measured(Protocol):
    """What is asked about of a candidate."""

    @property
    def x(self) -> float:
        """Column [pix], 0-based."""

    @property
    def y(self) -> float:
        """Row [pix], 0-based."""

    @property
    def score(self) -> float:
        """Signed significance [sigma]."""

    @property
    def flux(self) -> float:
        """PSF flux in the difference [science units]."""


@dataclass(frozen=True)
class FirstView:
    """Candidates as the first method measured them; arrays of shape (n,).

    Attributes
    ----------
    x, y : NDArray[float64]
        Positions [pix], 0-based.
    score : NDArray[float64]
        Signed scores [sigma].
    flux : NDArray[float64]
        PSF fluxes [science units].
    threshold : float
        Least absolute score of a candidate [sigma].
    """

    x: Float64
    y: Float64
    score: Float64
    flux: Float64
    threshold: float

    @classmethod
    def of(cls, candidates: Sequence[Measured], *, threshold: float) -> FirstView:
        """The columns of measured candidates."""
        x, y, score, flux = (
            np.array([getattr(each, name) for each in candidates], dtype=np.float64)
            for name in ("x", "y", "score", "flux")
        )
        return cls(x, y, score, flux, threshold)


def ask_second(
    method: Method,
    first_method: str,
    template: Image,
    science: Image,
    *,
    stars: Stars,
    candidates: FirstView,
    config: SubtractionConfig,
) -> SecondOpinion:
    """Subtract the same registered pair by another method, and look at every candidate.

    Parameters
    ----------
    method : {"kernel", "zogy", "alard_lupton"}
        The second method.
    first_method : str
        Method of the first difference, e.g. ``"kernel/template"``.
    template, science : Image
        On one grid, as they were subtracted.
    stars : Stars
        Sources of the science image.
    candidates : FirstView
        What the first method found.
    config : SubtractionConfig
        Parameters of the first, its method aside.

    Returns
    -------
    SecondOpinion
        Without agreements where the second method is the first, cannot match the images, or
        fails: a poor difference confirms nothing and refutes nothing.
    """
    if first_method.partition("/")[0] == method:
        return SecondOpinion(method, None, "the second method is the first")
    try:
        second = subtract(template, science, stars=stars, config=replace(config, method=method))
    except AlgorithmError as error:
        return SecondOpinion(method, None, f"the second method cannot match: {error.message}")
    if second.quality == "fail":
        why = "; ".join(second.quality_reasons)
        return SecondOpinion(second.method, None, f"the second method fails: {why}")
    return SecondOpinion(second.method, compare(second, candidates), "")


def compare(second: Subtraction, candidates: FirstView) -> tuple[Agreement, ...]:
    """A second difference at the places of candidates.

    Parameters
    ----------
    second : Subtraction
        Difference of the same pair by another method.
    candidates : FirstView
        What the first method found.

    Returns
    -------
    tuple of Agreement
        In the order of the candidates.

    Notes
    -----
    A method agrees if its score has the candidate's sign and at least 0.8 of the threshold, and
    at least half of the candidate's own score.
    """
    x, y = candidates.x, candidates.y
    if len(x) == 0:
        return ()
    stamps = cut_psf_stamps(
        second.difference, second.variance, second.psf, mask=second.mask, x=x, y=y
    )
    fluxes = fit_stamp_fluxes(stamps, max_lost_weight=1.0).flux
    scores = [
        _score_near(second, (float(a), float(b)), sign=1 if s > 0 else -1)
        for a, b, s in zip(x, y, candidates.score, strict=True)
    ]
    return tuple(
        _judge(score, flux=float(fluxes[i]), candidates=candidates, index=i)
        for i, score in enumerate(scores)
    )


def _score_near(second: Subtraction, place: tuple[float, float], *, sign: int) -> float | None:
    """The most significant score of one sign within a pixel; None on or off a mask's pixels."""
    ny, nx = second.score.shape
    x, y = round(place[0]), round(place[1])
    rows = slice(max(y - _REACH, 0), min(y + _REACH + 1, ny))
    columns = slice(max(x - _REACH, 0), min(x + _REACH + 1, nx))
    score = second.score[rows, columns]
    # a filter may give up pixels that are bad in neither image; their score is 0 as well
    seen = ~is_bad(second.mask[rows, columns]) & (score != 0)
    return sign * float((sign * score[seen]).max()) if seen.any() else None


def _judge(score: float | None, *, flux: float, candidates: FirstView, index: int) -> Agreement:
    own = abs(float(candidates.score[index]))
    least = max(_LEAST_OF_THRESHOLD * candidates.threshold, _LEAST_OF_SCORE * own)
    if score is None:
        return Agreement(None, None, least, None)
    sign = 1 if candidates.score[index] > 0 else -1
    first = float(candidates.flux[index])
    ratio = flux / first if first and np.isfinite(flux) else None
    return Agreement(score, ratio, least, sign * score >= least)
