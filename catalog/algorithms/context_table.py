"""Lists of known things of the sky as tables sorted by place, so that a few rows can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.healpix import ORDER, nested_indices
from catalog.algorithms.proper_motion import move_places

Float64 = NDArray[np.float64]
Table = NDArray[np.void]

#: Cells by which rows are found and coverage is told: 55 arcmin wide.
CELL_ORDER = 6
CELL_SHIFT = 2 * (ORDER - CELL_ORDER)
KEY_BYTES, TYPE_BYTES = 32, 16
ROW = np.dtype(
    [
        ("healpix14", "<i8"),
        ("ra", "<f8"),
        ("dec", "<f8"),
        ("pm_ra", "<f4"),
        ("pm_dec", "<f4"),
        ("magnitude", "<f4"),
        ("radius_arcsec", "<f4"),
        ("axis_ratio", "<f4"),
        ("angle_deg", "<f4"),
        ("redshift", "<f4"),
        ("key", f"S{KEY_BYTES}"),
        ("type", f"S{TYPE_BYTES}"),
    ]
)
#: How tables call what is wanted, in lower case.
_NAMES: dict[str, tuple[str, ...]] = {
    "ra": ("ra", "ra_icrs", "raj2000", "ra_deg", "_ra"),
    "dec": ("dec", "de_icrs", "dej2000", "dec_deg", "_de"),
    "pm_ra": ("pm_ra", "pmra", "pm_ra_cosdec"),
    "pm_dec": ("pm_dec", "pmdec", "pmde"),
    "epoch": ("ref_epoch", "epoch"),
    "magnitude": ("magnitude", "mag", "phot_g_mean_mag", "gmag", "rmag", "mag_r"),
    "radius_arcsec": ("radius_arcsec", "radius", "r_eff", "shape_r", "petror50_r"),
    "axis_ratio": ("axis_ratio", "ba", "b_a"),
    "angle_deg": ("angle_deg", "pa", "phi"),
    "redshift": ("redshift", "z", "zsp", "z_spec", "z_phot"),
    "key": ("key", "id", "source_id", "name", "objid", "main_id", "oid"),
    "type": ("type", "otype", "vartype", "class", "best_class_name"),
}
_WORDS = frozenset({"key", "type"})


@dataclass(frozen=True)
class SortedList:
    """A list ready to be kept.

    Attributes
    ----------
    rows : NDArray[void], shape (n,)
        Of dtype ``ROW``, sorted by ``healpix14``; NaN and empty where a value is not known.
    cells : list of [cell, first row]
        Occupied cells of order 6 and where the rows of each begin, in order.
    n_dropped : int
        Rows of the file without a place on the sky.
    fastest_mas_yr : float
        Largest proper motion.
    """

    rows: Table
    cells: list[list[int]]
    n_dropped: int
    fastest_mas_yr: float


def find_names(columns: Sequence[str]) -> dict[str, str]:
    """Columns of a table by what they hold.

    Raises
    ------
    AlgorithmError
        If there is no right ascension or no declination.
    """
    lower = {name.lower(): name for name in columns}
    found = {
        what: next(lower[name] for name in known if name in lower)
        for what, known in _NAMES.items()
        if any(name in lower for name in known)
    }
    missing = [what for what in ("ra", "dec") if what not in found]
    if missing:
        msg = f"no column for {' and '.join(missing)} among {', '.join(columns)}"
        raise AlgorithmError(msg)
    return found


def sort_list(
    numbers: Mapping[str, Float64], words: Mapping[str, Sequence[str]], *, epoch: float
) -> SortedList:
    """Rows of a list at one epoch, sorted by place.

    Parameters
    ----------
    numbers : mapping of str to NDArray[float64], shape (n,)
        By the names of ``find_names``; NaN where not known. Proper motions are in mas/yr, that
        of right ascension times cos(dec); an ``epoch`` column is in Julian years.
    words : mapping of str to sequence of str
        ``key`` and ``type``.
    epoch : float
        Epoch of the positions where no column says it, and of the rows returned [Julian year].

    Raises
    ------
    AlgorithmError
        If no row has a place on the sky.
    """
    ra, dec = numbers["ra"], numbers["dec"]
    good = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90.0)
    if not good.any():
        msg = "no row has a place on the sky"
        raise AlgorithmError(msg, n_rows=len(ra))
    told = {name: values[good] for name, values in numbers.items()}
    rows = np.zeros(int(good.sum()), dtype=ROW)
    for name in ROW.names or ():
        if ROW[name].kind == "f":
            rows[name] = told.get(name, np.nan)
    for name in _WORDS & words.keys():
        kept = np.asarray(words[name], dtype=str)[good]
        rows[name] = np.char.encode(kept, "ascii", "replace")
    if "epoch" in told:
        years = np.where(np.isfinite(told["epoch"]), epoch - told["epoch"], 0.0)
        rows["ra"], rows["dec"] = move_places(
            rows["ra"], rows["dec"], pm_ra=rows["pm_ra"], pm_dec=rows["pm_dec"], years=years
        )
    rows["ra"] %= 360.0
    rows["healpix14"] = nested_indices(rows["ra"], rows["dec"])
    rows = rows[np.argsort(rows["healpix14"], kind="stable")]
    cells, first = np.unique(rows["healpix14"] >> CELL_SHIFT, return_index=True)
    motion = np.hypot(rows["pm_ra"], rows["pm_dec"])
    return SortedList(
        rows=rows,
        cells=np.column_stack([cells, first]).tolist(),
        n_dropped=int((~good).sum()),
        fastest_mas_yr=float(np.nanmax(motion, initial=0.0)),
    )
