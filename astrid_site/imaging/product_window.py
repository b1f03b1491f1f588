"""Small parts of our own FITS products, read without reading the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from astrid_site.imaging.fits_products import product_psf, product_wcs
from astrid_site.imaging.masks import MaskArray
from astrid_site.imaging.psf import PsfField

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """Pixels of one product around a position, cut off where the frame ends.

    Attributes
    ----------
    data : NDArray[float32], shape (h, w)
        Pixels.
    variance : NDArray[float32] or None, shape (h, w)
        None where the product has none.
    mask : NDArray[uint16], shape (h, w)
        ``MaskPlane`` bits.
    left, bottom : int
        Column and row of the first pixel in the frame.
    """

    data: FloatArray
    variance: FloatArray | None
    mask: MaskArray
    left: int
    bottom: int


class Product:
    """One of our own FITS products, opened for reading parts of it."""

    def __init__(self, hdus: fits.HDUList) -> None:
        self._hdus = hdus
        header = hdus[0].header
        self.shape: tuple[int, int] = (int(header["NAXIS2"]), int(header["NAXIS1"]))
        self._cards = {c.keyword: c.value for c in header.cards if c.keyword}

    @property
    def wcs(self) -> WCS | None:
        """World coordinates; None where the frame has none."""
        return product_wcs(self._cards)

    @property
    def zero_point(self) -> float | None:
        """AB magnitude of one data unit [mag]; None where it is not known."""
        value = self._cards.get("MAGZP")
        return None if value is None else float(value)

    @property
    def psf(self) -> PsfField | None:
        """The PSF of the whole frame; None where it has none."""
        return product_psf(self._hdus["PSF"]) if "PSF" in self._hdus else None

    def window(self, x: float, y: float, *, size: int) -> Window:
        """Pixels of a square around the pixel nearest to a position, as far as the frame goes.

        Parameters
        ----------
        x, y : float
            Position [pix], 0-based, on the frame.
        size : int
            Width of the square [pix]; odd.

        Returns
        -------
        Window

        Raises
        ------
        ValueError
            If no pixel of the square is on the frame.
        """
        rows, columns = self._square(x, y, size=size)
        has_variance = "VARIANCE" in self._hdus
        mask = self._hdus["MASK"].section[rows, columns]
        return Window(
            data=self.pixels(x, y, size=size),
            variance=self._cut("VARIANCE", rows, columns) if has_variance else None,
            mask=np.ascontiguousarray(mask, dtype=np.uint16),
            left=columns.start,
            bottom=rows.start,
        )

    def pixels(self, x: float, y: float, *, size: int) -> FloatArray:
        """The data of a window alone."""
        return self._cut(0, *self._square(x, y, size=size))

    def _square(self, x: float, y: float, *, size: int) -> tuple[slice, slice]:
        ny, nx = self.shape
        left, bottom = max(round(x) - size // 2, 0), max(round(y) - size // 2, 0)
        right, top = min(round(x) + size // 2 + 1, nx), min(round(y) + size // 2 + 1, ny)
        if left >= right or bottom >= top:
            msg = f"x, y: no pixel around {x:.1f}, {y:.1f} is on a frame of {nx} x {ny}"
            raise ValueError(msg)
        return slice(bottom, top), slice(left, right)

    def _cut(self, key: int | str, rows: slice, columns: slice) -> FloatArray:
        # whole rows are one read, parts of them one read each
        whole = self._hdus[key].section[rows, :]
        return np.ascontiguousarray(whole[:, columns], dtype=np.float32)


@contextmanager
def open_product(file: BinaryIO) -> Iterator[Product]:
    """A product that ``write_image`` wrote, from any file that can be read and searched.

    Only what is asked for is read: headers, the rows of a window, the PSF.
    """
    with fits.open(file, memmap=False, lazy_load_hdus=True) as hdus:
        yield Product(hdus)
