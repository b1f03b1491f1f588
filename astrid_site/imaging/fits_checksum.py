"""DATASUM and CHECKSUM, and whether a mismatch means damage or merely a stale card."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from astrid_site.imaging.fits_cards import CardValue

_ONES = 2**32 - 1
_CHUNK = 2880 * 2048


def sum32(path: Path, *, offset: int, length: int) -> int:
    """One's-complement 32-bit sum of a file range, as the FITS checksum convention defines it."""
    total = 0
    with path.open("rb") as stream:
        stream.seek(offset)
        while length > 0:
            chunk = stream.read(min(_CHUNK, length))
            if not chunk:
                break
            length -= len(chunk)
            chunk += b"\0" * (-len(chunk) % 4)
            total += int(np.frombuffer(chunk, dtype=">u4").sum(dtype=np.uint64))
    return total % _ONES


def judge_sums(
    values: dict[str, CardValue], *, header_sum: int, data_sum: int
) -> tuple[bool, str | None]:
    """Whether the data are damaged, and a warning about the sums.

    Software that edits a frame often keeps its sums (half of the frames of real surveys at hand
    do), so a mismatch alone does not prove damage. It does where the header still agrees with its
    own DATASUM through CHECKSUM (the header is as it was written, so the data are not), where
    there is no CHECKSUM to show that the header was edited, or where the sums differ by exactly
    one flipped bit.

    Parameters
    ----------
    values : dict
        Cards of the HDU.
    header_sum, data_sum : int
        Sums of the header and of the data unit with its padding.

    Returns
    -------
    tuple of (bool, str or None)
        Damaged, and what to warn of.
    """
    declared = _number(values.get("DATASUM"))
    if declared is None:
        return False, None
    intact = (header_sum + declared) % _ONES == 0
    has_checksum = isinstance(values.get("CHECKSUM"), str) and bool(values["CHECKSUM"])
    if declared % _ONES == data_sum % _ONES:
        edited = has_checksum and not intact
        return False, "the header was edited after its CHECKSUM was written" if edited else None
    difference = (data_sum - declared) % _ONES
    one_bit = _is_power_of_two(difference) or _is_power_of_two(_ONES - difference)
    if intact or one_bit or not (has_checksum or declared == 0):
        return True, None
    return (
        False,
        "DATASUM and CHECKSUM are stale: header and data were edited after they were written",
    )


def _is_power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


def _number(value: CardValue | None) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value >= 0 else None
    text = value.strip() if isinstance(value, str) else ""
    return int(text) if text.isdigit() and len(text) <= 10 else None
