"""Reading candidates, their pixels, and why they are candidates."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from uuid import UUID

import numpy as np
from django.db.models import Q, QuerySet
from numpy.typing import NDArray

from astrid_site.core.errors import ApplicationError
from astrid_site.core.models import StoredFile
from astrid_site.core.storage import local_copy
from astrid_site.core.tiles import open_views
from astrid_site.imaging.pyramid import Views
from detection.models import Detection
from preprocessing.services.science import VIEWS_TYPE

#: Packets kept in memory by each server process; one is some twenty kilobytes.
KEPT_PACKETS = 256
#: Changes when the same pixels are packed another way.
_PACKING = "2"


def detection_list(filters: Mapping[str, Any] | None = None) -> QuerySet[Detection]:
    """Candidates, newest first; filters: observation, kept, min_score, min_real_bogus.

    Raises
    ------
    ApplicationError
        If a number is none.
    """
    wanted = {key: value for key, value in (filters or {}).items() if value not in {None, ""}}
    rows = Detection.objects.select_related("observation", "observation__survey", "run")
    if "observation" in wanted:
        rows = rows.filter(observation_id=wanted["observation"])
    if "kept" in wanted:
        rows = rows.filter(is_kept=str(wanted["kept"]).lower() in {"1", "true", "yes", "on"})
    if "min_score" in wanted:
        least = _number("min_score", wanted["min_score"])
        rows = rows.filter(Q(score__gte=least) | Q(score__lte=-least))
    if "min_real_bogus" in wanted:
        rows = rows.filter(real_bogus__gte=_number("min_real_bogus", wanted["min_real_bogus"]))
    return rows.order_by("-created_at", "id")


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        msg = f"{name}: must be a number, got {value!r}"
        raise ApplicationError(msg) from None


def cutouts(detection: Detection) -> NDArray[np.float32]:
    """Science, template, difference and score around a candidate, shape (4, 63, 63).

    Raises
    ------
    ApplicationError
        If the pixels are gone.
    """
    stored = detection.run.cutouts_file
    if stored is None:
        msg = "the cutouts of this candidate are not kept"
        raise ApplicationError(msg)
    with local_copy(stored) as path:
        stack = np.load(path, mmap_mode="r", allow_pickle=False)
        return np.array(stack[detection.index], dtype=np.float32)


def pixel_digest(detection: Detection) -> str:
    """What the pixels of a candidate follow from, as one hash; it changes when they do."""
    rows = (_frame_tiles(detection), _pair_tiles(detection), detection.run.cutouts_file)
    told = [_PACKING, f"{detection.x!r} {detection.y!r} {detection.index}"]
    told += [row.sha256 if row else "" for row in rows]
    return hashlib.sha256("|".join(told).encode()).hexdigest()


def pixel_packet(detection: Detection) -> bytes:
    """The pixels around a candidate as ``algorithms.packets`` packs them.

    From the tiles that workers made of its frame and its difference; where those are not kept,
    from its own cutouts, without noise, masks and context.

    Raises
    ------
    ApplicationError
        If neither is kept.
    """
    return _pixel_packet(pixel_digest(detection), detection.pk)


@lru_cache(maxsize=KEPT_PACKETS)
def _pixel_packet(digest: str, key: UUID) -> bytes:
    """The packet of one state of the stored files, which the digest stands for."""
    from detection.algorithms.packets import (
        LARGEST,
        SIDES,
        cut_squares,
        encode_triplet,
        pack_squares,
    )
    from detection.algorithms.triplets import PLANES

    detection = with_pixels(Detection.objects.all()).get(pk=key)
    x, y = detection.x, detection.y
    frame, pair = _frame_tiles(detection), _pair_tiles(detection)
    if frame is None or pair is None:
        planes = dict(zip(PLANES, cutouts(detection), strict=True))
        return pack_squares(encode_triplet(planes, x=x, y=y))
    tiles: tuple[Views, Views] = (open_views(frame), open_views(pair))
    for side in SIDES:
        packet = pack_squares(cut_squares(*tiles, x=x, y=y, side=side))
        if len(packet) <= LARGEST:
            break
    return packet


def frame_shape(detection: Detection) -> tuple[int, int]:
    """(ny, nx) of the calibrated frame, in which a candidate's pixels count; the raw may differ.

    Of what older versions worked through the raw frame's is all that is known.
    """
    stored = _pair_tiles(detection) or _frame_tiles(detection)
    if stored is None:
        return detection.observation.image_height, detection.observation.image_width
    ny, nx = open_views(stored).index["shape"]
    return ny, nx


def with_pixels(rows: QuerySet[Detection]) -> QuerySet[Detection]:
    """Candidates with the files that their pixels are in."""
    return rows.select_related(
        "run__cutouts_file",
        "run__difference_run__preview_file",
        "run__difference_run__science_image__preview_file",
    )


def _pair_tiles(detection: Detection) -> StoredFile | None:
    run = detection.run.difference_run
    return _tiles(run.preview_file) if run is not None else None


def _frame_tiles(detection: Detection) -> StoredFile | None:
    run = detection.run.difference_run
    image = run.science_image if run is not None else None
    return _tiles(image.preview_file) if image is not None else None


def _tiles(stored: StoredFile | None) -> StoredFile | None:
    """The file where it holds tiles; older versions made pictures only."""
    return stored if stored is not None and stored.media_type == VIEWS_TYPE else None


def why_here(detection: Detection) -> list[dict[str, Any]]:
    """Every cut with its value, limit, margin and outcome; the narrowest first."""
    return sorted(
        detection.cuts,
        key=lambda cut: (cut["margin"] is None, cut["margin"] if cut["margin"] is not None else 0),
    )
