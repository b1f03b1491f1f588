"""Hostile files: refused by arithmetic or by the disposable reader, never by luck."""

from __future__ import annotations

import os
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from astrid_site.imaging import fits_process
from astrid_site.imaging.errors import ImageReadError
from astrid_site.imaging.fits_cards import first_values, parse_cards
from astrid_site.imaging.fits_gate import check_structure
from astrid_site.imaging.fits_io import GateLimits, read_image
from astrid_site.imaging.fits_process import reader_usage, release_readers, run_reader
from tests.imaging import fits_samples as samples

PIXELS = np.arange(64 * 64, dtype="i2").reshape(64, 64)
GOOD = samples.image(PIXELS)
RICE = samples.compressed(PIXELS, "RICE_1")


def _two_hdus() -> bytes:
    extension = samples.header(
        [
            ("XTENSION", "IMAGE"),
            ("BITPIX", 16),
            ("NAXIS", 2),
            ("NAXIS1", 64),
            ("NAXIS2", 64),
            ("PCOUNT", 0),
            ("GCOUNT", 1),
        ]
    )
    return GOOD + extension + GOOD[samples.BLOCK :]


def _hcompress_that_says_more_than_its_header() -> bytes:
    raw = samples.compressed(PIXELS.astype("i4"), "HCOMPRESS_1")
    start = raw.index(b"\xdd\x99")
    side = (64).to_bytes(4, "big")
    return raw[: start + 2] + side + side + raw[start + 10 :]


def _pointer_outside_heap() -> bytes:
    raw = bytearray(RICE)
    table = raw.index(b"XTENSION")
    table += -(-(raw.index(b"END   ", table) - table) // samples.BLOCK) * samples.BLOCK
    raw[table + 4 : table + 8] = (2**31 - 1).to_bytes(4, "big")
    return bytes(raw)


def _summed(*, flip: int | None = None) -> bytes:
    hdu = fits.PrimaryHDU(PIXELS)
    hdu.add_checksum()
    raw = bytearray(hdu.header.tostring().encode() + PIXELS.astype(">i2").tobytes())
    raw += b"\0" * (-len(raw) % samples.BLOCK)
    if flip is not None:
        raw[samples.BLOCK + flip] ^= 0x10
    return bytes(raw)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "empty"),
    "an HTML page": (lambda: b"<!DOCTYPE html><html>404</html>", "not_fits"),
    "a JSON answer": (lambda: b'{"error": "no such product"}', "not_fits"),
    "a pickle": (lambda: b"\x80\x04\x95\x10\x00\x00\x00" + b"x" * 200, "not_fits"),
    "a zip": (lambda: b"PK\x03\x04" + b"\0" * 100, "unsupported_compression"),
    "random gzip": (lambda: samples.gzip.compress(b"hello world" * 100), "not_fits"),
    "an extension alone": (lambda: RICE[samples.BLOCK :], "not_fits"),
    "cut in the primary header": (lambda: GOOD[:1500], "truncated"),
    "cut in the pixels": (lambda: GOOD[: samples.BLOCK + 4000], "truncated"),
    "cut in the second header": (lambda: _two_hdus()[: len(GOOD) + 700], "truncated"),
    "cut in the word XTENSION": (lambda: _two_hdus()[: len(GOOD) + 5], "truncated"),
    "cut in the second image": (lambda: _two_hdus()[:-5000], "truncated"),
    "cut tiles": (lambda: RICE[:-3000], "truncated"),
    "cut gzip": (lambda: samples.gzip.compress(GOOD)[:-100], "damaged_container"),
    "gzip with a wrong sum": (
        lambda: samples.gzip.compress(GOOD)[:-8] + b"\1\2\3\4\5\6\7\0",
        "damaged_container",
    ),
    "cut bzip2": (lambda: samples.bzip2(GOOD)[:-100], "damaged_container"),
    "a gzip bomb": (lambda: samples.gzip_bomb(40 * 2**20), "bomb"),
    "a header without end": (
        lambda: samples.header([("SIMPLE", True), ("BITPIX", 8)], end=False) * 600,
        "endless_header",
    ),
    "NAXIS = 999": (lambda: samples.image(PIXELS, claims={"NAXIS": 999}), "malformed"),
    "NAXIS = -2": (lambda: samples.image(PIXELS, claims={"NAXIS": -2}), "malformed"),
    "BITPIX = 17": (lambda: samples.image(PIXELS, claims={"BITPIX": 17}), "malformed"),
    "no NAXIS2": (
        lambda: samples.header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", 9)]),
        "malformed",
    ),
    "SIMPLE = F": (lambda: samples.image(PIXELS, claims={"SIMPLE": False}), "malformed"),
    "28 GB": (
        lambda: samples.image(PIXELS, claims={"NAXIS1": 120_000, "NAXIS2": 120_000}),
        "too_large",
    ),
    "2**64 bytes": (lambda: samples.image(PIXELS, claims={"NAXIS1": 2**62}), "too_large"),
    "a negative axis": (lambda: samples.image(PIXELS, claims={"NAXIS1": -64}), "malformed"),
    "an axis as text": (lambda: samples.image(PIXELS, claims={"NAXIS1": "64"}), "malformed"),
    "two sizes": (lambda: samples.image(PIXELS, ("NAXIS1", 32)), "malformed"),
    "BSCALE as text": (lambda: samples.image(PIXELS, ("BSCALE", "abc")), "malformed"),
    "BSCALE = 0": (lambda: samples.image(PIXELS, ("BSCALE", 0)), "malformed"),
    "a cube": (lambda: samples.image(np.zeros((3, 8, 8), "i2")), "not_two_dimensional"),
    "one row": (lambda: samples.image(np.zeros(64, "i2")), "not_two_dimensional"),
    "all NaN": (lambda: samples.image(np.full((8, 8), np.nan, "f4")), "no_data"),
    "ZNAXIS1 of 4.7 GB": (lambda: samples.replace_card(RICE, "ZNAXIS1", 50_000_000), "bad_tiles"),
    "ZNAXIS2 doubled": (lambda: samples.replace_card(RICE, "ZNAXIS2", 128), "bad_tiles"),
    "ZTILE1 beyond the image": (lambda: samples.replace_card(RICE, "ZTILE1", 2**30), "bad_tiles"),
    "ZTILE1 = 0": (lambda: samples.replace_card(RICE, "ZTILE1", 0), "bad_tiles"),
    "ZCMPTYPE unknown": (lambda: samples.replace_card(RICE, "ZCMPTYPE", "EVIL_1"), "bad_tiles"),
    "BLOCKSIZE absurd": (lambda: samples.replace_card(RICE, "ZVAL1", 10**9), "bad_tiles"),
    "a heap pointer outside": (_pointer_outside_heap, "bad_tiles"),
    "HCOMPRESS says 64x64": (_hcompress_that_says_more_than_its_header, "bad_tiles"),
    "a flipped bit under DATASUM": (lambda: _summed(flip=1234), "checksum"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_by_name_and_leaves_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, code = HOSTILE[name]
    path = tmp_path / "upload.fits"
    path.write_bytes(make())
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(work))
    limits = GateLimits(free_expansion_bytes=2**20)
    with pytest.raises(ImageReadError) as refusal:
        read_image(path, file_name="ngc1.fits", limits=limits)
    assert refusal.value.code == code, refusal.value
    assert str(refusal.value).startswith("ngc1.fits")
    assert not list(work.iterdir())


def test_refusing_a_bomb_costs_little_memory_and_time(tmp_path: Path) -> None:
    path = tmp_path / "bomb.fits.gz"
    path.write_bytes(samples.gzip_bomb(200 * 2**20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    with pytest.raises(ImageReadError, match="unpacks"):
        check_structure(path, file_name="bomb", limits=GateLimits(free_expansion_bytes=4 * 2**20))
    # 5 MiB of content are unpacked before the cap; the whole bomb would be 200
    assert time.monotonic() - started < 5.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


def test_sound_sums_pass_the_gate(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(_summed())
    source = read_image(path)
    assert source.warnings == ()
    np.testing.assert_array_equal(source.image.data, PIXELS)


@pytest.mark.parametrize("cut", range(80, len(GOOD), 977))
def test_a_file_cut_anywhere_before_its_last_pixel_is_refused(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.fits"
    path.write_bytes(GOOD[:cut])
    if cut >= samples.BLOCK + PIXELS.nbytes:
        check_structure(path, file_name="cut", limits=GateLimits())
        return
    with pytest.raises(ImageReadError) as refusal:
        check_structure(path, file_name="cut", limits=GateLimits())
    assert refusal.value.code == "truncated"


def _job(folder: Path, raw: bytes, *, kind: str, shape: tuple[int, int]) -> dict[str, object]:
    """A job for the reader alone, as if the gate had let the last HDU of a file pass."""
    start = max(raw.rfind(b"XTENSION"), 0)
    end = raw.index(b"END".ljust(80), start)
    cards = [raw[i : i + 80] for i in range(start, end, 80)]
    offset = start + -(-(end + 80 - start) // samples.BLOCK) * samples.BLOCK
    path = folder / "upload.fits"
    path.write_bytes(raw)
    pixels = {
        "path": str(path),
        "kind": kind,
        "values": first_values(parse_cards(cards)),
        "data_offset": offset,
        "data_bytes": len(raw) - offset,
        "shape": shape,
        "output": str(folder / "pixels.npy"),
    }
    return {"pixels": pixels, "wcs": None, "shape": shape}


def test_a_reader_that_crashes_is_the_files_fault_only(tmp_path: Path) -> None:
    raw = _hcompress_that_says_more_than_its_header()
    job = _job(tmp_path, raw, kind="compressed", shape=(64, 64))
    with pytest.raises(ImageReadError) as refusal:
        run_reader(job, folder=tmp_path, file_name="x", limits=GateLimits(wall_seconds=20))
    # the decompressor writes beyond its buffer: glibc aborts the process, astropy notices, or,
    # seldom, the process never ends by itself
    assert refusal.value.code in {"reader_crashed", "unreadable", "reader_timeout"}


def test_a_reader_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    job = _job(tmp_path, RICE, kind="compressed", shape=(64, 64))
    # nobody ever writes into this pipe: opening it blocks for good
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    job["pixels"]["path"] = str(pipe)  # type: ignore[index]
    started = time.monotonic()
    with pytest.raises(ImageReadError) as refusal:
        run_reader(job, folder=tmp_path, file_name="x", limits=GateLimits(wall_seconds=1))
    assert refusal.value.code == "reader_timeout"
    assert time.monotonic() - started < 5.0


def test_readers_share_a_host_that_outlives_them(tmp_path: Path) -> None:
    path = tmp_path / "good.fits"
    path.write_bytes(GOOD)
    release_readers()
    read_image(path)
    first = _children()
    read_image(path)
    assert len(first) == 1
    assert _children() == first
    release_readers()
    assert not _children()


def test_what_readers_use_is_counted_while_their_host_lives(tmp_path: Path) -> None:
    path = tmp_path / "good.fits"
    path.write_bytes(GOOD)
    before = reader_usage()
    read_image(path)
    after = reader_usage()
    assert 0.0 < after.cpu_seconds - before.cpu_seconds < 10.0
    # numpy alone takes 20 MB
    assert after.peak_mb > 20.0


def test_a_host_that_somebody_kills_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "good.fits"
    path.write_bytes(GOOD)
    read_image(path)
    killed = _children()
    for host in killed:
        os.kill(host, signal.SIGKILL)
    assert (read_image(path).image.data == PIXELS).all()
    assert _children().isdisjoint(killed)


def test_a_host_killed_at_work_is_replaced_and_the_file_read(tmp_path: Path) -> None:
    job = _job(tmp_path, RICE, kind="compressed", shape=(64, 64))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    good, job["pixels"]["path"] = job["pixels"]["path"], str(pipe)  # type: ignore[index]
    release_readers()

    def kill_and_mend() -> None:
        while not (hosts := _children()):
            time.sleep(0.01)
        # the job is read anew by whoever takes it up: now it names the file
        time.sleep(0.5)
        text = (tmp_path / "job.json").read_text()
        (tmp_path / "job.json").write_text(text.replace(str(pipe), str(good)))
        for host in hosts:
            os.kill(host, signal.SIGKILL)

    killer = threading.Thread(target=kill_and_mend)
    killer.start()
    result = run_reader(job, folder=tmp_path, file_name="x", limits=GateLimits(wall_seconds=20))
    killer.join()
    assert result["finite"] == PIXELS.size


def test_frames_are_read_at_once_by_as_many_hosts(tmp_path: Path) -> None:
    path = tmp_path / "good.fits"
    path.write_bytes(GOOD)
    with ThreadPoolExecutor(4) as pool:
        sources = list(pool.map(read_image, [path] * 12))
    assert all((source.image.data == PIXELS).all() for source in sources)
    assert 1 <= len(_children()) <= 4


def _children() -> set[int]:
    """The readers' hosts of this process."""
    pids = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    found = {int(pid) for path in pids for pid in path.read_text().split()}
    return {
        pid for pid in found if b"fits_reader_child" in Path(f"/proc/{pid}/cmdline").read_bytes()
    }


def test_a_reader_without_memory_says_so(tmp_path: Path) -> None:
    # frames are read row by row: only a row can be too much
    ny, nx = 4, 100_000_000
    job = _job(tmp_path, GOOD, kind="image", shape=(ny, nx))
    job["pixels"]["data_bytes"] = 2 * ny * nx  # type: ignore[index]
    os.truncate(tmp_path / "upload.fits", samples.BLOCK + 2 * ny * nx)
    limits = GateLimits(memory_bytes=600 * 2**20)
    with pytest.raises(ImageReadError) as refusal:
        run_reader(job, folder=tmp_path, file_name="x", limits=limits)
    assert refusal.value.code == "too_large"


def test_the_memory_of_readers_is_not_that_of_who_starts_them(tmp_path: Path) -> None:
    path = tmp_path / "good.fits"
    path.write_bytes(GOOD)
    release_readers()
    fits_process._USAGE.restart()
    # pages that are written are pages in use, and the kernel counts them for a child, too
    ballast = np.ones(60_000_000)
    read_image(path)
    assert ballast.sum() == ballast.size
    assert 20.0 < reader_usage().peak_mb < 300.0
