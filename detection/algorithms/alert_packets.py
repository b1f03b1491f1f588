"""Alert packets of ZTF and in the LSST schema: what they say, and their cutouts as a triplet."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.fits_cards import BLOCK, CARD, first_values, is_end, parse_cards
from detection.algorithms.avro import AvroError, read_container

Json = Any
FloatArray = NDArray[np.float32]

SIZE = 63
_PLANES = ("Science", "Template", "Difference")
_TYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
#: No survey's cutout is wider [pix]; the bytes of one once unpacked.
_MAX_WIDTH, _MAX_BYTES = 512, 1 << 23
_MAX_BLOCKS = 40
#: Values beyond this are sentinels for missing pixels.
_SENTINEL = 1e30
_ZTF_BANDS = {1: "g", 2: "r", 3: "i"}
#: What comes of a record whose values are not of the types that the survey's schema says.
_MISFITS = (
    *(LookupError, TypeError, ValueError, AttributeError, ArithmeticError),
    *(OSError, EOFError, zlib.error),
)


@dataclass(frozen=True)
class Alert:
    """One alert with its cutouts.

    Attributes
    ----------
    survey : str
        "ZTF" or "LSST".
    alert_id, object_id : str
        As the survey names them; ``object_id`` empty where the source has no object.
    ra, dec : float
        ICRS [deg].
    mjd : float
        Of the exposure.
    band : str
        Empty where not told.
    snr : float
        Significance of the difference flux [sigma]; NaN where not told.
    triplet : NDArray[float32], shape (63, 63, 3)
        Science, template, difference in the survey's units, the source in the middle; NaN where
        there is no pixel, and everywhere in a plane that the packet does not hold.
    """

    survey: str
    alert_id: str
    object_id: str
    ra: float
    dec: float
    mjd: float
    band: str
    snr: float
    triplet: FloatArray


def read_alerts(path: Path) -> Iterator[Alert]:
    """Alerts of one Avro file, ZTF's or in the LSST schema.

    Raises
    ------
    AvroError
        If the file is damaged, of another schema, or a cutout is no image.
    """
    for record in read_container(path):
        try:
            yield read_alert(record)
        except _MISFITS as error:
            msg = f"{path.name}: not an alert that is understood: {error}"
            raise AvroError(msg) from error


def read_alert(record: Mapping[str, Json]) -> Alert:
    """One alert from its record.

    Raises
    ------
    AvroError
        If the schema is neither ZTF's nor LSST's.
    """
    if "candidate" in record and "objectId" in record:
        return _ztf(record)
    if "diaSource" in record:
        return _lsst(record)
    msg = f"neither a ZTF nor an LSST alert: {', '.join(sorted(record))[:120]}"
    raise AvroError(msg)


def _ztf(record: Mapping[str, Json]) -> Alert:
    told = record["candidate"]
    error = told.get("sigmapsf")
    stamps = {plane: (record.get(f"cutout{plane}") or {}).get("stampData") for plane in _PLANES}
    return Alert(
        survey="ZTF",
        alert_id=str(record["candid"]),
        object_id=str(record["objectId"]),
        ra=float(told["ra"]),
        dec=float(told["dec"]),
        mjd=float(told["jd"]) - 2_400_000.5,
        band=_ZTF_BANDS.get(told.get("fid"), ""),
        # a magnitude's error is 2.5 / ln 10 of the flux's relative one
        snr=2.5 / math.log(10.0) / float(error) if error else math.nan,
        triplet=_triplet(stamps),
    )


def _lsst(record: Mapping[str, Json]) -> Alert:
    told = record["diaSource"]
    owner = told.get("diaObjectId") or told.get("ssObjectId")
    return Alert(
        survey="LSST",
        alert_id=str(record.get("diaSourceId") or told["diaSourceId"]),
        object_id=str(owner) if owner else "",
        ra=float(told["ra"]),
        dec=float(told["dec"]),
        mjd=float(told["midpointMjdTai"]),
        band=str(told.get("band") or ""),
        snr=float(told["snr"]) if told.get("snr") is not None else math.nan,
        triplet=_triplet({plane: record.get(f"cutout{plane}") for plane in _PLANES}),
    )


def _triplet(stamps: Mapping[str, bytes | None]) -> FloatArray:
    planes = [
        centred(read_stamp(content)) if content else np.full((SIZE, SIZE), np.nan, np.float32)
        for content in (stamps[plane] for plane in _PLANES)
    ]
    return np.stack(planes, axis=-1)


def centred(stamp: FloatArray, *, size: int = SIZE) -> FloatArray:
    """A stamp cut or filled up with NaN to a square, its middle pixel kept in the middle.

    Parameters
    ----------
    stamp : NDArray[float32], shape (ny, nx)
        Of an even width the pixel right of (above) the middle counts as the middle one.
    size : int
        Width of the square; odd.
    """
    filled = np.full((size, size), np.nan, dtype=np.float32)
    half = size // 2
    spans = []
    for count in stamp.shape:
        middle = count // 2
        first, last = max(middle - half, 0), min(middle + half + 1, count)
        spans.append((slice(first, last), slice(first - middle + half, last - middle + half)))
    filled[spans[0][1], spans[1][1]] = stamp[spans[0][0], spans[1][0]]
    return filled


def read_stamp(content: bytes) -> FloatArray:
    """The primary image of a small FITS file in memory, plain or packed with gzip.

    No library that crashes on bad bytes is asked: cards and pixels are read by arithmetic.

    Raises
    ------
    ValueError
        If it is no plain image of two axes, or is cut short.
    """
    if content[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            content = packed.read(_MAX_BYTES)
    values, start = _header(content)
    axes = [values.get(f"NAXIS{i}") for i in (1, 2)]
    dtype = _TYPES.get(int(values.get("BITPIX") or 0))
    is_image = values.get("NAXIS") == 2 and values.get("SIMPLE") is True and dtype is not None
    if not is_image or not all(isinstance(n, int) and 0 < n <= _MAX_WIDTH for n in axes):
        msg = f"a cutout is no plain image: axes {axes}, BITPIX {values.get('BITPIX')}"
        raise ValueError(msg)
    nx, ny = int(values["NAXIS1"]), int(values["NAXIS2"])
    end = start + nx * ny * np.dtype(dtype).itemsize
    if end > len(content):
        msg = f"a cutout is cut short: {len(content)} of {end} bytes"
        raise ValueError(msg)
    raw = np.frombuffer(content[start:end], dtype=dtype).reshape(ny, nx).astype(np.float64)
    if (blank := values.get("BLANK")) is not None and np.dtype(dtype).kind != "f":
        raw = np.where(raw == blank, np.nan, raw)
    scaled = raw * float(values.get("BSCALE", 1.0)) + float(values.get("BZERO", 0.0))
    return np.where(np.abs(scaled) < _SENTINEL, scaled, np.nan).astype(np.float32)


def _header(content: bytes) -> tuple[dict[str, Any], int]:
    """Values of the first header, and where its data begin."""
    for block in range(_MAX_BLOCKS):
        part = content[block * BLOCK : (block + 1) * BLOCK]
        if any(is_end(part[at : at + CARD]) for at in range(0, len(part), CARD)):
            end = (block + 1) * BLOCK
            cards = (content[at : at + CARD] for at in range(0, end, CARD))
            return dict(first_values(parse_cards(cards))), end
    msg = "a cutout has no FITS header"
    raise ValueError(msg)
