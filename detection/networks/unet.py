"""A U-Net that looks at whole differences: where is something new, a star, a trail?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

FloatArray = NDArray[np.float32]

#: What each pixel is given a probability of.
CLASSES = ("change", "star", "trail")
N_PLANES = 4
#: Four planes, and where the difference has pixels.
N_CHANNELS = N_PLANES + 1
#: Width of the tiles that a frame is looked at in, and of the margin that is thrown away [pix].
TILE, MARGIN = 256, 24
_MAD_TO_SIGMA = 1.4826
#: The score is in sigma already: it is kept linear, a threshold away from 1, as far as it matters.
_SCORE_UNIT, _MAX_SCORE = 5.0, 30.0
_SCORE_CHANNEL = 3
#: Logit that training begins with: nearly all pixels show nothing.
_RARE = -4.0


class Block(nn.Module):
    """Two convolutions, each normalised and rectified."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (n, n_out, ny, nx)."""
        return cast(Tensor, self.layers(maps))


class UNet(nn.Module):
    """Down by twos, up again, with what each level saw laid beside what comes from below [1]_.

    References
    ----------
    .. [1] Ronneberger, Fischer & Brox 2015, arXiv:1505.04597, figure 1; here three levels, padded
       convolutions and interpolation in place of transposed convolutions.
    """

    def __init__(self, widths: tuple[int, int, int] = (8, 16, 32)) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            Block(n_in, n_out)
            for n_in, n_out in zip((N_CHANNELS, *widths[:-1]), widths, strict=True)
        )
        self.up = nn.ModuleList(
            Block(widths[i + 1] + widths[i], widths[i]) for i in reversed(range(len(widths) - 1))
        )
        # the size of the score beside the maps: what a matched filter knows need not be learnt
        self.logit = nn.Conv2d(widths[0] + 1, len(CLASSES), 1)
        nn.init.constant_(cast(Tensor, self.logit.bias), _RARE)

    def forward(self, channels: Tensor) -> Tensor:
        """Logits of ``CLASSES`` (n, 3, ny, nx) of channels (n, 5, ny, nx), sides of fours."""
        seen: list[Tensor] = []
        maps = channels
        for i, block in enumerate(self.down):
            maps = block(maps if i == 0 else nn.functional.max_pool2d(maps, 2))
            seen.append(maps)
        for i, block in enumerate(self.up):
            wider = nn.functional.interpolate(maps, scale_factor=2.0, mode="nearest")
            maps = block(torch.cat([wider, seen[-2 - i]], dim=1))
        size = channels[:, _SCORE_CHANNEL : _SCORE_CHANNEL + 1].abs()
        return cast(Tensor, self.logit(torch.cat([maps, size], dim=1)))


def normalise_tiles(planes: Tensor) -> Tensor:
    """What the network sees of tiles, in units of their own noise.

    Parameters
    ----------
    planes : Tensor, shape (n, 4, ny, nx)
        Science, template, difference [one unit], score [sigma]; NaN where there is nothing.

    Returns
    -------
    Tensor, float32, shape (n, 5, ny, nx)
        ``asinh((value - median) / sigma)`` of the first three, sigma of the template being the
        science plane's; the score in fives of sigma, cut at 30; and where the difference has
        pixels. Missing pixels are 0.

    Raises
    ------
    ValueError
        If the shape is another.
    """
    if planes.ndim != 4 or planes.shape[1] != N_PLANES:
        msg = f"planes: need shape (n, {N_PLANES}, ny, nx), got {tuple(planes.shape)}"
        raise ValueError(msg)
    light = planes[:, :3]
    sample = light[:, :, ::2, ::2].flatten(2)
    level = sample.nanmedian(dim=2, keepdim=True).values
    sigma = _MAD_TO_SIGMA * (sample - level).abs().nanmedian(dim=2, keepdim=True).values
    # without contrast, or without pixels, there is no unit to measure in: nothing is shown
    sigma = torch.where(sigma > 0, sigma, torch.nan)
    sigma = torch.stack([sigma[:, 0], sigma[:, 0], sigma[:, 2]], dim=1)
    stretched = torch.asinh((light - level[..., None]) / sigma[..., None])
    score = planes[:, 3:].clamp(-_MAX_SCORE, _MAX_SCORE) / _SCORE_UNIT
    present = planes[:, 2:3].isfinite().to(torch.float32)
    return torch.cat([stretched.nan_to_num(0.0), score.nan_to_num(0.0), present], dim=1)


def probability_maps(
    network: UNet, planes: FloatArray, *, tile: int = TILE, margin: int = MARGIN
) -> FloatArray:
    """Probabilities over a whole frame, a tile at a time.

    Parameters
    ----------
    network : UNet
        In evaluation mode.
    planes : NDArray[float32], shape (4, ny, nx)
        As in ``normalise_tiles``.
    tile, margin : int
        Width of a tile and of its margin that is thrown away inside the frame [pix]; memory is
        that of one tile beside the frame's own planes.

    Returns
    -------
    NDArray[float32], shape (3, ny, nx)
        Of ``CLASSES``; change is 0 where the difference has no pixels.

    Raises
    ------
    ValueError
        If the tile has no middle left or is no multiple of four wide.
    """
    if tile % 4 or tile <= 2 * margin:
        msg = f"tile: need a multiple of 4 above twice the margin {margin}, got {tile}"
        raise ValueError(msg)
    ny, nx = planes.shape[1:]
    maps = np.zeros((len(CLASSES), ny, nx), dtype=np.float32)
    with torch.inference_mode():
        for top in _starts(ny, tile, margin):
            for left in _starts(nx, tile, margin):
                part = _cut(planes, top, left, tile=tile)
                channels = normalise_tiles(torch.from_numpy(part)[None])
                channels = channels.contiguous(memory_format=torch.channels_last)
                said = torch.sigmoid(network(channels))[0].numpy()
                rows, inner_rows = _inner(top, ny, tile=tile, margin=margin)
                columns, inner_columns = _inner(left, nx, tile=tile, margin=margin)
                maps[:, rows, columns] = said[:, inner_rows, inner_columns]
    maps[0][~np.isfinite(planes[2])] = 0.0
    return maps


def _starts(size: int, tile: int, margin: int) -> Iterator[int]:
    """First rows of tiles of which the middles cover the frame."""
    start = 0
    while True:
        yield start
        if start + tile >= size:
            return
        start = min(start + tile - 2 * margin, max(size - tile, 0))


def _cut(planes: FloatArray, top: int, left: int, *, tile: int) -> FloatArray:
    """One tile, NaN beyond the frame."""
    part = planes[:, top : top + tile, left : left + tile]
    whole = np.full((len(planes), tile, tile), np.nan, dtype=np.float32)
    whole[:, : part.shape[1], : part.shape[2]] = part
    return whole


def _inner(start: int, size: int, *, tile: int, margin: int) -> tuple[slice, slice]:
    """Rows of the frame that a tile answers for, and the same rows within the tile."""
    first = 0 if start == 0 else margin
    last = min(tile, size - start)
    if start + tile < size:
        last = tile - margin
    return slice(start + first, start + last), slice(first, last)
