"""What the real-bogus network sees of a triplet: robust units, one stretch, missing pixels told.

A survey's units, background, sign convention and padding must not matter, so that everything is
derived from the triplet itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Width of a triplet, and of the middle that the network looks at [pix].
SIZE = 63
FIELD = 49
N_PLANES = 3
#: Three planes and, for each, where it has pixels.
N_CHANNELS = 2 * N_PLANES
#: Values beyond this are sentinels for missing pixels, as some surveys deliver them.
_SENTINEL = 1e30
_MAD_TO_SIGMA = 1.4826
#: Science and template keep one unit unless their noises differ by more than this factor: then
#: they were not delivered in one unit.
_MAX_NOISE_RATIO = 60.0
#: Half width [pix] of the weight that decides the sign of the difference.
_CENTRE_SIGMA = 1.5


def normalise(triplets: Tensor, *, width: int = SIZE) -> Tensor:
    """Bring triplets of any survey to noise units with a logarithmic stretch.

    Parameters
    ----------
    triplets : Tensor, shape (n, 63, 63, 3)
        Science, template, difference, in any units and on any background; NaN, infinite and
        sentinel values are missing pixels.
    width : int
        Width of the middle that is returned; odd. Level and noise are those of the whole.

    Returns
    -------
    Tensor, float32, shape (n, 3, width, width)
        ``asinh((value - median) / sigma)`` of each plane, sigma from the median absolute
        deviation. Science and template share the science plane's sigma; the difference has its
        own and the sign that makes its middle positive. NaN where a pixel is missing; a plane
        without any contrast is missing as a whole, and so are border rows and columns that hold
        one value only, as padding does.

    Raises
    ------
    ValueError
        If the shape is another.
    """
    if triplets.ndim != 4 or tuple(triplets.shape[1:]) != (SIZE, SIZE, N_PLANES):
        msg = f"triplets: need shape (n, {SIZE}, {SIZE}, {N_PLANES}), got {tuple(triplets.shape)}"
        raise ValueError(msg)
    planes = triplets.permute(0, 3, 1, 2).contiguous().to(torch.float32)
    planes = torch.where(planes.abs() < _SENTINEL, planes, torch.nan)
    planes = _without_padding(planes)
    level, sigma = _level_and_noise(planes)
    edge = (SIZE - width) // 2
    planes = planes[:, :, edge : SIZE - edge, edge : SIZE - edge]
    planes = _asinh((planes - level) / _shared(sigma))
    planes[:, 2:].mul_(_sign_of_middle(planes[:, 2:]))
    return planes


def is_usable(planes: Tensor) -> Tensor:
    """Which normalised triplets (n, 3, ny, nx) have a pixel in the middle of science or difference.

    Returns
    -------
    Tensor, bool, shape (n,)
    """
    row, column = planes.shape[2] // 2, planes.shape[3] // 2
    middle = planes[..., row - 2 : row + 3, column - 2 : column + 3]
    return middle[:, (0, 2)].isfinite().any(dim=(1, 2, 3))


def to_channels(planes: Tensor) -> Tensor:
    """The middle 49x49 of normalised planes, missing pixels 0, with a mask for each plane.

    Parameters
    ----------
    planes : Tensor, shape (n, 3, ny, nx)
        From ``normalise``; ny and nx odd and at least 49.

    Returns
    -------
    Tensor, float32, shape (n, 6, 49, 49)
    """
    top, left = (planes.shape[2] - FIELD) // 2, (planes.shape[3] - FIELD) // 2
    middle = planes[:, :, top : top + FIELD, left : left + FIELD]
    present = middle.isfinite()
    return torch.cat([middle.nan_to_num(0.0), present.to(middle.dtype)], dim=1)


def _without_padding(planes: Tensor) -> Tensor:
    """Rows and columns of one value only, given as missing."""
    # both are looked for before either is blanked: a frame around the middle is rows and columns
    columns, rows = (
        (planes == planes.narrow(axis, 0, 1)).all(dim=axis, keepdim=True) for axis in (2, 3)
    )
    return torch.where(columns | rows, torch.nan, planes)


def _level_and_noise(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Median and robust sigma of each plane, shape (n, 3, 1, 1); sigma NaN without contrast."""
    # every second pixel each way: 1,024 values fix a median to 4 % of sigma, four times faster
    sample = planes[:, :, ::2, ::2].flatten(2)
    level = sample.nanmedian(dim=2, keepdim=True).values
    deviation = (sample - level).abs()
    sigma = _MAD_TO_SIGMA * deviation.nanmedian(dim=2, keepdim=True).values
    # more than half of the pixels are equal where the sky was clipped or set to zero
    spread = torch.nanmean(deviation, dim=2, keepdim=True)
    sigma = torch.where(sigma > 0, sigma, spread)
    sigma = torch.where(sigma > 0, sigma, torch.nan)
    return level.unsqueeze(3), sigma.unsqueeze(3)


def _shared(sigma: Tensor) -> Tensor:
    """One unit for science and template where both have one of the same order."""
    science, template, difference = sigma.unbind(dim=1)
    ratio = template / science
    comparable = (ratio < _MAX_NOISE_RATIO) & (ratio > 1.0 / _MAX_NOISE_RATIO)
    return torch.stack([science, torch.where(comparable, science, template), difference], dim=1)


def _asinh(values: Tensor) -> Tensor:
    """Inverse hyperbolic sine; torch's own takes twice as long on a processor."""
    size = values.abs()
    return torch.log(size + torch.sqrt(size * size + 1.0)).copysign_(values)


def _sign_of_middle(difference: Tensor) -> Tensor:
    """1 or -1 (n, 1, 1, 1): the sign of the difference in its middle."""
    half = 7
    offset = torch.arange(-half, half + 1, device=difference.device, dtype=difference.dtype)
    profile = torch.exp(-0.5 * (offset / _CENTRE_SIGMA) ** 2)
    middle = difference.shape[-1] // 2
    near = slice(middle - half, middle + half + 1)
    # logarithmic values: one hot pixel does not outvote the rest
    values = difference[..., near, near].nan_to_num(0.0) * profile[:, None] * profile
    return torch.where(values.sum(dim=(2, 3), keepdim=True) < 0, -1.0, 1.0)
