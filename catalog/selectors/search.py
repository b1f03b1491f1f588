"""Finding objects: narrowed by the database, decided exactly, read page by page or all along."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from django.db.models import F, Q, QuerySet

from astrid_site.core.keyset import KeysetPage, decode_cursor, encode_cursor
from astrid_site.imaging.healpix import ORDER
from catalog.algorithms.object_search import ObjectSearch
from catalog.algorithms.sky_regions import Region
from catalog.models import AstroObject, ObjectStatement, SavedSearch
from catalog.selectors.objects import object_list

PAGE_SIZE = 50
#: Rows read at once where positions decide [rows].
CHUNK_ROWS = 5_000
_ORDER = "last_detected_at"
#: Regions that take less of the sky are read whole and sorted here.
_SMALL_SHARE = 0.02
#: So few rows are sorted here rather than by the data base.
_FEW_ROWS = 2_000
#: Rows tried at once for one page.
_PAGE_CHUNK_ROWS = 500
_N_CELLS = 12 * 4**ORDER


def matching(search: ObjectSearch) -> QuerySet[AstroObject]:
    """Objects that fit all but the region, which the index alone narrows; in no order."""
    rows = object_list(
        {
            "state": search.state,
            "classification": search.classification,
            "survey": search.survey,
        }
    ).order_by()
    if search.q:
        rows = rows.filter(_says(search.q))
    for condition, value in (
        ("last_detected_at__gte", search.since),
        ("first_detected_at__lte", search.until),
        ("brightest_magnitude__gte", search.min_magnitude),
        ("brightest_magnitude__lte", search.max_magnitude),
        ("best_real_bogus__gte", search.min_score),
        ("best_real_bogus__lte", search.max_score),
    ):
        if value is not None:
            rows = rows.filter(**{condition: value})
    return rows.filter(_covered(search.region)) if search.region else rows


def _says(words: str) -> Q:
    """Every word is in the name or the classification, or all of them in what a person stated."""
    named = Q()
    for word in words.split():
        named &= Q(name__icontains=word) | Q(classification__icontains=word)
    stated = ObjectStatement.objects.filter(
        text__icontains=words.strip(), withdrawn_by__isnull=True
    )
    return named | Q(pk__in=stated.values("astro_object"))


def _covered(region: Region) -> Q:
    condition = Q()
    for low, high in region.cover():
        condition |= Q(healpix14__gte=low, healpix14__lt=high)
    return condition


def search_page(
    search: ObjectSearch, *, cursor: str = "", size: int = PAGE_SIZE
) -> KeysetPage[AstroObject]:
    """Objects of one page, latest detection first, those never dated last."""
    rows = matching(search)
    place = decode_cursor(cursor)
    keys: list[UUID] = []
    for part in _parts_after(rows, place):
        keys += _first_inside(part, search, wanted=size + 1 - len(keys))
        if len(keys) > size:
            break
    found = AstroObject.objects.in_bulk(keys[:size])
    shown = [found[key] for key in keys[:size] if key in found]
    has_more = len(keys) > size and bool(shown)
    after = encode_cursor(getattr(shown[-1], _ORDER), shown[-1].pk) if has_more else ""
    return KeysetPage(rows=shown, after=after, is_first=place is None)


def _parts_after(
    rows: QuerySet[AstroObject], place: tuple[Any, str] | None
) -> Iterator[QuerySet[AstroObject]]:
    """What follows a place: dated rows, then undated ones; each part is one range of an index."""
    dated = rows.filter(last_detected_at__isnull=False).order_by(F(_ORDER).desc(), "id")
    undated = rows.filter(last_detected_at__isnull=True).order_by("id")
    if place is None:
        yield dated
        yield undated
        return
    value, key = place
    if value is None:
        yield undated.filter(id__gt=key)
        return
    # a range and what of its first value was shown: an index serves it, an OR would be a scan
    yield dated.filter(last_detected_at__lte=value).exclude(last_detected_at=value, id__lte=key)
    yield undated


def _first_inside(rows: QuerySet[AstroObject], search: ObjectSearch, *, wanted: int) -> list[UUID]:
    """Keys of the first rows inside the search's region, in the rows' own order."""
    if search == ObjectSearch():
        return list(rows.values_list("pk", flat=True)[:wanted])
    if (region := search.region) is None:
        return _first_of_many(rows, wanted=wanted)
    if _share_of_sky(region) < _SMALL_SHARE:
        return _sorted_inside(rows, region)[:wanted]
    keys: list[UUID] = []
    places = rows.values_list("pk", "ra", "dec").iterator(chunk_size=_PAGE_CHUNK_ROWS)
    for chunk in _chunked(places, size=_PAGE_CHUNK_ROWS):
        keys += [row[0] for row in _inside(chunk, region)]
        if len(keys) >= wanted:
            break
    return keys[:wanted]


def _first_of_many(rows: QuerySet[AstroObject], *, wanted: int) -> list[UUID]:
    """Keys of the first rows of a search of the whole sky.

    Rare rows are found by their own index or in one sweep and sorted here: in the order asked
    for, the data base would fetch nearly every row one by one until it has met enough of them.
    """
    few = list(rows.order_by().values_list("pk", _ORDER)[: _FEW_ROWS + 1])
    if len(few) > _FEW_ROWS:
        return list(rows.values_list("pk", flat=True)[:wanted])
    few.sort(key=lambda row: (-row[1].timestamp() if row[1] else 0.0, row[0]))
    return [row[0] for row in few[:wanted]]


def _share_of_sky(region: Region) -> float:
    """Part of the sky that a region's cells take."""
    ranges = region.cover()
    return sum(high - low for low, high in ranges) / _N_CELLS if ranges else 1.0


def _sorted_inside(rows: QuerySet[AstroObject], region: Region) -> list[UUID]:
    """Keys of all rows inside a small region, latest first.

    Asked for an order, SQLite walks the index of that order and tries every range on every row;
    few rows are sorted quicker here.
    """
    told = rows.order_by().values_list("pk", "ra", "dec", _ORDER)
    found = [row for chunk in _chunked(told.iterator()) for row in _inside(chunk, region)]
    found.sort(key=lambda row: (-row[3].timestamp() if row[3] else 0.0, row[0]))
    return [row[0] for row in found]


def _inside(chunk: list[tuple[Any, ...]], region: Region) -> list[tuple[Any, ...]]:
    """Rows of key, RA and Dec, ... that lie in a region."""
    is_inside = region.contains([row[1] for row in chunk], [row[2] for row in chunk])
    return [chunk[i] for i in np.flatnonzero(is_inside)]


def _chunked(
    rows: Iterator[tuple[Any, ...]], *, size: int = CHUNK_ROWS
) -> Iterator[list[tuple[Any, ...]]]:
    chunk: list[tuple[Any, ...]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def search_rows(search: ObjectSearch, columns: Sequence[str]) -> Iterator[list[tuple[Any, ...]]]:
    """Every object of a search in pieces, ``columns`` of each; memory does not grow with them."""
    region = search.region
    rows = matching(search).order_by().values_list("pk", "ra", "dec", *columns)
    for chunk in _chunked(rows.iterator(chunk_size=CHUNK_ROWS)):
        if region is None:
            yield [row[3:] for row in chunk]
            continue
        yield [row[3:] for row in _inside(chunk, region)]


def saved_searches(owner_id: int) -> QuerySet[SavedSearch]:
    """A person's own searches and those that others share, by name."""
    own_or_shared = Q(owner_id=owner_id) | Q(is_public=True)
    return SavedSearch.objects.filter(own_or_shared).select_related("owner").order_by("name", "id")
