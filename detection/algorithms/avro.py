"""Avro object container files, read without trust: alert packets come from outside."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = Any
Schema = Any
Reader = Callable[["_Bytes", int], Any]

_MAGIC = b"Obj\x01"
_SYNC_BYTES = 16
#: A file, and a block of it once unpacked, hold no more [bytes]; an alert is a tenth of one.
MAX_BYTES = 1 << 28
#: Records within records; deeper ones are made to exhaust the reader.
_MAX_DEPTH = 32
_MAX_ITEMS = 1_000_000


class AvroError(ValueError):
    """The file is no Avro container, is damaged, or asks for what no alert needs."""


@dataclass
class _Bytes:
    """Bytes with a place in them."""

    content: bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        if count < 0 or count > len(self.content) - self.at:
            msg = f"{count} bytes are wanted at {self.at} of {len(self.content)}"
            raise AvroError(msg)
        part = self.content[self.at : self.at + count]
        self.at += count
        return part

    def whole(self) -> int:
        """A variable-length zigzag integer."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return (value >> 1) ^ -(value & 1)
        msg = f"an integer of more than ten bytes at {self.at}"
        raise AvroError(msg)


def read_container(path: Path) -> Iterator[dict[str, Json]]:
    """Records of an Avro object container file, one after the other.

    Parameters
    ----------
    path : Path
        Of the file; codecs ``null`` and ``deflate``.

    Yields
    ------
    dict
        A record: names to values, bytes as ``bytes``.

    Raises
    ------
    AvroError
        If the file is no such container, is cut short, or needs another codec.

    References
    ----------
    .. [1] Apache Avro 1.11 specification, "Object Container Files" and "Binary encoding".
    """
    if path.stat().st_size > MAX_BYTES:
        msg = f"{path.name}: larger than {MAX_BYTES >> 20} MiB"
        raise AvroError(msg)
    source = _Bytes(path.read_bytes())
    try:
        if source.take(len(_MAGIC)) != _MAGIC:
            msg = "not an Avro object container"
            raise AvroError(msg)
        yield from _records(source)
    except (AvroError, UnicodeDecodeError, json.JSONDecodeError, zlib.error) as error:
        msg = f"{path.name}: {error}"
        raise AvroError(msg) from error


def _records(source: _Bytes) -> Iterator[dict[str, Json]]:
    head = dict(_pairs(source, _read_bytes, 0))
    codec = head.get("avro.codec", b"null").decode()
    if codec not in {"null", "deflate"}:
        msg = f"codec {codec!r}; null and deflate are read"
        raise AvroError(msg)
    schema = json.loads(head.get("avro.schema", b"").decode())
    if not isinstance(schema, Mapping) or schema.get("type") != "record":
        msg = "its schema is no record"
        raise AvroError(msg)
    read = _reader(schema, {}, space="")
    sync = source.take(_SYNC_BYTES)
    while source.at < len(source.content):
        count, size = source.whole(), source.whole()
        block = _Bytes(_unpack(source.take(size), codec))
        for _ in range(_checked(count)):
            yield read(block, 0)
        if source.take(_SYNC_BYTES) != sync:
            msg = "a block does not end where it should"
            raise AvroError(msg)


def _unpack(content: bytes, codec: str) -> bytes:
    if codec == "null":
        return content
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = unpacker.decompress(content, MAX_BYTES)
    if not unpacker.eof:
        msg = "a packed block is cut short or too large"
        raise AvroError(msg)
    return plain


def _checked(count: int) -> int:
    if not 0 <= count <= _MAX_ITEMS:
        msg = f"{count} items in one block"
        raise AvroError(msg)
    return count


def _read_bytes(source: _Bytes, depth: int) -> bytes:
    return source.take(source.whole())


def _read_text(source: _Bytes, depth: int) -> str:
    return _read_bytes(source, depth).decode()


_PRIMITIVES: Mapping[str, Reader] = {
    "null": lambda source, depth: None,
    "boolean": lambda source, depth: source.take(1) != b"\0",
    "int": lambda source, depth: source.whole(),
    "long": lambda source, depth: source.whole(),
    "float": lambda source, depth: struct.unpack("<f", source.take(4))[0],
    "double": lambda source, depth: struct.unpack("<d", source.take(8))[0],
    "bytes": _read_bytes,
    "string": _read_text,
}


def _reader(schema: Schema, named: dict[str, Reader], *, space: str) -> Reader:
    """The function that reads one value of a schema; named types are remembered."""
    if isinstance(schema, list):
        return _union_reader([_reader(each, named, space=space) for each in schema])
    if isinstance(schema, str):
        return _named_reader(schema, named, space=space)
    if not isinstance(schema, Mapping):
        msg = f"a schema that is neither name, list nor object: {schema!r:.60}"
        raise AvroError(msg)
    kind = schema.get("type")
    if kind == "array":
        item = _reader(schema.get("items"), named, space=space)
        return lambda source, depth: list(_items(source, item, _deeper(depth)))
    if kind == "map":
        value = _reader(schema.get("values"), named, space=space)
        return lambda source, depth: dict(_pairs(source, value, _deeper(depth)))
    if kind in {"record", "fixed", "enum"}:
        return _complex_reader(schema, named, space=space)
    return _reader(kind, named, space=space)


def _named_reader(name: str, named: dict[str, Reader], *, space: str) -> Reader:
    if name in _PRIMITIVES:
        return _PRIMITIVES[name]
    full = name if "." in name or not space else f"{space}.{name}"
    for known in (full, name):
        if known in named:
            # looked up when it is used: a record may hold itself
            return lambda source, depth: named[known](source, _deeper(depth))
    msg = f"an unknown type {name!r:.60}"
    raise AvroError(msg)


def _complex_reader(
    schema: Mapping[str, Schema], named: dict[str, Reader], *, space: str
) -> Reader:
    name, inner = str(schema.get("name", "")), str(schema.get("namespace") or space)
    full = name if "." in name or not inner else f"{inner}.{name}"
    if schema["type"] == "fixed":
        size = int(schema.get("size", -1))
        named[full] = lambda source, depth: source.take(size)
    elif schema["type"] == "enum":
        symbols = list(schema.get("symbols", ()))
        named[full] = lambda source, depth: symbols[_within(source.whole(), len(symbols))]
    else:
        fields: list[tuple[str, Reader]] = []
        named[full] = lambda source, depth: {
            word: read(source, _deeper(depth)) for word, read in fields
        }
        # one by one: a field may be of the type of a field before it
        fields += [
            (str(field["name"]), _reader(field["type"], named, space=inner))
            for field in schema.get("fields", ())
        ]
    return named[full]


def _union_reader(branches: list[Reader]) -> Reader:
    return lambda source, depth: branches[_within(source.whole(), len(branches))](source, depth)


def _within(index: int, count: int) -> int:
    if not 0 <= index < count:
        msg = f"branch {index} of {count}"
        raise AvroError(msg)
    return index


def _deeper(depth: int) -> int:
    if depth >= _MAX_DEPTH:
        msg = f"nested deeper than {_MAX_DEPTH}"
        raise AvroError(msg)
    return depth + 1


def _items(source: _Bytes, read: Reader, depth: int) -> Iterator[Json]:
    """Items of an array: blocks of a count and, where that is negative, a size."""
    while count := source.whole():
        if count < 0:
            source.whole()
        for _ in range(_checked(abs(count))):
            yield read(source, depth)


def _pairs(source: _Bytes, read: Reader, depth: int) -> Iterator[tuple[str, Json]]:
    return ((name, value) for name, value in _items(source, _pair_of(read), depth))


def _pair_of(read: Reader) -> Reader:
    return lambda source, depth: (_read_text(source, depth), read(source, depth))
