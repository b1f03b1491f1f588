"""Flags of light-curve points in words."""

from __future__ import annotations

from collections.abc import Iterable

from astrid_site.imaging.masks import FITS_PLANES

_WORDS = {
    "REFERENCE": "part of the reference: its difference is zero by construction",
    "MASKED": "too many pixels masked",
    "NO_PSF": "too few stars for a PSF",
    "OWN_WCS": "placed by the frame's own sky coordinates",
} | {str(plane.name): f"{meaning} beside it" for plane, (_, meaning) in FITS_PLANES.items()}


def flag_words(flags: Iterable[str]) -> list[str]:
    """What each flag of a point means; one without a meaning is left as it is."""
    return [_WORDS.get(flag, flag) for flag in flags]
