"""Avro object container files, read without trust: alert packets come from outside."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from astrid_site.imaging.errors import ImageReadError
from astrid_site.imaging.fits_limits import GIB, MIB
from astrid_site.imaging.fits_process import run_reader
from astrid_site.imaging.scratch import scratch_folder

Json = Any

#: As the reader marks what was bytes: an object of this one key.
_BYTES_KEYS = {"base64"}
#: Records within records; deeper ones are made to exhaust whoever handles them.
_MAX_DEPTH = 32


class AvroError(ValueError):
    """The file is no Avro container, is damaged, or asks for what no alert needs."""


@dataclass(frozen=True)
class AvroLimits:
    """What a file of alerts may hold, and what reading it may cost.

    Attributes
    ----------
    max_file_bytes : int
        Largest file read; an alert of ZTF takes 60 kB, one of LSST 200 kB.
    max_record_bytes : int
        Largest record, as JSON with its cutouts in base64.
    max_unpacked_bytes : int
        All records of a file, as JSON.
    memory_bytes, cpu_seconds, wall_seconds : int
        What the reader process may use before the kernel or the parent ends it.
    """

    max_file_bytes: int = 256 * MIB
    max_record_bytes: int = 32 * MIB
    max_unpacked_bytes: int = GIB
    memory_bytes: int = GIB
    cpu_seconds: int = 60
    wall_seconds: int = 90

    @property
    def output_bytes(self) -> int:
        """Largest file that the reader may write; beyond the limit that it checks itself."""
        return self.max_unpacked_bytes + MIB


def read_container(path: Path, *, limits: AvroLimits | None = None) -> Iterator[dict[str, Json]]:
    """Records of an Avro object container file, one after the other.

    The file is unpacked as a whole by fastavro in a disposable process before the first record is
    given: whatever a file does to its reader, it does not do here.

    Parameters
    ----------
    path : Path
        Of the file; codecs ``null``, ``deflate``, ``bzip2`` and ``xz``.
    limits : AvroLimits, optional
        Of the file and of its reader.

    Yields
    ------
    dict
        A record: names to values, bytes as ``bytes``, logical types as they are stored.

    Raises
    ------
    AvroError
        If the file is no such container, is cut short, needs another codec, is too large, or its
        reader crashed or used more memory or time than allowed.

    References
    ----------
    .. [1] Apache Avro 1.11 specification, "Object Container Files".
    """
    limits = limits or AvroLimits()
    if path.stat().st_size > limits.max_file_bytes:
        msg = f"{path.name}: larger than {limits.max_file_bytes >> 20} MiB"
        raise AvroError(msg)
    with scratch_folder() as folder:
        records = {
            "path": str(path.resolve()),
            "output": str(folder / "records.jsonl"),
            "max_bytes": limits.max_unpacked_bytes,
        }
        try:
            run_reader({"records": records}, folder=folder, file_name=path.name, limits=limits)
        except ImageReadError as error:
            raise AvroError(str(error)) from error
        yield from _unpacked(folder / "records.jsonl", limits, file_name=path.name)


def _unpacked(lines: Path, limits: AvroLimits, *, file_name: str) -> Iterator[dict[str, Json]]:
    """Records that the reader wrote; it may have been made to write anything."""
    with lines.open("rb") as stream:
        while line := stream.readline(limits.max_record_bytes + 1):
            try:
                if len(line) > limits.max_record_bytes:
                    msg = f"it takes more than {limits.max_record_bytes} bytes"
                    raise AvroError(msg)
                record = json.loads(line, object_hook=_with_bytes)
                _check_depth(record)
            except (ValueError, TypeError, RecursionError) as error:
                msg = f"{file_name}: a record that cannot be taken over: {error}"
                raise AvroError(msg) from error
            yield record


def _check_depth(record: Json) -> None:
    if not isinstance(record, dict):
        msg = "it has no names"
        raise TypeError(msg)
    level: list[Json] = [record]
    for _ in range(_MAX_DEPTH):
        inner = chain.from_iterable(v.values() if isinstance(v, dict) else v for v in level)
        level = [value for value in inner if isinstance(value, dict | list)]
    if level:
        msg = f"nested deeper than {_MAX_DEPTH}"
        raise AvroError(msg)


def _with_bytes(told: dict[str, Json]) -> Json:
    if told.keys() != _BYTES_KEYS:
        return told
    return base64.b64decode(told["base64"], validate=True)
