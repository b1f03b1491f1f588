"""Real Fourier transforms of image tiles, the faster library behind one name."""

from __future__ import annotations

import math

import numpy as np
import scipy.fft
import torch

#: Complex spectra have shape (..., n, n // 2 + 1) for tiles of shape (..., n, n).
Tensor = torch.Tensor


def to_tensor(array: np.ndarray, device: str) -> Tensor:
    """Array as a float32 tensor on ``device``; shares memory on the CPU, so do not write to it."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(device)


def forward(tiles: Tensor) -> Tensor:
    """Half spectrum of real tiles."""
    spectrum: Tensor = torch.fft.rfft2(tiles)
    return spectrum


def inverse(spectrum: Tensor) -> Tensor:
    """Real square tiles of a half spectrum, which may be overwritten.

    On the CPU scipy's pocketfft is used: it measured 1.6 to 2.4 times faster than torch's on one
    tile of 256 or 512 pixels (the forward transform 0.7 times), and the two agree to float32
    rounding.
    """
    size = spectrum.shape[-2]
    if spectrum.device.type != "cpu":
        tiles: Tensor = torch.fft.irfft2(spectrum, s=(size, size))
        return tiles
    real = scipy.fft.irfft2(spectrum.resolve_conj().numpy(), s=(size, size), overwrite_x=True)
    return torch.from_numpy(real)


class SmallImageTransform:
    """Half spectra of small centred images (kernels, PSFs) as if zero-padded to a large tile.

    A product with two thin matrices: it needs no padding, and the image's middle pixel is the
    origin, so the spectrum of a symmetric image is real.
    """

    def __init__(self, image_size: int, tile_size: int, *, device: str) -> None:
        offset = torch.arange(image_size, device=device, dtype=torch.float32) - image_size // 2
        row = torch.arange(tile_size, device=device, dtype=torch.float32)
        column = torch.arange(tile_size // 2 + 1, device=device, dtype=torch.float32)
        turn = -2j * math.pi / tile_size
        self._rows = torch.exp(turn * row[:, None] * offset)
        self._columns = torch.exp(turn * column[:, None] * offset)

    def __call__(self, images: Tensor) -> Tensor:
        """Half spectra of images of shape (..., size, size)."""
        return self._rows @ images.to(torch.complex64) @ self._columns.T


def power_sum(spectrum: Tensor) -> Tensor:
    """Sum of the squared pixels of each tile, from its half spectrum (Parseval)."""
    size = spectrum.shape[-2]
    # abs would take the root of what is squared again
    parts = torch.view_as_real(spectrum) if spectrum.is_complex() else spectrum[..., None]
    power = parts.square().sum(dim=-1)
    total = 2.0 * power.sum(dim=(-2, -1)) - power[..., 0].sum(dim=-1)
    if size % 2 == 0:
        total = total - power[..., -1].sum(dim=-1)
    return total / float(size * size)


def crop_centre(tiles: Tensor, size: int) -> Tensor:
    """The ``size`` x ``size`` pixels around the origin of tiles whose origin is pixel (0, 0)."""
    half = size // 2
    rolled = torch.roll(tiles, (half, half), dims=(-2, -1))
    return rolled[..., :size, :size]
