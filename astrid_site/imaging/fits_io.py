"""The one loader for every image: gate, disposable reader, pixels as float32, world coordinates."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import ImageReadError
from astrid_site.imaging.fits_cards import CardValue
from astrid_site.imaging.fits_companions import Companion, companions_of, is_companion
from astrid_site.imaging.fits_gate import HduLayout, Layout, checked_file
from astrid_site.imaging.fits_limits import GateLimits
from astrid_site.imaging.fits_process import run_reader
from astrid_site.imaging.fits_products import read_product, write_image
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.scratch import scratch_folder
from astrid_site.imaging.wcs_header import (
    RebuiltWcs,
    WcsHeader,
    build_wcs,
    has_celestial,
    rebuild_wcs,
)

__all__ = [
    "GateLimits",
    "HeaderRecord",
    "ImageSource",
    "read_header",
    "read_image",
    "read_plane",
    "read_product",
    "write_image",
]

#: Images with a smaller share of the largest's pixels are guiders and previews.
_EQUAL_SHARE = 0.25
#: Cards that describe how the file was laid out, not the sky; they are dropped from the header.
_LAYOUT_KEYS = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|INHERIT|PCOUNT|GCOUNT|GROUPS|TFIELDS|THEAP"
    r"|T(TYPE|FORM|UNIT|NULL|SCAL|ZERO|DIM|DISP)\d+|BSCALE|BZERO|BLANK|CHECKSUM|DATASUM|EXTNAME"
    r"|EXTVER|EXTLEVEL|Z(IMAGE|CMPTYPE|BITPIX|NAXIS\d*|TILE\d+|NAME\d+|VAL\d+|QUANTIZ|DITHER0)"
    r"|Z(SIMPLE|TENSION|EXTEND|BLANK|HECKSUM|DATASUM|PCOUNT|GCOUNT|SCALE|ZERO|MASKCMP)"
)
_WCS_KEYS = re.compile(
    r"WCSAXES|C(TYPE|RVAL|RPIX|DELT|UNIT|ROTA)\d|CD\d_\d|PC(\d_\d|\d{6})|PV\d_\d+|LONPOLE|LATPOLE"
    r"|(A|B|AP|BP)_(\d_\d|ORDER)|EQUINOX|RADESYS|RADECSYS"
)


@dataclass(frozen=True)
class HeaderRecord:
    """What a file says about its image, without the pixels.

    Attributes
    ----------
    header : dict
        The image HDU's cards, and under them those of the primary HDU.
    hdu, hdu_name : int, str
        Which HDU was taken.
    shape : tuple of int
        (ny, nx).
    wcs_header : dict or None
        Rebuilt and proved world coordinates, for ``wcs_header.build_wcs``.
    wcs_problem : str or None
        Why there are none.
    warnings : tuple of str
        What was odd but survivable.
    companions : tuple of Companion
        Noise and mask beside the image in the same file.
    """

    header: dict[str, CardValue]
    hdu: int
    hdu_name: str
    shape: tuple[int, int]
    wcs_header: WcsHeader | None
    wcs_problem: str | None
    warnings: tuple[str, ...]
    companions: tuple[Companion, ...] = ()


@dataclass(frozen=True)
class ImageSource:
    """An image as read, with the header it came with."""

    image: Image
    header: dict[str, CardValue]
    hdu: int
    hdu_name: str
    warnings: tuple[str, ...]
    wcs_problem: str | None
    companions: tuple[Companion, ...] = ()


@dataclass(frozen=True)
class _Reading:
    """Result of one pass through gate and reader."""

    record: HeaderRecord
    pixels: NDArray[np.float32] | None


def read_header(
    path: Path,
    *,
    file_name: str | None = None,
    hdu: str | int | None = None,
    limits: GateLimits | None = None,
) -> HeaderRecord:
    """Read what an untrusted file says about its image.

    Parameters
    ----------
    path : Path
        File; plain, gzip, bzip2 or fpack, whatever it is called.
    file_name : str, optional
        Name for error messages; the path's own by default.
    hdu : str or int, optional
        EXTNAME (or ``"NAME,VERSION"``) or index of the image HDU. By default the one 2-D image
        with celestial coordinates that is no companion plane, else the one 2-D image.
    limits : GateLimits, optional
        Bounds on size, memory and time.

    Raises
    ------
    ImageReadError
        With the file, HDU, keyword, remedy and a stable ``code``; ``several_images`` if more than
        one may be meant and ``hdu`` names none.
    """
    return _read(path, file_name=file_name, hdu=hdu, limits=limits, want="header").record


def read_image(
    path: Path,
    *,
    file_name: str | None = None,
    hdu: str | int | None = None,
    limits: GateLimits | None = None,
) -> ImageSource:
    """Read the image of an untrusted file.

    Parameters are those of ``read_header``. Pixels that are NaN, infinite or BLANK hold 0 and carry
    ``MaskPlane.NO_DATA``. Gain, read noise, saturation, zero point and exposure time stay None:
    what a header means by them is the survey's matter (``observations.algorithms.headers``).

    Raises
    ------
    ImageReadError
        With the file, HDU, keyword, remedy and a stable ``code``; ``no_data`` if no pixel is
        finite.
    """
    reading = _read(path, file_name=file_name, hdu=hdu, limits=limits, want="image")
    record, pixels = reading.record, reading.pixels
    if pixels is None:
        msg = "an image was asked of the reader, no pixels came back"
        raise RuntimeError(msg)
    missing = ~np.isfinite(pixels)
    warnings = record.warnings + _pixel_warnings(pixels, missing)
    if missing.all():
        raise ImageReadError(
            "every pixel is blank or NaN.",
            file_name=file_name or path.name,
            code="no_data",
            remedy="Nothing can be measured on it.",
            hdu=record.hdu,
        )
    if missing.any():
        pixels[missing] = 0.0
    mask = missing.astype(np.uint16)
    mask *= np.uint16(MaskPlane.NO_DATA)
    wcs = None if record.wcs_header is None else build_wcs(record.wcs_header)
    unit = record.header.get("BUNIT")
    image = Image(
        data=pixels,
        mask=mask,
        wcs=wcs,
        unit=unit.strip() if isinstance(unit, str) and unit.strip() else "adu",
    )
    return ImageSource(
        image=image,
        header=record.header,
        hdu=record.hdu,
        hdu_name=record.hdu_name,
        warnings=warnings,
        wcs_problem=record.wcs_problem,
        companions=record.companions,
    )


def read_plane(
    path: Path,
    *,
    file_name: str | None = None,
    hdu: str | int | None = None,
    limits: GateLimits | None = None,
) -> NDArray[np.float32]:
    """Read the pixels of a companion plane (mask, noise, PSF) from an untrusted file.

    Parameters and errors are those of ``read_header``. NaN stays NaN: a noise of 0 would be worse.

    Returns
    -------
    NDArray[float32], shape (ny, nx)
    """
    pixels = _read(path, file_name=file_name, hdu=hdu, limits=limits, want="plane").pixels
    if pixels is None:
        msg = "a plane was asked of the reader, no pixels came back"
        raise RuntimeError(msg)
    return pixels


def _read(
    path: Path,
    *,
    file_name: str | None,
    hdu: str | int | None,
    limits: GateLimits | None,
    want: str,
) -> _Reading:
    name, limits = file_name or path.name, limits or GateLimits()
    with checked_file(path, file_name=name, limits=limits) as layout, scratch_folder() as folder:
        chosen = _choose(layout, hdu, file_name=name)
        _check_scaling(chosen, file_name=name)
        wcs = rebuild_wcs(chosen.values) if want != "plane" else RebuiltWcs(None, "not asked for")
        job = _job(layout, chosen, wcs, output=None if want == "header" else folder / "pixels.npy")
        if job["wcs"] or job["pixels"]:
            result = run_reader(job, folder=folder, file_name=name, limits=limits)
            problem = result["wcs_problem"] or wcs.problem
        else:
            problem = wcs.problem
        pixels = None if want == "header" else np.load(folder / "pixels.npy", allow_pickle=False)
    return _Reading(_record(layout, chosen, wcs=wcs, problem=problem), pixels)


def _job(layout: Layout, hdu: HduLayout, wcs: RebuiltWcs, *, output: Path | None) -> dict[str, Any]:
    shape = _plane_shape(hdu)
    pixels = None
    if output is not None:
        pixels = {
            "path": str(layout.path.resolve()),
            "kind": hdu.kind,
            "values": hdu.values,
            "data_offset": hdu.data_offset,
            "data_bytes": hdu.data_bytes,
            "shape": shape,
            "output": str(output),
        }
    return {"pixels": pixels, "wcs": wcs.header, "shape": shape}


def _record(
    layout: Layout, hdu: HduLayout, *, wcs: RebuiltWcs, problem: str | None
) -> HeaderRecord:
    header = {k: v for k, v in hdu.values.items() if not _LAYOUT_KEYS.fullmatch(k)}
    if hdu.index > 0:
        # the primary header speaks for all HDUs, except about their layout and place on the sky
        for key, value in layout.hdus[0].values.items():
            if not _LAYOUT_KEYS.fullmatch(key) and not _WCS_KEYS.fullmatch(key):
                header.setdefault(key, value)
    return HeaderRecord(
        header=header,
        hdu=hdu.index,
        hdu_name=hdu.name,
        shape=_plane_shape(hdu),
        wcs_header=wcs.header if problem is None else None,
        wcs_problem=problem,
        warnings=layout.warnings + wcs.notes,
        companions=companions_of(hdu, layout.hdus),
    )


def _choose(layout: Layout, wanted: str | int | None, *, file_name: str) -> HduLayout:
    planes = [hdu for hdu in layout.hdus if _is_plane(hdu)]
    if wanted is not None:
        return _named(layout, wanted, file_name=file_name)
    if not planes:
        raise _no_image(layout, file_name=file_name)
    ranks = [(is_companion(hdu.name), not has_celestial(hdu.values)) for hdu in planes]
    best = [hdu for hdu, rank in zip(planes, ranks, strict=True) if rank == min(ranks)]
    largest = max(math.prod(hdu.shape) for hdu in best)
    equal = [hdu for hdu in best if math.prod(hdu.shape) >= _EQUAL_SHARE * largest]
    if len(equal) > 1:
        # one of several detectors or exposures: which of them is meant, nobody but a person knows
        raise _several(equal, file_name=file_name)
    return equal[0]


def _several(planes: list[HduLayout], *, file_name: str) -> ImageReadError:
    names = ", ".join(_called(hdu) for hdu in planes[:8])
    more = f" and {len(planes) - 8} more" if len(planes) > 8 else ""
    return ImageReadError(
        f"the file holds {len(planes)} images, none before the others: HDUs {names}{more}.",
        file_name=file_name,
        code="several_images",
        remedy='Say which one by its number, name or "NAME,VERSION" '
        "(--reference-hdu, --science-hdu; a survey's image_hdu).",
    )


def _called(hdu: HduLayout) -> str:
    version = f",{hdu.version}" if "EXTVER" in hdu.values else ""
    return f"{hdu.index} {hdu.name}{version}" if hdu.name else str(hdu.index)


def _named(layout: Layout, wanted: str | int, *, file_name: str) -> HduLayout:
    name, _, version = str(wanted).partition(",")
    for hdu in layout.hdus:
        if isinstance(wanted, int):
            is_wanted = hdu.index == wanted
        else:
            is_wanted = hdu.name.upper() == name.strip().upper()
            is_wanted &= not version.strip() or version.strip() == str(hdu.version)
        if is_wanted and _is_plane(hdu):
            return hdu
    names = ", ".join(f"{hdu.index} {hdu.name or '(no name)'}" for hdu in layout.hdus[:20])
    raise ImageReadError(
        f"the file has no 2-D image of that name; its HDUs are {names}.",
        file_name=file_name,
        code="no_such_hdu",
        remedy="Name one of them.",
        hdu=wanted,
    )


def _is_plane(hdu: HduLayout) -> bool:
    axes = hdu.shape
    return len(axes) >= 2 and min(axes) > 0 and all(length == 1 for length in axes[:-2])


def _plane_shape(hdu: HduLayout) -> tuple[int, int]:
    return hdu.shape[-2], hdu.shape[-1]


def _no_image(layout: Layout, *, file_name: str) -> ImageReadError:
    kinds = [hdu.kind for hdu in layout.hdus]
    if "image" in kinds or "compressed" in kinds:
        shapes = ", ".join(str(hdu.shape) for hdu in layout.hdus[:20] if hdu.shape)
        return ImageReadError(
            f"its images are not two-dimensional: {shapes}.",
            file_name=file_name,
            code="not_two_dimensional",
            remedy="Send single planes of cubes.",
        )
    what = "groups of visibilities" if "groups" in kinds else "tables" if "table" in kinds else ""
    return ImageReadError(
        f"the file holds {what or 'headers'} only, no image.",
        file_name=file_name,
        code="no_image",
        remedy="Send the exposure itself.",
    )


def _check_scaling(hdu: HduLayout, *, file_name: str) -> None:
    for key in ("BSCALE", "BZERO"):
        value = hdu.values.get(key, 1.0)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or (key == "BSCALE" and value == 0):
            raise ImageReadError(
                f"is {value!r}, so its pixels have no meaning.",
                file_name=file_name,
                code="malformed",
                remedy="Correct the header.",
                hdu=hdu.index,
                keyword=key,
            )


def _pixel_warnings(pixels: NDArray[np.float32], missing: NDArray[np.bool_]) -> tuple[str, ...]:
    ny, nx = pixels.shape
    warnings = []
    if min(ny, nx) < 32:
        warnings.append(f"the image has only {nx}x{ny} pixels")
    # the copy of the good pixels is worth avoiding: most frames have no others
    good = pixels[~missing] if missing.any() else pixels
    if good.size and good.min() == good.max():
        warnings.append("every pixel has the same value")
    infinite = int(np.isinf(pixels[missing]).sum())
    if infinite:
        warnings.append(f"{infinite} pixels are infinite or beyond single precision: masked")
    if missing.mean() > 0.5:
        warnings.append(f"{missing.mean():.0%} of the pixels are blank or NaN")
    return tuple(warnings)
