"""The kernel that two measured PSFs imply, before any star of the pair is compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.psf import PsfField, position_terms
from differencing.algorithms.direction import is_undersampled
from differencing.algorithms.kernel_filters import central_psf

FloatArray = NDArray[np.float32]

#: Power below which, relative to its maximum, the moving PSF is not divided by. A PSF measured on
#: stars has noise of a few thousandths at the frequencies it hardly holds, and less in the product
#: of two.
_NOISE_POWER = 3e-5
_CROSS_NOISE_POWER = 1e-5
_GRID = 5


def expected_kernel(
    science: PsfField, template: PsfField, *, direction: str, half_width: int, order: int
) -> FloatArray:
    """Kernel between two PSF fields, as terms of a polynomial in position.

    Parameters
    ----------
    science, template : PsfField
        PSFs of the two images.
    direction : {"template", "science", "cross"}
        Which image the kernel convolves.
    half_width : int
        Half width of the kernel [pix].
    order : int
        Order of the polynomial.

    Returns
    -------
    NDArray[float32], shape (n_terms, 2 half_width + 1, 2 half_width + 1)

    Notes
    -----
    A Wiener quotient of the PSFs on a grid of positions, through which the polynomial is fitted.
    Where both images are convolved they are alike at the frame's centre, and stay so at the
    frequencies that hardly tell them apart.
    Its sum is one, less the wings outside ``half_width``.
    """
    ny, nx = science.shape
    x, y = (
        g.ravel() for g in np.meshgrid(np.linspace(0, nx - 1, _GRID), np.linspace(0, ny - 1, _GRID))
    )
    n = 2 ** int(np.ceil(np.log2(2 * max(science.size, template.size) + 2 * half_width)))
    of_science = _spectra(science.at(x, y), n)
    of_template = _spectra(template.at(x, y), n)
    if direction == "cross":
        of_science = of_science * _spectra(central_psf(template)[None], n)
        of_template = of_template * _spectra(central_psf(science)[None], n)
    fixed, moving = (
        (of_template, of_science) if direction == "science" else (of_science, of_template)
    )
    floor = _CROSS_NOISE_POWER if direction == "cross" else _NOISE_POWER
    alike = floor if direction == "cross" and not is_undersampled(science, template) else 0.0
    quotient = (fixed * moving.conj() + alike) / (np.abs(moving) ** 2 + floor)
    images = np.roll(np.fft.irfft2(quotient, (n, n)), (half_width, half_width), axis=(1, 2))
    size = 2 * half_width + 1
    kernels = images[:, :size, :size]
    terms = position_terms(x, y, shape=science.shape, order=order)
    solution, *_ = np.linalg.lstsq(terms, kernels.reshape(len(kernels), -1), rcond=None)
    return np.asarray(solution.reshape(-1, size, size), dtype=np.float32)


def _spectra(images: FloatArray, n: int) -> NDArray[np.complex128]:
    """Half spectra of centred images on an n x n grid, their middle pixel at the origin."""
    half = images.shape[-1] // 2
    padded = np.zeros((len(images), n, n))
    padded[:, : images.shape[-1], : images.shape[-1]] = images
    return np.fft.rfft2(np.roll(padded, (-half, -half), axis=(1, 2)))
