"""Which earlier epochs make the reference of a field, and when it is worth making anew."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import NoWorkError

Float64 = NDArray[np.float64]

_SIGMA_OF_FWHM = 1.0 / (2.0 * math.sqrt(2.0 * math.log(2.0)))
_MIN_FWHM_PIX = 0.5
#: Angular frequencies of the radial integral [rad/pix], up to what pixels can hold.
_FREQUENCIES = np.linspace(0.0, math.pi, 129)[1:]
#: So many times the most epochs are looked at, the best by themselves: a worse one never enters.
_POOL = 3
_TINY = 1e-120


@dataclass(frozen=True)
class Epoch:
    """What the choice needs to know of one epoch.

    Attributes
    ----------
    key : str
        Name by which the caller finds it again.
    fwhm_pix : float
        Seeing on common pixels [pix].
    sky_noise : float
        Sky sigma per pixel on a common flux scale.
    """

    key: str
    fwhm_pix: float
    sky_noise: float

    @property
    def point_noise(self) -> float:
        """Noise of a point-source flux in it, up to a constant: sky sigma times width."""
        return self.sky_noise * self.fwhm_pix

    @cached_property
    def transfer(self) -> Float64:
        """Fourier amplitude of its PSF, taken as a Gaussian, at the frequencies of the integral."""
        sigma = max(self.fwhm_pix, _MIN_FWHM_PIX) * _SIGMA_OF_FWHM
        return np.maximum(np.exp(-0.5 * (sigma * _FREQUENCIES) ** 2), _TINY)


@dataclass(frozen=True)
class Selection:
    """The chosen epochs and what they are predicted to give.

    Attributes
    ----------
    epochs : tuple of Epoch
        Best first; the first gives the grid.
    noise : tuple of float
        Predicted noise of a point-source flux in science minus reference, for a reference of the
        first 1, 2, ... of them [flux units of ``sky_noise``].
    """

    epochs: tuple[Epoch, ...]
    noise: tuple[float, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(epoch.key for epoch in self.epochs)


def difference_noise(science: Epoch, epochs: Sequence[Epoch]) -> float:
    """Predicted noise of a point-source flux in science minus the stack of some epochs.

    Parameters
    ----------
    science : Epoch
        Seeing and noise of the science frame.
    epochs : sequence of Epoch
        What is stacked, weighted by inverse sky variance.

    Returns
    -------
    float
        One sigma of the matched filter's flux, in the flux units of ``sky_noise``.

    Raises
    ------
    ValueError
        Without epochs.

    Notes
    -----
    The optimal difference of two images with PSFs P and white noise sigma measures a flux with
    1/noise^2 = sum over k of |Ps|^2 |Pr|^2 / (ss^2 |Pr|^2 + sr^2 |Ps|^2) [1]_, whichever of the
    two is the sharper; Gaussian PSFs stand for the real ones.

    References
    ----------
    .. [1] Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27, eq. 16 and 17 (score and its variance).
    """
    if not epochs:
        msg = "epochs: a reference has at least one"
        raise ValueError(msg)
    weights = np.array([1.0 / epoch.sky_noise**2 for epoch in epochs])
    blurred = weights @ np.array([epoch.transfer for epoch in epochs])
    return float(_noise(science, weights.sum(), blurred[None, :])[0])


def _noise(science: Epoch, weight: Float64 | float, blurred: Float64) -> Float64:
    """Noise with stacks of total weights (n,) whose weighted transfer sums are (n, k)."""
    total = np.atleast_1d(np.asarray(weight, dtype=np.float64))[:, None]
    reference = np.maximum(blurred / total, _TINY)
    spent = (science.sky_noise / science.transfer) ** 2 + 1.0 / (total * reference**2)
    step = _FREQUENCIES[1] - _FREQUENCIES[0]
    information = np.sum(_FREQUENCIES / spent, axis=1) * step / (2.0 * math.pi)
    return np.asarray(1.0 / np.sqrt(np.maximum(information, _TINY)))


def typical_epoch(epochs: Sequence[Epoch]) -> Epoch:
    """The median seeing and noise of a field's epochs: what its next frame is expected to be.

    Raises
    ------
    ValueError
        Without epochs.
    """
    if not epochs:
        msg = "epochs: none has no median"
        raise ValueError(msg)
    return Epoch(
        key="typical",
        fwhm_pix=float(np.median([epoch.fwhm_pix for epoch in epochs])),
        sky_noise=float(np.median([epoch.sky_noise for epoch in epochs])),
    )


@dataclass(frozen=True)
class ChoiceRule:
    """How many epochs are stacked, and when a reference is made anew.

    Attributes
    ----------
    min_epochs, max_epochs : int
        Fewest and most epochs in a reference.
    min_gain : float
        An epoch is added while it lowers the predicted noise of the difference by this share.
    rebuild_every : int
        Epochs that must have come since the last version; 0: never make it anew.
    rebuild_gain : float
        Share by which the predicted noise must fall.
    """

    min_epochs: int = 1
    max_epochs: int = 10
    min_gain: float = 0.005
    rebuild_every: int = 5
    rebuild_gain: float = 0.05


def select_epochs(
    candidates: Sequence[Epoch], *, science: Epoch | None = None, rule: ChoiceRule | None = None
) -> Selection:
    """Choose the epochs whose stack makes the least noisy difference.

    The best single epoch comes first. Then, one at a time, the one that lowers the predicted
    noise most is added, until that gain is too small or there are enough: a poor epoch blurs
    more than it deepens.

    Parameters
    ----------
    candidates : sequence of Epoch
        Epochs that may serve; who may is decided before.
    science : Epoch, optional
        What is to be subtracted from; the typical epoch by default.
    rule : ChoiceRule, optional
        Least gain and numbers of epochs.

    Returns
    -------
    Selection
        Never empty; at least ``min_epochs``, whatever they gain.

    Raises
    ------
    NoWorkError
        If there are fewer than ``min_epochs``; carries ``n_epochs`` and ``n_needed``.
    """
    rule = rule or ChoiceRule()
    if len(candidates) < max(1, rule.min_epochs):
        msg = f"no reference yet: {len(candidates)} of {max(1, rule.min_epochs)} epochs"
        raise NoWorkError(msg, n_epochs=len(candidates), n_needed=max(1, rule.min_epochs))
    science = science or typical_epoch(candidates)
    ranked = sorted(candidates, key=lambda e: (e.point_noise, e.key))
    left = ranked[: max(_POOL * rule.max_epochs, rule.min_epochs)]
    chosen: list[Epoch] = []
    noise: list[float] = []
    weight, blurred = 0.0, np.zeros_like(_FREQUENCIES)
    while left and len(chosen) < rule.max_epochs:
        weights = np.array([1.0 / epoch.sky_noise**2 for epoch in left])
        sums = blurred + weights[:, None] * np.array([epoch.transfer for epoch in left])
        predicted = _noise(science, weight + weights, sums)
        best = int(np.argmin(predicted))
        is_enough = len(chosen) >= rule.min_epochs
        if is_enough and predicted[best] > (1.0 - rule.min_gain) * noise[-1]:
            break
        weight, blurred = weight + weights[best], sums[best]
        chosen.append(left.pop(best))
        noise.append(float(predicted[best]))
    return Selection(tuple(chosen), tuple(noise))


@dataclass(frozen=True)
class Version:
    """One reference of a field, planned.

    Attributes
    ----------
    number : int
        1 for the first.
    selection : Selection
        Its epochs.
    former : tuple of str
        Epochs of the version before; empty for the first. Where the sky changed since, they
        alone count, so that what is new does not get into the reference.
    n_at_hand : int
        Epochs that could be chosen from.
    reason : str
        Why it is made.
    """

    number: int
    selection: Selection
    former: tuple[str, ...]
    n_at_hand: int
    reason: str


@dataclass
class _Plan:
    """The versions so far, and the epochs in the order of time."""

    rule: ChoiceRule
    is_retired: Callable[[Version], bool]
    epochs: list[Epoch] = field(default_factory=list)
    versions: list[Version] = field(default_factory=list)

    def add(self, epoch: Epoch) -> None:
        """One more epoch is at hand; a new version may be due."""
        self.epochs.append(epoch)
        version = self._first() if not self.versions else self._next()
        # a version that a person retired is not made again: the next epoch gives another
        if version is not None and not self.is_retired(version):
            self.versions.append(version)

    def _first(self) -> Version | None:
        n = len(self.epochs)
        if n < self.rule.min_epochs:
            return None
        selection = select_epochs(self.epochs, rule=self.rule)
        reason = f"the first of the field: {n} earlier epoch{'s' if n > 1 else ''} at hand"
        return Version(1, selection, (), n, reason)

    def _next(self) -> Version | None:
        last = self.versions[-1]
        n_new = len(self.epochs) - last.n_at_hand
        if self.rule.rebuild_every <= 0 or n_new % self.rule.rebuild_every:
            return None
        science = typical_epoch(self.epochs)
        before = difference_noise(science, last.selection.epochs)
        selection = select_epochs(self.epochs, science=science, rule=self.rule)
        gain = 1.0 - selection.noise[-1] / before
        if gain < self.rule.rebuild_gain or set(selection.keys) == set(last.selection.keys):
            return None
        reason = (
            f"{n_new} epochs more than version {last.number}: the noise of differences is "
            f"predicted to fall by {100 * gain:.0f} %"
        )
        former = last.selection.keys
        return Version(last.number + 1, selection, former, len(self.epochs), reason)


def plan_versions(
    epochs: Sequence[Epoch],
    rule: ChoiceRule,
    *,
    is_retired: Callable[[Version], bool] = lambda _: False,
) -> list[Version]:
    """Every reference that a field has had, from its epochs alone.

    What is planned from some epochs is also planned, and then perhaps surpassed, from these and
    later ones: it does not hang on when anybody asked.

    Parameters
    ----------
    epochs : sequence of Epoch
        In the order in which they ended.
    rule : ChoiceRule
        Numbers and gains.
    is_retired : callable, optional
        Whether a person took a version out of use.

    Returns
    -------
    list of Version
        In order; empty while there are fewer than ``min_epochs`` epochs.
    """
    plan = _Plan(rule, is_retired)
    for epoch in epochs:
        plan.add(epoch)
    return plan.versions
