"""The image every stage works on: pixels with variance, mask, WCS, PSF and zero point."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from astrid_site.imaging.masks import MaskArray
from astrid_site.imaging.psf import PsfField

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Image:
    """One exposure in one band. Arrays are ``[y, x]`` with shape (ny, nx); positions 0-based.

    Attributes
    ----------
    data : NDArray[float32]
        Pixel values in the frame's own units (``unit``); NaN never appears: such pixels hold 0
        and carry ``MaskPlane.NO_DATA``.
    mask : NDArray[uint16]
        ``MaskPlane`` bits; 0 is a good pixel.
    variance : NDArray[float32] or None
        Variance of ``data`` in squared units, or None while it has not been measured.
    wcs : astropy.wcs.WCS or None
        Celestial 2-D world coordinates, or None where the frame has none.
    psf : PsfField or None
        The PSF as a field, or None while it has not been measured.
    gain : float or None
        Electrons per data unit; None where header and survey are silent.
    read_noise : float or None
        Read noise [electrons]; None where unknown.
    saturation : float or None
        Level from which pixels are saturated [data units]; None where unknown.
    zero_point : float or None
        AB magnitude of one data unit of flux; None where nothing calibrates it.
    exposure_s : float or None
        Exposure time [s].
    noise_correlation : NDArray[float32] or None
        Correlation of the noise of neighbours at each lag (dy, dx), 1 in the middle; None where
        pixels are independent, or where nothing is known of it.
    unit : str
        FITS unit string of ``data`` ("adu" where BUNIT is silent).
    """

    data: FloatArray
    mask: MaskArray
    variance: FloatArray | None = None
    wcs: WCS | None = None
    psf: PsfField | None = None
    gain: float | None = None
    read_noise: float | None = None
    saturation: float | None = None
    zero_point: float | None = None
    exposure_s: float | None = None
    noise_correlation: FloatArray | None = None
    unit: str = "adu"

    def __post_init__(self) -> None:
        for name in ("mask", "variance"):
            plane = getattr(self, name)
            if plane is not None and plane.shape != self.data.shape:
                msg = f"{name}: shape {plane.shape} differs from data {self.data.shape}"
                raise ValueError(msg)

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return (int(self.data.shape[0]), int(self.data.shape[1]))

    def with_(self, **changes: Any) -> Image:
        """A copy with some attributes replaced."""
        return replace(self, **changes)
