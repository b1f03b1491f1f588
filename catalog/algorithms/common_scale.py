"""Fluxes of one object from many frames, each in its own unit, on one scale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from astrid_site.imaging.flux_density import microjansky_factor

MICROJANSKY = "µJy"
REFERENCE_UNITS = "reference units"
#: Each frame's own: two such fluxes must not be compared.
IMAGE_UNITS = "image units"


@dataclass(frozen=True)
class FrameFlux:
    """A flux in the unit of its frame, and what is known of that unit.

    Attributes
    ----------
    flux, flux_error : float
        In the frame's unit.
    zero_point : float or None
        AB magnitude of one unit.
    reference : hashable or None
        The reference that the frame's flux ratio was measured against.
    flux_ratio : float or None
        Flux of a star on the frame over its flux on that reference.
    """

    flux: float
    flux_error: float
    zero_point: float | None
    reference: Hashable | None = None
    flux_ratio: float | None = None


@dataclass(frozen=True)
class ScaledFlux:
    """A flux with the unit that it is in."""

    flux: float
    flux_error: float
    unit: str


def to_common_scale(fluxes: Sequence[FrameFlux]) -> list[ScaledFlux]:
    """Bring fluxes to one scale, as far as frames tell theirs.

    Parameters
    ----------
    fluxes : sequence of FrameFlux
        Of one object.

    Returns
    -------
    list of ScaledFlux
        In the order given: in microjansky where the frame has a zero point. If no frame has one,
        in units of the reference that most of them are tied to, by their flux ratios. Others
        remain in image units, which compare with nothing.
    """
    if any(one.zero_point is not None for one in fluxes):
        return [
            _image_units(one)
            if one.zero_point is None
            else _times(one, microjansky_factor(one.zero_point), MICROJANSKY)
            for one in fluxes
        ]
    tied = Counter(one.reference for one in fluxes if one.reference is not None and one.flux_ratio)
    common = tied.most_common(1)[0][0] if tied else None
    return [
        _times(one, 1.0 / one.flux_ratio, REFERENCE_UNITS)
        if common is not None and one.reference == common and one.flux_ratio
        else _image_units(one)
        for one in fluxes
    ]


def _times(one: FrameFlux, factor: float, unit: str) -> ScaledFlux:
    return ScaledFlux(one.flux * factor, one.flux_error * factor, unit)


def _image_units(one: FrameFlux) -> ScaledFlux:
    return ScaledFlux(one.flux, one.flux_error, IMAGE_UNITS)
