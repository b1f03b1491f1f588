"""Unpacks the records of an Avro file; runs only in the disposable reader.

fastavro's C code overflows the stack of its process on records within records without end, and
unpacks whatever a block claims: neither may happen to who wants the records.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro

#: Bytes have no place in JSON: they are an object with this one key, and base64.
BYTES_KEY = "base64"
#: Of one block; an empty record takes no byte, so that a few bytes could claim any number.
_MAX_RECORDS = 1_000_000


def unpack_records(job: dict[str, Any]) -> None:
    """Write the records of ``job["path"]`` to ``job["output"]``, one line of JSON each.

    Raises
    ------
    ValueError
        If a block claims more records than any holds, a record is none, or the lines take more
        than ``job["max_bytes"]``; fastavro raises much else on damaged files.
    """
    # values stay as they are stored: a date or a decimal is one more thing to get wrong
    fastavro.read.LOGICAL_READERS.clear()
    left = job["max_bytes"]
    with Path(job["path"]).open("rb") as source, Path(job["output"]).open("wb") as lines:
        for record in _records(fastavro.block_reader(source)):
            line = json.dumps(record, default=_marked).encode() + b"\n"
            left -= len(line)
            if left < 0:
                msg = f"its records take more than {job['max_bytes']} bytes"
                raise ValueError(msg)
            lines.write(line)


def _records(blocks: fastavro.block_reader) -> Iterator[dict[str, Any]]:
    for block in blocks:
        if not 0 <= block.num_records <= _MAX_RECORDS:
            msg = f"{block.num_records} records in one block"
            raise ValueError(msg)
        for record in block:
            if not isinstance(record, dict):
                msg = "its schema is no record"
                raise TypeError(msg)
            yield record


def _marked(value: object) -> dict[str, str]:
    if not isinstance(value, bytes):
        msg = f"a value of type {type(value).__name__}"
        raise TypeError(msg)
    return {BYTES_KEY: base64.b64encode(value).decode()}
