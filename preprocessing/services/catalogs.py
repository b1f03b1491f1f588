"""Catalogues of reference stars: taking them in, and finding the one for a frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from django.db import transaction

from astrid_site.core.models import FileKind
from astrid_site.core.storage import local_copy
from astrid_site.imaging.errors import AlgorithmError
from observations.models import Observation, Survey
from preprocessing.models import ReferenceCatalog
from preprocessing.services.products import put_array

if TYPE_CHECKING:
    from astropy.table import Table as AstropyTable

    from preprocessing.algorithms.star_catalog import Table
    from preprocessing.algorithms.zero_point import CatalogStars

#: More stars are no catalogue of one survey's fields, and would fill the memory.
MAX_STARS = 20_000_000
_FORMATS = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".fit": "fits"}


@dataclass(frozen=True)
class FoundCatalog:
    """The stars around a frame, and the catalogue they are of."""

    catalog: ReferenceCatalog
    stars: CatalogStars


def read_catalog(path: Path, *, columns: Mapping[str, str] | None = None) -> Table:
    """A table of reference stars from a CSV, ECSV or FITS file.

    ``columns`` names columns that are not called as is usual: ``{"mag_r": "rPSF"}``.

    Raises
    ------
    AlgorithmError
        If the file is no such table, or lacks what is needed.
    """
    from astropy.table import Table as TextTable

    from preprocessing.algorithms.star_catalog import clean_table, find_columns

    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        msg = f"{path.name}: a catalogue is a file of one of {', '.join(_FORMATS)}"
        raise AlgorithmError(msg)
    try:
        table = _read_fits(path) if kind == "fits" else TextTable.read(path, format=kind)
    except (OSError, ValueError, TypeError) as error:
        msg = f"{path.name} is no table: {error}"
        raise AlgorithmError(msg) from error
    if len(table) > MAX_STARS:
        msg = f"{path.name} has {len(table)} rows, more than {MAX_STARS}"
        raise AlgorithmError(msg, n_rows=len(table))
    for what, column in (columns or {}).items():
        if column not in table.colnames:
            msg = f"{path.name} has no column {column}"
            raise AlgorithmError(msg)
        if column != what:
            table.remove_columns([name for name in table.colnames if name == what])
            table.rename_column(column, what)
    arrays = {}
    for what, column in find_columns(table.colnames).items():
        try:
            values = np.ma.asarray(table[column], dtype=np.float64)
        except ValueError as error:
            msg = f"{path.name} is no table of numbers: {column}: {error}"
            raise AlgorithmError(msg) from error
        arrays[what] = np.asarray(values.filled(np.nan), dtype=np.float64)
    return clean_table(arrays)


def _read_fits(path: Path) -> AstropyTable:
    """The first table of a file that has positions; others come before it in some formats."""
    from astropy.io import fits
    from astropy.table import Table

    from preprocessing.algorithms.star_catalog import find_columns

    with fits.open(path) as units:
        tables = [unit for unit in units if isinstance(unit, fits.BinTableHDU | fits.TableHDU)]
        for unit in tables:
            try:
                find_columns(unit.columns.names)
            except AlgorithmError:
                continue
            return Table.read(unit)
        if not tables:
            msg = "it holds no table"
            raise ValueError(msg)
        return Table.read(tables[0])


def import_catalog(path: Path, survey: Survey, *, table: Table) -> tuple[ReferenceCatalog, bool]:
    """Keep a table of reference stars for a survey; True where it was not known yet.

    An older catalogue of the same name is put aside.
    """
    names = table.dtype.names or ()
    file = put_array(table, kind=FileKind.STARS, name=f"{path.stem}.npy"[:255])
    with transaction.atomic():
        catalog, is_new = ReferenceCatalog.objects.get_or_create(
            survey=survey,
            file=file,
            defaults={
                "name": path.name[:100],
                "bands": sorted(n.removeprefix("mag_") for n in names if n.startswith("mag_")),
                "has_color": "color" in names,
                "n_stars": len(table),
            },
        )
        older = ReferenceCatalog.objects.filter(survey=survey, name=catalog.name, is_active=True)
        older.exclude(pk=catalog.pk).update(is_active=False)
        if not is_new and not catalog.is_active:
            ReferenceCatalog.objects.filter(pk=catalog.pk).update(is_active=True)
    return catalog, is_new


def catalog_around(observation: Observation) -> FoundCatalog | None:
    """The newest catalogue of the frame's survey with stars in its band and part of the sky."""
    from preprocessing.algorithms.star_catalog import stars_near

    ra, dec, radius = observation.ra, observation.dec, observation.radius_deg
    if ra is None or dec is None or radius is None or not observation.band:
        return None
    rows = ReferenceCatalog.objects.filter(survey_id=observation.survey_id, is_active=True)
    for catalog in rows.select_related("file").order_by("-created_at"):
        if observation.band not in catalog.bands:
            continue
        with local_copy(catalog.file) as path:
            table = np.load(path, mmap_mode="r", allow_pickle=False)
            # a little more than the frame: headers point a little wrong
            stars = stars_near(
                table, observation.band, ra=ra, dec=dec, radius_deg=1.1 * radius + 0.01
            )
        if stars is not None:
            return FoundCatalog(catalog, stars)
    return None
