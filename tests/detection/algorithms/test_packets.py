"""The pixels around a candidate as a browser gets them: every number where it belongs."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astrid_site.imaging import display
from astrid_site.imaging.pyramid import MISSING, Layer, Views, decode_values, write_views
from detection.algorithms.packets import (
    CONTEXT_GRAIN,
    LARGEST,
    SIDES,
    cut_squares,
    encode_triplet,
    pack_squares,
)

NY, NX = 300, 420
NOISE = 10.0
STEP = NOISE / 16


def views_of(path: Path, layers: dict[str, np.ndarray], mask: np.ndarray) -> Views:
    facts = {"unit": "adu"}
    rows = [
        Layer(name, data.astype(np.float32), 1.0 / 16 if name == "score" else STEP, facts)
        for name, data in layers.items()
    ]
    write_views(path, rows, mask=mask)
    content = path.read_bytes()
    return Views(lambda start, length: content[start : start + length])


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, np.ndarray], Views, Views]:
    """A frame and its difference; what lies in the lower left corner was never measured."""
    folder = tmp_path_factory.mktemp("views")
    rng = np.random.default_rng(5)
    planes = {
        "science": rng.normal(0, NOISE, (NY, NX)),
        "template": rng.normal(0, NOISE / 3, (NY, NX)),
        "difference": rng.normal(0, NOISE, (NY, NX)),
        "score": rng.normal(0, 1, (NY, NX)),
    }
    planes["science"][150, 200] = 5000.0
    planes["science"][160, 210] = np.nan
    noise = np.full((NY, NX), NOISE)
    silent = noise.copy()
    silent[:60, :60] = 0
    planes["difference"][:60, :60] = planes["score"][:60, :60] = 0
    mask = np.zeros((NY, NX), np.uint16)
    mask[155, 205] = 2
    science = views_of(folder / "s", {"science": planes["science"], "noise": noise}, mask)
    rest = {name: planes[name] for name in ("template", "difference", "score")}
    pair = views_of(folder / "p", rest | {"difference-noise": silent}, mask)
    return planes, science, pair


def unpack(packet: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a browser reads: the JSON, and the codes of every square."""
    content = gzip.decompress(packet)
    length = int.from_bytes(content[:4], "little")
    told = json.loads(content[4 : 4 + length])
    planes = np.frombuffer(content[4 + length :], np.uint8).reshape(2, -1).astype(np.uint16)
    codes, at, found = planes[0] | (planes[1] << 8), 0, {}
    for square in told["squares"]:
        n = square["side"] ** 2
        found[square["name"]] = codes[at : at + n].reshape(square["side"], square["side"])
        at += n
    return told, found


def test_every_pixel_comes_back_within_half_a_step_at_its_place_on_the_frame(frame) -> None:
    planes, science, pair = frame
    told, codes = unpack(pack_squares(cut_squares(science, pair, x=200.2, y=149.9)))
    for square in told["squares"]:
        if square["name"] not in planes:
            continue
        (left, bottom), side = square["first"], square["side"]
        truth = planes[square["name"]][bottom : bottom + side, left : left + side]
        values = decode_values(codes[square["name"]], step=square["step"])
        # a value v is rounded to within half of hypot(step, v / 1024)
        error = 0.5 * np.hypot(square["step"], truth / 1024)
        near = np.abs(values - truth) <= 1.01 * error
        assert (near | np.isnan(truth)).all(), square["name"]
        assert (np.isnan(values) == np.isnan(truth)).all()


def test_a_pixel_without_a_value_is_quoted_and_one_without_noise_has_no_difference(frame) -> None:
    _, science, pair = frame
    middle = {s.name: s for s in cut_squares(science, pair, x=210.0, y=160.0)}
    assert middle["science"].codes[37, 37] == MISSING
    corner = {s.name: s for s in cut_squares(science, pair, x=30.0, y=30.0)}
    # 75 pixels around 30 begin at -7: seven rows beyond the frame, then sixty without noise
    for name in ("difference", "score"):
        assert (corner[name].codes[:67, :67] == MISSING).all()
        assert (corner[name].codes[67:, 67:] != MISSING).all()
    assert (corner["science"].codes[7:, 7:] != MISSING).all()


def test_masks_keep_their_bits(frame) -> None:
    _, science, pair = frame
    squares = {s.name: s for s in cut_squares(science, pair, x=205.0, y=155.0)}
    for name in ("mask", "frame-mask"):
        assert squares[name].step is None
        assert squares[name].codes[37, 37] == 2
        assert np.count_nonzero(squares[name].codes) == 1


@pytest.mark.parametrize("size", [200, 1100])
def test_the_context_is_the_mean_of_the_frame_around_at_the_same_place(
    tmp_path: Path, size: int
) -> None:
    rows, columns = np.mgrid[0:size, 0:size]
    ramp = 3.0 * columns + 5.0 * rows  # its mean over any square is its value in the middle
    mask = np.zeros((size, size), np.uint16)
    science = views_of(tmp_path / "s", {"science": ramp}, mask)
    pair = views_of(tmp_path / "p", {"difference": ramp}, mask)
    square = next(s for s in cut_squares(science, pair, x=101.0, y=97.0) if s.name == "context")
    assert square.grain == CONTEXT_GRAIN
    values = square.values()
    j, i = np.mgrid[0 : values.shape[0], 0 : values.shape[1]]
    x, y = square.first[0] + CONTEXT_GRAIN * i, square.first[1] + CONTEXT_GRAIN * j
    inside = np.isfinite(values) & (x > 2) & (y > 2) & (x < size - 3) & (y < size - 3)
    assert inside.sum() > 1000
    # rounded twice, the second time to half of v / 1024 of the largest value
    assert np.allclose(values[inside], (3.0 * x + 5.0 * y)[inside], atol=8.0 * size / 1024)


def test_limits_are_those_of_the_science_image_and_the_reference_together(frame) -> None:
    _, science, pair = frame
    squares = cut_squares(science, pair, x=200.0, y=150.0)
    told, _ = unpack(pack_squares(squares))
    by_name = {s.name: s for s in squares}
    both = [by_name["science"].values(), by_name["template"].values()]
    for stretch, limits in told["limits"].items():
        wanted = display.shared_limits(both, stretch=stretch)
        assert limits == [wanted.low, wanted.high]


def test_a_packet_of_pure_noise_is_small(frame) -> None:
    _, science, pair = frame
    packet = pack_squares(cut_squares(science, pair, x=200.0, y=150.0, side=SIDES[0]))
    # five planes of noise at 6 bits a pixel are 21 kB; nothing else may weigh much
    assert len(packet) <= LARGEST


def test_stored_cutouts_are_sent_where_no_tiles_are_kept() -> None:
    rng = np.random.default_rng(6)
    planes = {"science": rng.normal(0, NOISE, (63, 63)).astype(np.float32)}
    planes["science"][3, 4] = np.nan
    planes["template"] = np.full((63, 63), 7.0, np.float32)  # without a noise of its own
    squares = encode_triplet(planes, x=100.0, y=50.0)
    assert [s.first for s in squares] == [(69, 19), (69, 19)]
    for square in squares:
        truth = planes[square.name]
        assert square.step is not None
        tolerance = 0.51 * np.hypot(square.step, truth / 1024)
        assert (np.isnan(truth) | (np.abs(square.values() - truth) <= tolerance)).all()
    assert squares[0].codes[3, 4] == MISSING


def test_bits_have_no_values(frame) -> None:
    _, science, pair = frame
    mask = cut_squares(science, pair, x=200.0, y=150.0)[-1]
    with pytest.raises(ValueError, match="bits"):
        mask.values()
