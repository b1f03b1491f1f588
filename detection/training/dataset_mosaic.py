"""A picture of some samples of a data set, for people to see what is learnt."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage

from astrid_site.imaging.display import MISSING_COLOUR
from detection.networks.real_bogus_input import SIZE, normalise

#: Samples shown of each class.
N_SHOWN = 24
#: Noise units at which black and white are, on the asinh stretch; the difference from -10 to 10.
_DARK, _BRIGHT = -3.0, 40.0
_REACH = 10.0


def choose_shown(listed: Sequence[Mapping[str, Any]]) -> list[int]:
    """Rows to show: of each class the kinds in turn, by the hash of the pixels within a kind."""
    chosen: list[int] = []
    for is_real in (True, False):
        by_kind: dict[str, list[int]] = {}
        rows = [i for i, row in enumerate(listed) if row["is_real"] is is_real]
        for i in sorted(rows, key=lambda i: str(listed[i]["cutout_sha256"])):
            by_kind.setdefault(f"{listed[i]['source']} {listed[i]['kind']}", []).append(i)
        rounds = max(map(len, by_kind.values()), default=0)
        in_turn = [rows[k] for k in range(rounds) for rows in by_kind.values() if k < len(rows)]
        chosen += in_turn[:N_SHOWN]
    return chosen


def draw_mosaic(triplets: NDArray[np.float32]) -> bytes:
    """Triplets (n, 63, 63, 3) below each other, their planes beside each other, as PNG.

    In noise units on an asinh stretch; the difference is grey where it is zero, and a pixel that
    is missing is purple.
    """
    planes = normalise(torch.from_numpy(np.ascontiguousarray(triplets))).numpy()
    low, high = np.arcsinh([_DARK, _BRIGHT])
    reach = np.arcsinh(_REACH)
    shown = np.empty_like(planes)
    shown[:, :2] = (planes[:, :2] - low) / (high - low)
    shown[:, 2] = 0.5 + 0.5 * planes[:, 2] / reach
    grey = np.clip(np.nan_to_num(shown, nan=0.0) * 255.0, 0.0, 255.0).astype(np.uint8)
    coloured = np.repeat(grey[..., None], 3, axis=-1)
    coloured[~np.isfinite(planes)] = MISSING_COLOUR
    # (n, plane, y, x, rgb) to rows of strips; y upwards
    strips = coloured[:, :, ::-1].transpose(0, 2, 1, 3, 4)
    picture = strips.reshape(len(planes) * SIZE, 3 * SIZE, 3)
    buffer = io.BytesIO()
    PillowImage.fromarray(np.ascontiguousarray(picture)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
