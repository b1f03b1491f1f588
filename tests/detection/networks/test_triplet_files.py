"""Triplets read from NPZ files in parts, and files that are not what they should be."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from detection.networks.triplet_files import TripletFileError, open_triplets

SHAPE = (5, 5, 3)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", "i2", "f2"])
def test_parts_together_are_the_whole(tmp_path: Path, save: object, dtype: str) -> None:
    triplets = np.random.default_rng(1).integers(0, 99, (7, *SHAPE)).astype(dtype)
    save(tmp_path / "t.npz", other=np.zeros(3), triplets=triplets)  # type: ignore[operator]
    opened = open_triplets(tmp_path / "t.npz", shape=SHAPE)
    parts = list(opened.batches(3))
    assert [len(part) for part in parts] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(parts), triplets)
    assert len(opened) == 7


def test_fortran_order_is_read_too(tmp_path: Path) -> None:
    triplets = np.asfortranarray(np.random.default_rng(2).normal(size=(4, *SHAPE)))
    np.savez(tmp_path / "t.npz", triplets=triplets)
    parts = list(open_triplets(tmp_path / "t.npz", shape=SHAPE).batches(3))
    np.testing.assert_array_equal(np.concatenate(parts), triplets)


def test_an_empty_file_of_triplets_has_no_parts(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", triplets=np.zeros((0, *SHAPE)))
    assert list(open_triplets(tmp_path / "t.npz", shape=SHAPE).batches(3)) == []


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    with pytest.raises(TripletFileError, match="no such file"):
        open_triplets(path, shape=SHAPE)
    path.write_bytes(b"SIMPLE  =                    T")
    with pytest.raises(TripletFileError, match="not an NPZ"):
        open_triplets(path, shape=SHAPE)
    np.savez(path, images=np.zeros(3))
    with pytest.raises(TripletFileError, match="it holds images"):
        open_triplets(path, shape=SHAPE)
    np.savez(path, triplets=np.array([{"a": 1}], dtype=object))
    with pytest.raises(TripletFileError, match="never objects"):
        open_triplets(path, shape=SHAPE)
    np.savez(path, triplets=np.zeros((2, *SHAPE), complex))
    with pytest.raises(TripletFileError, match="real numbers"):
        open_triplets(path, shape=SHAPE)
    np.savez(path, triplets=np.zeros((2, 5, 5)))
    with pytest.raises(TripletFileError, match=r"shape \(2, 5, 5\)"):
        open_triplets(path, shape=SHAPE)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("triplets.npy", b"not an array at all")
    with pytest.raises(TripletFileError, match="not a NumPy array"):
        open_triplets(path, shape=SHAPE)


def test_a_file_cut_short_is_an_error_not_fewer_triplets(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez(tmp_path / "whole.npz", triplets=np.zeros((9, *SHAPE)))
    with zipfile.ZipFile(tmp_path / "whole.npz") as whole, zipfile.ZipFile(path, "w") as cut:
        cut.writestr("triplets.npy", whole.read("triplets.npy")[:-8])
    opened = open_triplets(path, shape=SHAPE)
    with pytest.raises(TripletFileError, match="bytes are missing"):
        list(opened.batches(4))
