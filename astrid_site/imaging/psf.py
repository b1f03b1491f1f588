"""The point-spread function as a field: one normalised PSF image for every position of a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class PsfField:
    """A pixelised PSF whose pixels vary as a polynomial of position.

    Attributes
    ----------
    coefficients : NDArray[float32], shape (n_terms, size, size)
        Image of each polynomial term; ``size`` is odd, the PSF is centred on the middle pixel.
    order : int
        Order of the polynomial; ``n_terms == (order + 1) * (order + 2) / 2``.
    shape : tuple of int
        (ny, nx) of the frame, which scales positions to [-1, 1].
    fwhm_pix : float
        Full width at half maximum at the centre of the frame, in pixels.
    n_stars : int
        Stars the field was fitted to; 0 when the PSF was given.
    """

    coefficients: FloatArray
    order: int
    shape: tuple[int, int]
    fwhm_pix: float
    n_stars: int

    @property
    def size(self) -> int:
        """Width of the PSF images in pixels (odd)."""
        return int(self.coefficients.shape[-1])

    def at(self, x: NDArray[np.float64] | float, y: NDArray[np.float64] | float) -> FloatArray:
        """PSF images at positions, each with unit sum.

        Parameters
        ----------
        x, y : float or NDArray[float64], shape (n,)
            Positions, 0-based pixel centres.

        Returns
        -------
        NDArray[float32], shape (n, size, size)
            Unit-sum PSF images centred on their middle pixel.
        """
        terms = position_terms(
            np.atleast_1d(x), np.atleast_1d(y), shape=self.shape, order=self.order
        )
        # einsum would not use BLAS here, and take several times as long
        images = np.tensordot(terms.astype(np.float32), self.coefficients, axes=1)
        return np.asarray(images / images.sum(axis=(1, 2), keepdims=True), dtype=np.float32)


def position_terms(
    x: NDArray[np.float64] | NDArray[np.float32],
    y: NDArray[np.float64] | NDArray[np.float32],
    *,
    shape: tuple[int, int],
    order: int,
) -> NDArray[np.float64]:
    """Polynomial terms u^i v^j of positions scaled to [-1, 1], constant first, by total degree.

    Returns
    -------
    NDArray[float64], shape (n, n_terms)
    """
    ny, nx = shape
    u = 2.0 * np.asarray(x, dtype=np.float64) / max(nx - 1, 1) - 1.0
    v = 2.0 * np.asarray(y, dtype=np.float64) / max(ny - 1, 1) - 1.0
    columns = [u ** (total - j) * v**j for total in range(order + 1) for j in range(total + 1)]
    return np.stack(columns, axis=-1)


def constant_psf(image: FloatArray, *, shape: tuple[int, int], n_stars: int = 0) -> PsfField:
    """PSF field that is the same everywhere.

    Parameters
    ----------
    image : NDArray[float32], shape (size, size)
        PSF centred on its middle pixel; ``size`` odd; normalised here to unit sum.
    shape : tuple of int
        (ny, nx) of the frame.
    n_stars : int
        Stars it was measured on; 0 when it was given.

    Raises
    ------
    ValueError
        If the image is not square with odd size, or its sum is not positive.
    """
    if image.ndim != 2 or image.shape[0] != image.shape[1] or image.shape[0] % 2 == 0:
        msg = f"image: a PSF must be square with an odd number of pixels, got {image.shape}"
        raise ValueError(msg)
    total = float(image.sum())
    if not np.isfinite(total) or total <= 0:
        msg = f"image: the sum of a PSF must be positive, got {total}"
        raise ValueError(msg)
    unit = np.asarray(image / total, dtype=np.float32)
    return PsfField(
        coefficients=unit[None], order=0, shape=shape, fwhm_pix=measure_fwhm(unit), n_stars=n_stars
    )


def measure_fwhm(psf: FloatArray) -> float:
    """Full width at half maximum of a centred PSF image [pix], from the area above half maximum.

    The area is counted on a cubic-spline refinement of the core: straight lines between pixels
    would make a PSF of 2 pixels 10 % too narrow.
    """
    half = psf.shape[0] // 2
    inner = _core_half_width(psf)
    fine = np.linspace(half - inner, half + inner, 16 * 2 * inner + 1)
    y, x = np.meshgrid(fine, fine, indexing="ij")
    dense = ndimage.map_coordinates(np.asarray(psf, dtype=np.float64), [y, x], order=3)
    area = float((dense > dense.max() / 2.0).sum()) / 16.0**2
    return 2.0 * float(np.sqrt(area / np.pi))


def _core_half_width(psf: FloatArray) -> int:
    """Pixels from the centre that hold the half-maximum contour, and two more."""
    half = psf.shape[0] // 2
    rows, columns = np.nonzero(psf > psf.max() / 2.0)
    reach = int(max(np.abs(rows - half).max(), np.abs(columns - half).max()))
    return int(min(half, reach + 2))
