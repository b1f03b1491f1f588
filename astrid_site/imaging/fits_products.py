"""Our own FITS products: an ``Image`` written whole and read back as it was."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import plane_cards
from astrid_site.imaging.psf import PsfField
from astrid_site.imaging.wcs_header import WcsHeader, build_wcs, rebuild_wcs

#: Attribute of Image -> its card. These cards are the image's alone: absent means None.
_ATTRIBUTES = {
    "gain": ("GAIN", "electrons per data unit"),
    "read_noise": ("RDNOISE", "read noise [electron]"),
    "saturation": ("SATURATE", "saturation level [data units]"),
    "zero_point": ("MAGZP", "AB magnitude of one data unit"),
    "exposure_s": ("EXPTIME", "exposure time [s]"),
}
_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}")
_OURS = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|INHERIT|PCOUNT|GCOUNT|BSCALE|BZERO|BLANK|CHECKSUM"
    r"|DATASUM|EXTNAME|EXTVER|END|BUNIT|COMMENT|HISTORY|CONTINUE|HIERARCH|LONGSTRN"
    r"|GAIN|RDNOISE|SATURATE|MAGZP|EXPTIME"
    r"|WCSAXES|C(TYPE|RVAL|RPIX|DELT|UNIT|ROTA)\d|CD\d_\d|PC(\d_\d|\d{6})|PV\d_\d+|LONPOLE|LATPOLE"
    r"|(A|B|AP|BP)_(\d_\d|ORDER)|EQUINOX|EPOCH|RADESYS|RADECSYS|PSF(ORDER|NX|NY|FWHM|NSTAR)"
    r"|Z(IMAGE|CMPTYPE|BITPIX|NAXIS\d*|TILE\d+|NAME\d+|VAL\d+|QUANTIZ|DITHER0|HECKSUM|DATASUM)"
    r"|(CPDIS|CQDIS|CPERR|D2IMDIS|D2IMERR|DP)\d.*|D2IMEXT|A_DMAX|B_DMAX"
)
#: Rows of a mask that are packed together: one by one, their table costs as much as the packing.
_MASK_ROWS = 16
# the default comment of astropy holds the time of day: equal products must be equal bytes
_CHECKSUM_COMMENT = "sum of the HDU as written"


def write_image(
    path: Path, image: Image, *, header: Mapping[str, Any], history: Sequence[str]
) -> None:
    """Write an image and all its planes as one FITS file, atomically.

    HDUs: primary (data), VARIANCE, MASK, PSF; those the image lacks are absent. Cards of ``header``
    that FITS cannot hold (NaN, long keywords) become HISTORY; cards about layout, world
    coordinates and the image's own attributes are replaced by what the image says.

    Parameters
    ----------
    path : Path
        Target; replaced only by a complete file.
    image : Image
        What to write.
    header : Mapping
        Further cards: provenance, metrics, the frame's own metadata.
    history : Sequence of str
        What was done to the pixels, one line each.
    """
    primary = fits.PrimaryHDU(np.ascontiguousarray(image.data, dtype=np.float32))
    _fill(primary.header, image, header=header, history=history)
    hdus = [primary, *_planes(image)]
    for hdu in hdus:
        # DATASUM as well
        hdu.add_checksum(when=_CHECKSUM_COMMENT)
    partial = path.with_name(path.name + ".part")
    try:
        fits.HDUList(hdus).writeto(partial, overwrite=True, output_verify="exception")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_product(path: Path) -> tuple[Image, dict[str, Any]]:
    """Read a file that ``write_image`` wrote and whose content hash was verified.

    Returns
    -------
    tuple of (Image, dict)
        The image as it was, and the cards of its primary header.
    """
    with fits.open(path, memmap=False) as hdus:
        header = hdus[0].header
        cards = {c.keyword: c.value for c in header.cards if c.keyword not in _COMMENTARY}
        planes = {hdu.name: hdu for hdu in hdus[1:]}
        variance = planes.get("VARIANCE")
        psf = planes.get("PSF")
        image = Image(
            data=_native(hdus[0].data, np.float32),
            mask=_native(planes["MASK"].data, np.uint16),
            variance=None if variance is None else _native(variance.data, np.float32),
            wcs=product_wcs(cards),
            psf=None if psf is None else product_psf(psf),
            unit=str(cards.get("BUNIT", "adu")),
            **{name: cards.get(key) for name, (key, _) in _ATTRIBUTES.items()},
        )
    return image, cards


_COMMENTARY = frozenset({"", "COMMENT", "HISTORY"})


def wcs_cards(wcs: WCS) -> WcsHeader:
    """Cards of a celestial 2-D WCS at full precision (``WCS.to_header`` rounds)."""
    matrix = wcs.pixel_scale_matrix
    core = wcs.wcs
    cards: WcsHeader = {"WCSAXES": 2, "RADESYS": str(core.radesys) or "ICRS"}
    for i in (0, 1):
        cards[f"CTYPE{i + 1}"] = str(core.ctype[i])
        cards[f"CUNIT{i + 1}"] = "deg"
        cards[f"CRPIX{i + 1}"] = float(core.crpix[i])
        cards[f"CRVAL{i + 1}"] = float(core.crval[i])
        for j in (0, 1):
            cards[f"CD{i + 1}_{j + 1}"] = float(matrix[i, j])
    for key, value in (("LONPOLE", core.lonpole), ("LATPOLE", core.latpole)):
        if math.isfinite(value):
            cards[key] = float(value)
    # wcslib turns the coefficients of a TPV into a distortion, where get_pv sees them no more
    written = wcs.to_header(relax=True)
    cards |= {key: float(written[key]) for key in written if key.startswith("PV")}
    return cards | _sip_cards(wcs)


def _sip_cards(wcs: WCS) -> WcsHeader:
    cards: WcsHeader = {}
    if wcs.sip is None:
        return cards
    for name in ("A", "B", "AP", "BP"):
        terms = getattr(wcs.sip, name.lower())
        if terms is None:
            continue
        order = len(terms) - 1
        cards[f"{name}_ORDER"] = order
        for p in range(order + 1):
            for q in range(order + 1 - p):
                if terms[p, q]:
                    cards[f"{name}_{p}_{q}"] = float(terms[p, q])
    return cards


def _fill(
    target: fits.Header, image: Image, *, header: Mapping[str, Any], history: Sequence[str]
) -> None:
    target["BUNIT"] = _ascii(image.unit)
    for name, (key, comment) in _ATTRIBUTES.items():
        value = getattr(image, name)
        if value is not None:
            target[key] = (float(value), comment)
    if image.wcs is not None:
        for key, value in wcs_cards(image.wcs).items():
            target[key] = value
    left_out = []
    for key, value in header.items():
        if _OURS.fullmatch(key):
            continue
        safe = _safe(value)
        if safe is None or not _KEYWORD.fullmatch(key):
            left_out.append(f"{key} = {value if value is not None else 'not known'}")
        else:
            target[key] = safe
    for line in [*history, *left_out]:
        target.add_history(_ascii(line))


def _safe(value: Any) -> str | int | float | bool | None:
    """The value as FITS can hold it, or None."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _ascii(value) if isinstance(value, str) else None


def _ascii(text: str) -> str:
    return "".join(c if " " <= c <= "~" else " " if c.isspace() else "?" for c in text)


def _planes(image: Image) -> list[fits.ImageHDU | fits.CompImageHDU]:
    planes: list[fits.ImageHDU | fits.CompImageHDU] = []
    if image.variance is not None:
        variance = fits.ImageHDU(image.variance.astype(np.float32, copy=False), name="VARIANCE")
        variance.header["BUNIT"] = _squared(_ascii(image.unit))
        planes.append(variance)
    # masks are long runs of one value: without loss they take a twentieth of their size, while
    # noisy pixels keep seven eighths of theirs and every reader would have to unpack them
    mask = fits.CompImageHDU(
        image.mask.astype(np.uint16, copy=False),
        name="MASK",
        compression_type="RICE_1",
        tile_shape=(min(_MASK_ROWS, image.shape[0]), image.shape[1]),
    )
    for keyword, card in plane_cards().items():
        mask.header[keyword] = card
    planes.append(mask)
    if image.psf is not None:
        psf = fits.ImageHDU(image.psf.coefficients.astype(np.float32), name="PSF")
        psf.header["PSFORDER"] = (image.psf.order, "order of the polynomial in position")
        psf.header["PSFNY"], psf.header["PSFNX"] = image.psf.shape
        psf.header["PSFFWHM"] = (float(image.psf.fwhm_pix), "FWHM at the centre [pix]")
        psf.header["PSFNSTAR"] = (image.psf.n_stars, "stars it was fitted to")
        planes.append(psf)
    return planes


def _squared(unit: str) -> str:
    """BUNIT of a variance; a compound unit needs its brackets, a pure number has none."""
    if not unit or unit.isalpha():
        return f"{unit}**2" if unit else ""
    return f"({unit})**2"


def product_psf(hdu: fits.ImageHDU) -> PsfField:
    """The PSF field that a product keeps in its HDU of that name."""
    return PsfField(
        coefficients=_native(hdu.data, np.float32),
        order=int(hdu.header["PSFORDER"]),
        shape=(int(hdu.header["PSFNY"]), int(hdu.header["PSFNX"])),
        fwhm_pix=float(hdu.header["PSFFWHM"]),
        n_stars=int(hdu.header["PSFNSTAR"]),
    )


def product_wcs(cards: dict[str, Any]) -> WCS | None:
    """World coordinates from the cards of a product; None where it has none."""
    rebuilt = rebuild_wcs(cards)
    if "CTYPE1" in cards and rebuilt.header is None:
        msg = f"a product's WCS does not read back: {rebuilt.problem}"
        raise ValueError(msg)
    return None if rebuilt.header is None else build_wcs(rebuilt.header)


def _native(data: Any, dtype: type) -> Any:
    return np.ascontiguousarray(data, dtype=np.dtype(dtype).newbyteorder("="))
