"""The pixels around one candidate as one small file of numbers, for a browser to draw."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging import display
from astrid_site.imaging.pyramid import (
    MASK,
    MISSING,
    STEPS_PER_NOISE,
    CodeArray,
    Views,
    corner_of,
    decode_values,
    encode_values,
    halve,
)

FloatArray = NDArray[np.float32]

#: Sides of the squares [pix]: the first one whose packet is small enough is sent.
SIDES = (75, 63)
#: No packet with the wider squares is larger [bytes].
LARGEST = 25_000
#: The context shows the frame around in pixels of so many of its own.
CONTEXT_GRAIN = 4
CONTEXT_SIDE = 63
STRETCHES: tuple[display.StretchName, ...] = ("zscale", "asinh", "percentile", "linear")

_SCIENCE = ("science", "noise")
_PAIR = ("template", "template-noise", "difference", "difference-noise", "score")


@dataclass(frozen=True)
class Square:
    """Codes of one plane around a candidate.

    Attributes
    ----------
    name : str
        Of the layer; ``mask`` and ``frame-mask`` hold ``MaskPlane`` bits.
    codes : NDArray[uint16], shape (side, side)
        As ``pyramid.encode_values`` makes them; ``MISSING`` where there is nothing.
    step : float or None
        Rounding near zero [unit]; None for bits.
    first : tuple of float
        Frame position (x, y) [pix] of the middle of the first pixel.
    unit : str
        Of the values.
    grain : int
        Frame pixels in a pixel of this square, along one side.
    """

    name: str
    codes: CodeArray
    step: float | None
    first: tuple[float, float]
    unit: str = ""
    grain: int = 1

    def values(self) -> FloatArray:
        """Values of the codes, NaN where there is nothing; only of squares with a step."""
        if self.step is None:
            msg = f"step: {self.name} holds bits, not values"
            raise ValueError(msg)
        return decode_values(self.codes, step=self.step)


def cut_squares(
    science: Views, pair: Views, *, x: float, y: float, side: int = SIDES[0]
) -> list[Square]:
    """Every plane around a position, its masks and the wider context, from stored tiles.

    Parameters
    ----------
    science, pair : Views
        Tiles of the calibrated frame, and of its difference with the reference.
    x, y : float
        Position [pix], 0-based.
    side : int
        Width of the squares [pix]; odd.

    Returns
    -------
    list of Square
        Science, reference, difference and score with the noise of the first three where it is
        known, ``context`` (the science frame in coarser pixels), ``mask`` and ``frame-mask``.
    """
    found = [
        _cut(views, name, x, y, side=side)
        for views, names in ((science, _SCIENCE), (pair, _PAIR))
        for name in names
        if name in views.layer_names
    ]
    masks = [
        _cut(views, MASK, x, y, side=side, called=called)
        for views, called in ((pair, MASK), (science, f"frame-{MASK}"))
    ]
    return [*_hide_unmeasured(found), _context(science, x, y), *masks]


def _hide_unmeasured(squares: Sequence[Square]) -> list[Square]:
    """Difference and score without the zeros where nothing was subtracted: there is no noise."""
    noise = next((s for s in squares if s.name == "difference-noise"), None)
    if noise is None:
        return list(squares)
    hidden = np.where(noise.codes == 0, np.uint16(MISSING), np.uint16(0))
    return [
        replace(s, codes=s.codes | hidden) if s.name in {"difference", "score"} else s
        for s in squares
    ]


def _cut(
    views: Views, name: str, x: float, y: float, *, side: int, called: str | None = None
) -> Square:
    layer = views.layer(name)
    left, bottom = corner_of(x, y, size=side, level=0)
    return Square(
        name=called or name,
        codes=views.cut_codes(name, x, y, size=side),
        step=layer["levels"][0].get("step"),
        first=(left, bottom),
        unit=layer.get("facts", {}).get("unit", ""),
    )


def _context(views: Views, x: float, y: float) -> Square:
    """The science frame around in coarse pixels; small frames have none, so they are halved."""
    layer = views.layer("science")
    deepest = CONTEXT_GRAIN.bit_length() - 1
    level = min(deepest, len(layer["levels"]) - 1)
    ratio = 2 ** (deepest - level)
    size = CONTEXT_SIDE * ratio
    left, bottom = corner_of(x, y, size=size, level=level)
    step = float(layer["levels"][level]["step"])
    values = decode_values(views.cut_codes("science", x, y, size=size, level=level), step=step)
    for _ in range(deepest - level):
        values, step = halve(values), step / 2
    middle = (ratio - 1) / 2 + 0.5
    first = ((left + middle) * 2**level - 0.5, (bottom + middle) * 2**level - 0.5)
    return Square(
        "context",
        encode_values(values, step=step),
        step,
        first,
        unit=layer["facts"]["unit"],
        grain=CONTEXT_GRAIN,
    )


def encode_triplet(planes: Mapping[str, FloatArray], *, x: float, y: float) -> list[Square]:
    """Squares of stored cutouts, for frames of which no tiles are kept.

    Parameters
    ----------
    planes : mapping of str to NDArray[float32], shape (side, side)
        Cutouts by the name of the layer; NaN where there is nothing.
    x, y : float
        Position [pix] that they are centred on.

    Returns
    -------
    list of Square
        The same planes, rounded to a part of their own noise.
    """
    found = []
    for name, values in planes.items():
        left, bottom = corner_of(x, y, size=values.shape[0], level=0)
        step = _noise(values) / STEPS_PER_NOISE
        found.append(Square(name, encode_values(values, step=step), step, (left, bottom)))
    return found


def _noise(values: FloatArray) -> float:
    """Robust width of the values; 1 where they have none."""
    finite = values[np.isfinite(values)].astype(np.float64)
    width = 1.4826 * float(np.median(np.abs(finite - np.median(finite)))) if finite.size else 0.0
    return width or 1.0


def pack_squares(squares: Sequence[Square]) -> bytes:
    """Squares as gzip: what they are as JSON, then all lower bytes, then all upper bytes.

    The first four bytes, little-endian, are the length of the JSON. It names every square, in
    order, and for each stretch the limits that suit science image and reference together.
    """
    told = {
        "squares": [
            {
                "name": square.name,
                "side": square.codes.shape[0],
                "step": square.step,
                "first": square.first,
                "unit": square.unit,
                "grain": square.grain,
            }
            for square in squares
        ],
        "limits": _limits({square.name: square for square in squares}),
    }
    head = json.dumps(told, allow_nan=False, separators=(",", ":")).encode()
    codes = np.concatenate([square.codes.ravel() for square in squares]).astype("<u2")
    body = np.ascontiguousarray(codes.view(np.uint8).reshape(-1, 2).T).tobytes()
    packer = zlib.compressobj(6, zlib.DEFLATED, 31, 9)
    return packer.compress(len(head).to_bytes(4, "little") + head + body) + packer.flush()


def _limits(by_name: Mapping[str, Square]) -> dict[str, Any]:
    pair = [by_name[name].values() for name in ("science", "template") if name in by_name]
    found = {name: display.shared_limits(pair, stretch=name) for name in STRETCHES}
    return {name: [limits.low, limits.high] for name, limits in found.items()}
