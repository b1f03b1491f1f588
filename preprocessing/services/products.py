"""Products in the store: images with all their planes, pictures of them, star lists."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid_site.core.models import FileKind, StoredFile
from astrid_site.core.storage import local_copy, put_bytes, put_file
from astrid_site.imaging.masks import MaskPlane, is_bad
from astrid_site.imaging.scratch import scratch_folder

if TYPE_CHECKING:
    from astrid_site.imaging.image import Image
    from preprocessing.algorithms.stars import StarList

_STAR_COLUMNS = ("x", "y", "flux", "flux_error", "peak", "is_star")
_STAR_DTYPE = np.dtype([(name, "?" if name == "is_star" else "<f8") for name in _STAR_COLUMNS])


def store_image(
    image: Image,
    *,
    kind: FileKind,
    name: str,
    header: Mapping[str, Any],
    history: Sequence[str] = (),
) -> StoredFile:
    """Write an image with all its planes and keep it."""
    from astrid_site.imaging.fits_io import write_image

    with scratch_folder() as folder:
        path = folder / "image.fits"
        write_image(path, image, header=header, history=history)
        return put_file(path, kind=kind, name=name, media_type="application/fits")


def load_image(stored: StoredFile) -> Image:
    """A stored product with all its planes."""
    from astrid_site.imaging.fits_io import read_product

    with local_copy(stored) as path:
        return read_product(path)[0]


def store_preview(image: Image, *, name: str, max_size: int = 1024) -> StoredFile:
    """A PNG of a frame, so many pixels wide at most; pixels without data are shown as missing."""
    from astrid_site.imaging.display import render_frame_png

    shown = np.where(is_bad(image.mask, MaskPlane.NO_DATA), np.float32(np.nan), image.data)
    return put_bytes(
        render_frame_png(shown, max_size=max_size),
        kind=FileKind.PREVIEW,
        name=name,
        media_type="image/png",
    )


def store_stars(stars: StarList, *, name: str) -> StoredFile:
    """A star list as a structured npy file."""
    table = np.zeros(len(stars), dtype=_STAR_DTYPE)
    for column in _STAR_COLUMNS:
        table[column] = getattr(stars, column)
    return put_array(table, kind=FileKind.STARS, name=name)


def load_stars(stored: StoredFile) -> StarList:
    """A stored star list."""
    from preprocessing.algorithms.stars import StarList

    with local_copy(stored) as path:
        table = np.load(path, allow_pickle=False)
    return StarList(**{name: np.ascontiguousarray(table[name]) for name in _STAR_COLUMNS})


def put_array(array: NDArray[Any], *, kind: FileKind, name: str) -> StoredFile:
    """An array as an npy file, without pickled objects."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return put_bytes(buffer.getvalue(), kind=kind, name=name, media_type="application/x-npy")
