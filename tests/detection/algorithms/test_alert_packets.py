"""Alert packets: Avro unpacked in a process apart, cutouts by arithmetic, damage refused."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from astropy.io import fits

from astrid_site.imaging.fits_limits import GIB, MIB
from detection.algorithms.alert_packets import centred, read_alerts, read_stamp
from detection.algorithms.avro import AvroError, AvroLimits, read_container

SYNC = bytes(range(16))
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "alert",
    "namespace": "a.b",
    "fields": [
        {"name": "n", "type": "long"},
        {"name": "x", "type": ["null", "double"]},
        {"name": "word", "type": {"type": "enum", "name": "e", "symbols": ["low", "high"]}},
        {"name": "again", "type": "e"},
        {"name": "key", "type": {"type": "fixed", "name": "f", "size": 3}},
        {"name": "flag", "type": "boolean"},
        {"name": "list", "type": {"type": "array", "items": "float"}},
        {"name": "map", "type": {"type": "map", "values": "int"}},
    ],
}


def whole(value: int) -> bytes:
    """A zigzag integer of variable length."""
    code, content = (value << 1) ^ (value >> 63), bytearray()
    while code > 0x7F:
        content.append(code & 0x7F | 0x80)
        code >>= 7
    return bytes([*content, code])


def text(value: bytes) -> bytes:
    return whole(len(value)) + value


RECORD = (
    whole(-300)
    + whole(1)
    + struct.pack("<d", 2.5)
    + whole(1)
    + whole(0)
    + b"key"
    + b"\x01"
    # a block with its size in bytes, then one without
    + whole(-1)
    + whole(4)
    + struct.pack("<f", 0.5)
    + whole(1)
    + struct.pack("<f", 1.5)
    + whole(0)
    + whole(1)
    + text(b"a")
    + whole(7)
    + whole(0)
)
TOLD = {
    "n": -300,
    "x": 2.5,
    "word": "high",
    "again": "low",
    "key": b"key",
    "flag": True,
    "list": [0.5, 1.5],
    "map": {"a": 7},
}


def container(
    *, schema: dict[str, Any] = SCHEMA, codec: str = "null", body: bytes = RECORD, count: int = 1
) -> bytes:
    told = {"avro.schema": json.dumps(schema).encode(), "avro.codec": codec.encode()}
    head = whole(len(told)) + b"".join(text(k.encode()) + text(v) for k, v in told.items())
    if codec == "deflate":
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = packer.compress(body) + packer.flush()
    return b"Obj\x01" + head + whole(0) + SYNC + whole(count) + text(body) + SYNC


def record_of(kind: Any, *, name: str = "value") -> dict[str, Any]:
    """A schema of one field."""
    return {"type": "record", "name": "r", "fields": [{"name": name, "type": kind}]}


def read(content: bytes, folder: Path, *, limits: AvroLimits | None = None) -> list[dict[str, Any]]:
    path = folder / "a.avro"
    path.write_bytes(content)
    return list(read_container(path, limits=limits))


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_every_type_of_the_specification_is_read(codec: str, tmp_path: Path) -> None:
    assert read(container(codec=codec), tmp_path) == [TOLD]
    assert read(container(codec=codec, body=2 * RECORD, count=2), tmp_path) == [TOLD, TOLD]


def test_values_come_as_they_are_stored(tmp_path: Path) -> None:
    when = {"type": "long", "logicalType": "timestamp-micros"}
    assert read(container(schema=record_of(when), body=whole(5)), tmp_path) == [{"value": 5}]
    hidden = struct.pack("<d", np.nan)
    (record,) = read(container(schema=record_of("double"), body=hidden), tmp_path)
    assert np.isnan(record["value"])


NODE = record_of(["null", "r"])


def test_a_record_may_hold_itself_but_not_without_end(tmp_path: Path) -> None:
    found = read(container(schema=NODE, body=whole(1) + whole(0)), tmp_path)
    assert found == [{"value": {"value": None}}]
    # the last one's reader overflows its stack and dies
    refusals = {200: "nested deeper", 1500: "RecursionError", 500_000: "crashed the reader"}
    for depth, words in refusals.items():
        with pytest.raises(AvroError, match=rf"a\.avro: .*{words}"):
            read(container(schema=NODE, body=depth * whole(1) + whole(0)), tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is it an avro file"),
        (b"PK\x03\x04", "is it an avro file"),
        (container()[:20], "is it an avro file"),
        (container()[:-20], "Expected 34 bytes, read 30"),
        (container()[:-4], "sync marker"),
        (container()[:-1] + b"!", "sync marker"),
        (container(codec="snappy"), "snappy"),
        (container(count=2), "EOFError"),
        (container(count=2_000_000), "2000000 records"),
        (container(count=-3), "-3 records"),
        (container(schema={"type": "array", "items": "int"}, body=b"\0"), "no record"),
        (container(schema=record_of("odd")), "UnknownType"),
        (container(body=RECORD.replace(whole(1), whole(5), 1)), "IndexError"),
        (container(schema=record_of("string"), body=whole(2**60) + b"abc"), "Expected"),
        (container(schema=record_of("bytes"), body=whole(-5) + b"abc"), "Expected -5 bytes"),
        (container(schema=record_of("string"), body=text(b"\xff")), "UnicodeDecodeError"),
        (
            container(
                schema=record_of({"type": "map", "values": "int"}),
                body=whole(1) + text(b"base64") + whole(7) + whole(0),
            ),
            "cannot be taken over",
        ),
    ],
)
def test_what_is_damaged_or_strange_is_refused_with_the_name_of_the_file(
    content: bytes, words: str, tmp_path: Path
) -> None:
    with pytest.raises(AvroError, match=rf"a\.avro: .*{words}"):
        read(content, tmp_path)
    assert read(container(), tmp_path) == [TOLD]


@pytest.mark.parametrize(
    ("content", "limits", "words"),
    [
        (
            container(schema={**NODE, "fields": []}, body=b"", count=1_000_000),
            {"max_unpacked_bytes": 1000},
            "take more than 1000 bytes",
        ),
        (
            container(schema=record_of("bytes"), body=text(bytes(3000))),
            {"max_record_bytes": 3000},
            "more than 3000 bytes",
        ),
        (container(), {"max_file_bytes": 100}, "larger than"),
    ],
)
def test_a_file_that_unpacks_to_more_than_allowed_is_refused(
    content: bytes, limits: dict[str, int], words: str, tmp_path: Path
) -> None:
    with pytest.raises(AvroError, match=rf"a\.avro: .*{words}"):
        read(content, tmp_path, limits=AvroLimits(**limits))
    assert read(container(), tmp_path) == [TOLD]


def test_a_block_that_unpacks_to_more_than_the_memory_is_refused(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    # 400 MB of zeros: what is packed up to a full flush stands for itself, however often
    zeros = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = 400 * zeros + packer.flush()
    content = container(codec="deflate").removesuffix(SYNC)
    start = content.index(SYNC) + len(SYNC)
    bomb = content[:start] + whole(1) + text(block) + SYNC
    assert len(bomb) < MIB
    with pytest.raises(AvroError, match=r"a\.avro: .*more memory than allowed"):
        read(bomb, tmp_path, limits=AvroLimits(memory_bytes=600 * MIB))
    assert read(container(), tmp_path) == [TOLD]


def test_billions_of_nothings_in_ten_bytes_are_given_up(tmp_path: Path) -> None:
    content = container(
        schema=record_of({"type": "array", "items": "null"}), body=whole(2**40) + whole(0)
    )
    # a second's worth of them takes a third of this memory
    limits = AvroLimits(memory_bytes=3 * GIB, cpu_seconds=1)
    with pytest.raises(AvroError, match=r"a\.avro: reading it took too long"):
        read(content, tmp_path, limits=limits)


def test_a_file_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    # nobody ever writes into this pipe: opening it blocks for good
    os.mkfifo(tmp_path / "a.avro")
    with pytest.raises(AvroError, match=r"a\.avro: reading it took too long"):
        list(read_container(tmp_path / "a.avro", limits=AvroLimits(wall_seconds=1)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (container(), "neither a ZTF nor an LSST alert: again"),
        (container(schema=record_of("null", name="diaSource"), body=b""), "NoneType"),
        (container(schema=record_of("int", name="diaSource"), body=whole(3)), "int"),
    ],
)
def test_records_that_are_no_alert_are_refused(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.avro"
    path.write_bytes(content)
    with pytest.raises(AvroError, match=rf"a\.avro: not an alert .*{words}"):
        list(read_alerts(path))


def stamp(data: np.ndarray, **cards: Any) -> bytes:
    buffer = io.BytesIO()
    hdu = fits.PrimaryHDU(data)
    hdu.header.update(cards)
    hdu.writeto(buffer)
    return buffer.getvalue()


def test_a_stamp_is_read_as_astropy_reads_it() -> None:
    rng = np.random.default_rng(1)
    floats = rng.normal(size=(5, 7)).astype(np.float32)
    floats[0, 0], floats[1, 1] = np.nan, -3.4e38
    found = read_stamp(stamp(floats))
    assert np.isnan(found[[0, 1], [0, 1]]).all()
    floats[1, 1] = np.nan
    np.testing.assert_array_equal(found, floats)
    whole_numbers = np.arange(12, dtype=np.int16).reshape(3, 4)
    content = stamp(whole_numbers, BLANK=3)
    expected = np.where(whole_numbers == 3, np.nan, whole_numbers)
    np.testing.assert_array_equal(read_stamp(content), expected.astype(np.float32))


@pytest.mark.parametrize(
    "content",
    [b"", b"nothing", stamp(np.zeros((4, 4)))[:2880], stamp(np.zeros(9)), b"\x1f\x8bbroken"],
)
def test_what_is_no_stamp_is_refused(content: bytes) -> None:
    with pytest.raises((ValueError, OSError, EOFError)):
        read_stamp(content)


def test_a_stamp_of_any_size_keeps_its_middle_in_the_middle() -> None:
    for ny, nx in ((63, 63), (30, 31), (101, 20)):
        data = np.zeros((ny, nx), dtype=np.float32)
        data[ny // 2, nx // 2] = 1.0
        found = centred(data)
        assert found.shape == (63, 63)
        assert found[31, 31] == 1.0
        assert np.isfinite(found).sum() == min(ny, 63) * min(nx, 63)


@pytest.mark.real_data
def test_real_packets_give_the_pixels_that_others_read_of_them(test_data: Path) -> None:
    folder = test_data / "ztf_alerts_dev"
    with np.load(folder / "triplets.npz", allow_pickle=False) as stored:
        expected = dict(zip(map(str, stored["candid"]), stored["triplets"], strict=True))
    with (folder / "metadata.csv").open(encoding="utf-8") as stream:
        table = {row["candid"]: row for row in csv.DictReader(stream)}
    n_same = 0
    for path in sorted((folder / "raw_avro").glob("*.avro"))[:8]:
        for alert in read_alerts(path):
            row = table[alert.alert_id]
            np.testing.assert_array_equal(alert.triplet, expected[alert.alert_id])
            assert alert.object_id == row["objectId"]
            assert alert.mjd == pytest.approx(float(row["jd"]) - 2_400_000.5, abs=1e-6)
            assert alert.snr == pytest.approx(1.0857 / float(row["sigmapsf"]), rel=1e-3)
            n_same += 1
    assert n_same == 8


@pytest.mark.real_data
def test_packets_in_the_lsst_schema_are_read_with_their_small_cutouts(test_data: Path) -> None:
    folder = test_data / "lsst_schema_alerts_dev"
    for name in ("HSC_396841556377608.avro", "LSSTCam_169298432598474793.avro"):
        (alert,) = read_alerts(folder / name)
        assert alert.survey == "LSST"
        assert name.endswith(f"{alert.alert_id}.avro")
        assert np.isfinite(alert.triplet[31, 31]).all()
        # 30 pixels wide: the rest is missing, not zero
        assert np.isnan(alert.triplet[0, 0]).all()


@pytest.mark.real_data
def test_a_damaged_packet_is_refused(test_data: Path) -> None:
    (path,) = (test_data / "bad_inputs_dev").rglob("42_*.avro")
    with pytest.raises(AvroError, match=r"42_\d+\.avro: .*sync marker"):
        list(read_alerts(path))


@pytest.mark.real_data
def test_a_packet_with_a_damaged_cutout_is_refused(test_data: Path, tmp_path: Path) -> None:
    path = min((test_data / "ztf_alerts_dev" / "raw_avro").glob("*.avro"))
    with path.open("rb") as stream:
        packet = fastavro.reader(stream)
        records: list[Any] = list(packet)
        schema: Any = packet.writer_schema
    stamp = bytearray(records[0]["cutoutTemplate"]["stampData"])
    # the checksum at the end of what gzip packed
    stamp[-8] ^= 1
    records[0]["cutoutTemplate"]["stampData"] = bytes(stamp)
    with (tmp_path / "damaged.avro").open("wb") as stream:
        fastavro.writer(stream, schema, records)
    with pytest.raises(AvroError, match=r"damaged\.avro: .*CRC"):
        list(read_alerts(tmp_path / "damaged.avro"))
