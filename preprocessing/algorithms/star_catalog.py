"""Tables of reference stars: which columns they have, and the stars of one band around a place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from preprocessing.algorithms.zero_point import CatalogStars

Float64 = NDArray[np.float64]
Table = NDArray[np.void]

#: Neighbouring bands from blue to red: the colour of a band is that of the first pair it is in.
_SYSTEMS = (("u", "g", "r", "i", "z", "y"), ("U", "B", "V", "R", "I"), ("BP", "G", "RP"))
#: How tables call positions, magnitudes and their errors.
_PLACES = {
    "ra": ("ra", "ra_icrs", "raj2000", "ra_deg", "x_world", "alpha_j2000"),
    "dec": ("dec", "de_icrs", "dej2000", "dec_deg", "y_world", "delta_j2000"),
    "color": ("color", "colour"),
}
_MAGNITUDES = ("mag_{}", "MAG_{}", "{}mag", "{}_mag", "{}'mag", "{}")
_ERRORS = (
    "err_{}",
    "magerr_{}",
    "MAGERR_{}",
    "e_{}mag",
    "e_{}_mag",
    "e_{}'mag",
    "e_mag_{}",
    "e_{}",
)


def find_columns(names: Sequence[str]) -> dict[str, str]:
    """Columns of a table by what they hold: ra, dec, color, mag_<band>, err_<band>.

    Parameters
    ----------
    names : sequence of str
        Columns of the table.

    Returns
    -------
    dict
        Magnitudes are known as ``mag_r``, and of the usual bands also as ``r``, ``rmag`` or
        ``r_mag``; errors as ``err_r``, ``magerr_r``, ``e_rmag`` and the like.

    Raises
    ------
    AlgorithmError
        If there is no position or no magnitude.
    """
    lower = {name.lower(): name for name in names}
    found = {}
    for what, known in _PLACES.items():
        column = next((lower[name] for name in known if name in lower), None)
        if column is not None:
            found[what] = column
    for band in _bands_in(names):
        found[f"mag_{band}"] = next(p.format(band) for p in _MAGNITUDES if p.format(band) in names)
        error = next((p.format(band) for p in _ERRORS if p.format(band) in names), None)
        if error is not None:
            found[f"err_{band}"] = error
    _require(found, names)
    return found


def _bands_in(names: Sequence[str]) -> list[str]:
    told = [name[4:] for name in names if name.startswith(("mag_", "MAG_")) and len(name) > 4]
    known = [
        band
        for system in _SYSTEMS
        for band in system
        if any(pattern.format(band) in names for pattern in _MAGNITUDES)
    ]
    return list(dict.fromkeys([*told, *known]))


def _require(found: Mapping[str, str], names: Sequence[str]) -> None:
    missing = [what for what in ("ra", "dec") if what not in found]
    if not any(name.startswith("mag_") for name in found):
        missing.append("mag_<band>")
    if missing:
        msg = f"the catalogue has no column {' and none '.join(missing)} among {', '.join(names)}"
        raise AlgorithmError(msg, n_columns=len(names))


def clean_table(columns: Mapping[str, Float64]) -> Table:
    """Rows with a position on the sky and at least one magnitude, as one table.

    Parameters
    ----------
    columns : mapping of str to NDArray[float64], shape (n,)
        Named as ``find_columns`` names them; positions in degrees, ICRS.

    Returns
    -------
    NDArray, shape (m,)
        Structured: ``ra``, ``dec`` and the others.

    Raises
    ------
    AlgorithmError
        If no row is left; carries ``n_rows``.
    """
    ra, dec = columns["ra"], columns["dec"]
    magnitudes = [values for name, values in columns.items() if name.startswith("mag_")]
    # what catalogues write for nothing (99, -999) is no magnitude
    known = np.any([np.isfinite(part) & (np.abs(part) < 50.0) for part in magnitudes], axis=0)
    good = np.isfinite(ra) & np.isfinite(dec) & (ra >= 0) & (ra < 360) & (np.abs(dec) <= 90) & known
    if not good.any():
        msg = f"none of {ra.size} rows has a position in degrees and a magnitude"
        raise AlgorithmError(msg, n_rows=int(ra.size))
    table = np.zeros(int(good.sum()), dtype=[(name, "<f8") for name in columns])
    for name, values in columns.items():
        kept = values[good]
        is_magnitude = name.startswith("mag_")
        table[name] = np.where(np.abs(kept) < 50.0, kept, np.nan) if is_magnitude else kept
    return table


def color_bands(band: str, bands: Sequence[str]) -> tuple[str, str] | None:
    """The two neighbouring bands whose difference is the colour of a band; None without any."""
    for system in _SYSTEMS:
        here = [name for name in system if name in bands]
        if band in here and len(here) > 1:
            at = min(here.index(band), len(here) - 2)
            return here[at], here[at + 1]
    return None


def stars_near(
    table: Table, band: str, *, ra: float, dec: float, radius_deg: float
) -> CatalogStars | None:
    """Stars of one band within a circle.

    Parameters
    ----------
    table : NDArray
        As ``clean_table`` makes it.
    band : str
        Band, as in the table.
    ra, dec, radius_deg : float
        Circle [deg].

    Returns
    -------
    CatalogStars or None
        None where no star with a magnitude in the band lies in the circle.
    """
    a, d = np.radians(table["ra"] - ra), np.radians(table["dec"])
    apart = np.sin(d) * np.sin(np.radians(dec)) + np.cos(d) * np.cos(np.radians(dec)) * np.cos(a)
    near = table[(apart >= np.cos(np.radians(radius_deg))) & np.isfinite(table[f"mag_{band}"])]
    if near.size == 0:
        return None
    names = near.dtype.names or ()
    bands = [name.removeprefix("mag_") for name in names if name.startswith("mag_")]
    pair = color_bands(band, bands)
    color, color_name = None, ""
    if "color" in names:
        color, color_name = near["color"].copy(), "colour"
    elif pair is not None:
        color = near[f"mag_{pair[0]}"] - near[f"mag_{pair[1]}"]
        color_name = f"{pair[0]}-{pair[1]}"
    return CatalogStars(
        ra=near["ra"].copy(),
        dec=near["dec"].copy(),
        magnitude=near[f"mag_{band}"].copy(),
        magnitude_error=near[f"err_{band}"].copy() if f"err_{band}" in names else None,
        color=color,
        color_name=color_name,
    )
