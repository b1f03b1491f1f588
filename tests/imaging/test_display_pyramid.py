"""Tiles give back what went in, part by part, and refuse what is not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from astrid_site.imaging.cutouts import cut_out
from astrid_site.imaging.pyramid import (
    MASK,
    TILE,
    Layer,
    ViewError,
    Views,
    decode_values,
    encode_values,
    halve,
    halve_mask,
    pack_tile,
    unpack_tile,
    write_views,
)

NOISE = 10.0
STEP = NOISE / 16


def frame(ny: int = 600, nx: int = 700, *, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    data = rng.normal(0, NOISE, (ny, nx)).astype(np.float32)
    data[100::97, 50::89] += 30_000
    data[:, -5:] = np.nan
    return data


class Counted:
    """A file that counts the bytes read of it."""

    def __init__(self, path: Path) -> None:
        self.bytes = path.read_bytes()
        self.n_read = 0

    def __call__(self, start: int, length: int) -> bytes:
        self.n_read += length
        return self.bytes[start : start + length]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    data = frame()
    mask = np.where(np.isfinite(data), 0, 1).astype(np.uint16)
    mask[5, 7] = 512
    layers = [Layer("science", data, STEP, {"unit": "adu"}), Layer("noise", data * 0 + 3, 0.01)]
    write_views(
        tmp_path / "v", layers, mask=mask, pictures={"psf": b"PNG"}, facts={"sky": None, "n": 3}
    )
    return tmp_path / "v"


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_values_come_back_within_half_a_step_or_half_a_thousandth(scale: float) -> None:
    values = np.concatenate(
        [np.linspace(-50, 50, 5001), -np.geomspace(1, 1e9, 500), np.geomspace(1, 1e9, 500)]
    )
    values = (values * scale).astype(np.float32)
    back = decode_values(encode_values(values, step=STEP * scale), step=STEP * scale)
    allowed = 0.5 * np.hypot(STEP * scale, values / 1024.0)
    # 1 % more: codes are computed in float32
    assert (np.abs(back - values) <= 1.01 * allowed).all()


def test_rounding_adds_next_to_nothing_to_the_noise() -> None:
    values = frame(seed=2)[:, :600]
    values = values[np.abs(values) < 100]
    error = decode_values(encode_values(values, step=STEP), step=STEP) - values
    # a uniform error of one step has the variance step^2 / 12: 0.018 of a noise of 16 steps
    assert error.std() == pytest.approx(STEP / np.sqrt(12), rel=0.02)
    assert abs(error.mean()) < 5 * error.std() / np.sqrt(values.size)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_missing(value: float) -> None:
    assert np.isnan(decode_values(encode_values(np.float32([value]), step=1.0), step=1.0)).all()


def test_the_largest_values_stay_large_and_known() -> None:
    values = np.float32([3e38, -3e38])
    back = decode_values(encode_values(values, step=1.0), step=1.0)
    assert (np.sign(back) == [1, -1]).all()
    assert (np.abs(back) > 1e16).all()


def test_a_tile_of_noise_takes_less_than_a_byte_for_a_pixel() -> None:
    rng = np.random.default_rng(3)
    codes = encode_values(rng.normal(0, NOISE, (TILE, TILE)).astype(np.float32), step=STEP)
    packed = pack_tile(codes)
    # the entropy of a normal distribution of width 16 is 6.05 bits
    assert 6.05 / 8 < len(packed) / codes.size < 6.6 / 8
    assert np.array_equal(unpack_tile(packed, codes.shape), codes)


def test_every_tile_of_every_level_is_the_mean_of_its_pixels(written: Path) -> None:
    views, level = Views(Counted(written)), frame()
    for number, told in enumerate(views.layer("science")["levels"]):
        assert told["shape"] == list(level.shape)
        assert told["step"] == STEP / 2**number
        for row in range(-(-level.shape[0] // TILE)):
            for column in range(-(-level.shape[1] // TILE)):
                part = level[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
                packed = views.tile("science", number, row=row, column=column)
                codes = unpack_tile(packed, part.shape)
                assert np.array_equal(codes, encode_values(part, step=told["step"]))
        level = halve(level)
    assert max(told["shape"]) <= TILE


def test_reading_one_tile_reads_little_of_the_file(written: Path) -> None:
    read = Counted(written)
    views = Views(read)
    assert views.layer_names == ("science", "noise")
    before = read.n_read
    tile = views.tile("science", 0, row=1, column=1)
    assert read.n_read - before == len(tile)
    assert before < 2000


def test_pictures_and_facts_come_back(written: Path) -> None:
    views = Views(Counted(written))
    assert views.picture("psf") == b"PNG"
    assert views.facts == {"sky": None, "n": 3}
    assert views.layer("science")["facts"] == {"unit": "adu"}
    assert views.index["shape"] == [600, 700]


def test_an_overview_is_the_finest_level_that_fits(written: Path) -> None:
    views = Views(Counted(written))
    expected = halve(frame())
    found = views.overview("science", max_side=512)
    assert found.shape == expected.shape
    allowed = 0.51 * np.hypot(STEP / 2, expected / 1024)
    known = np.isfinite(expected)
    assert (np.abs(found - expected)[known] <= allowed[known]).all()
    assert np.isnan(found[~known]).all()
    assert views.overview("science", max_side=10).shape == halve(expected).shape


@pytest.mark.parametrize(("x", "y"), [(350.2, 256.0), (3.0, 2.0), (697.0, 599.0), (255.5, 511.6)])
def test_a_square_is_cut_out_as_from_the_whole_image(written: Path, x: float, y: float) -> None:
    read = Counted(written)
    views = Views(read)
    assert views.index
    before = read.n_read
    found = views.cut_out("science", x, y, size=63)
    assert read.n_read - before < 4.1 * TILE * TILE
    rounded = decode_values(encode_values(frame(), step=STEP), step=STEP)
    assert np.array_equal(found, cut_out(rounded, x, y, size=63), equal_nan=True)


def test_a_square_beside_the_image_is_empty(written: Path) -> None:
    assert np.isnan(Views(Counted(written)).cut_out("science", -500.0, 20.0, size=31)).all()


def test_a_coarse_mask_has_every_bit_below_it(written: Path) -> None:
    views = Views(Counted(written))
    packed = views.tile(MASK, 1, row=0, column=0)
    assert unpack_tile(packed, (256, 256))[2, 3] == 512
    odd = np.arange(15, dtype=np.uint16).reshape(3, 5)
    assert halve_mask(odd).tolist() == [[0 | 1 | 5 | 6, 2 | 3 | 7 | 8, 4 | 9], [11, 13, 14]]


def test_means_leave_out_what_is_missing() -> None:
    data = np.float32([[1, 3, np.nan], [5, np.nan, np.nan]])
    assert halve(data)[0, 0] == 3.0
    assert np.isnan(halve(data)[0, 1])


@pytest.mark.parametrize(
    "ask",
    [
        lambda v: v.tile("moon", 0, row=0, column=0),
        lambda v: v.tile("science", 9, row=0, column=0),
        lambda v: v.tile("science", 0, row=3, column=0),
        lambda v: v.tile("science", 0, row=0, column=-1),
        lambda v: v.picture("moon"),
    ],
)
def test_what_is_not_there_is_refused(written: Path, ask) -> None:
    with pytest.raises(ViewError):
        ask(Views(Counted(written)))


@pytest.mark.parametrize("content", [b"", b"AIDVIEW1", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_other_files_are_told_apart(content: bytes) -> None:
    with pytest.raises(ViewError, match="no tiles"):
        _ = Views(lambda start, length: content[start : start + length]).index


def test_wrong_arguments_are_refused_by_name(tmp_path: Path) -> None:
    data = frame(40, 50)
    with pytest.raises(ValueError, match="step"):
        Layer("a", data, 0.0)
    with pytest.raises(ValueError, match="2-D"):
        Layer("a", data[0], 1.0)
    with pytest.raises(ValueError, match="mask's shape"):
        write_views(tmp_path / "v", [Layer("a", data, 1.0)], mask=np.zeros((3, 3), np.uint16))
    with pytest.raises(ValueError, match="JSON"):
        write_views(tmp_path / "v", [], mask=np.zeros((3, 3), np.uint16), facts={"a": np.nan})
