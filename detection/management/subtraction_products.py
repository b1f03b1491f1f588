"""What the subtraction of two files leaves behind: images, a table and a record."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astrid_site.core.provenance import code_version
from astrid_site.imaging.fits_io import ImageSource, write_image
from astrid_site.imaging.image import Image
from observations.algorithms.headers import read_metadata

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.units import UnitBase

    from detection.algorithms.measurement import Measurement
    from differencing.algorithms.agreement import SecondOpinion
    from differencing.algorithms.subtract import Subtraction
    from preprocessing.algorithms.preprocess import Preprocessed
    from preprocessing.algorithms.registration import Registration

CANDIDATES = "candidates.ecsv"
RECORD = "timing.json"
#: Every file of a run, the record last: where it is missing, the run did not end well.
PRODUCTS = ("difference.fits", "score.fits", "difference_psf.fits", CANDIDATES, RECORD)

#: How telescopes write units that have one name each.
_DETECTOR_UNIT = re.compile(r"(adu|dn|counts?|ct|electrons?|e-)(\s*/\s*s(?:ec|econd)?)?", re.I)
_DETECTOR_NAMES = {"adu": "adu", "dn": "DN", "ct": "ct", "co": "ct", "el": "electron"}


def flux_unit(text: str) -> UnitBase:
    """The unit that a header's BUNIT means; DN, of no physical scale, for what is no unit."""
    from astropy import units

    found = _DETECTOR_UNIT.fullmatch(text.strip())
    if found:
        word = found[1].lower()
        name = (
            "electron" if word == "e-" else _DETECTOR_NAMES.get(word, _DETECTOR_NAMES.get(word[:2]))
        )
        return units.Unit(f"{name}/s" if found[2] else name)
    try:
        unit = units.Unit(text)
    except (ValueError, TypeError):
        return units.Unit("DN")
    return units.Unit("DN") if unit == units.dimensionless_unscaled else unit


def describe_registration(
    registration: Registration | None, shape: tuple[int, int]
) -> dict[str, Any]:
    """How the science frame lies on the reference, as a record; None for frames said to be aligned.

    Shift [pix] and rotation [deg] are those from science to reference pixels at the middle of the
    science frame of ``shape`` (ny, nx); what was not measured is None.
    """
    if registration is None:
        return {
            "method": "given",
            "n_stars": 0,
            "rms_pix": None,
            "shift_pix": [0.0, 0.0],
            "rotation_deg": 0.0,
            "flux_ratio": None,
            "flux_ratio_error": None,
            "overlap": 1.0,
        }
    x0, y0 = (shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0
    x, y = registration.to_reference(np.array([x0, x0 - 1.0, x0 + 1.0]), np.array([y0, y0, y0]))
    return {
        "method": registration.method,
        "n_stars": registration.n_matched,
        "rms_pix": _number(registration.rms_pix),
        "shift_pix": [float(x[0] - x0), float(y[0] - y0)],
        "rotation_deg": math.degrees(math.atan2(y[2] - y[1], x[2] - x[1])),
        "flux_ratio": _number(registration.flux_ratio),
        "flux_ratio_error": _number(registration.flux_ratio_error),
        "overlap": _number(registration.overlap),
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def write_images(
    output: Path, subtraction: Subtraction, source: ImageSource, science: Preprocessed
) -> None:
    """difference.fits, score.fits and difference_psf.fits."""
    image = science.image
    history = [
        f"science minus template by {subtraction.method}: {subtraction.method_reason}",
        f"quality {subtraction.quality} " + "; ".join(subtraction.quality_reasons),
    ]
    difference = image.with_(
        data=subtraction.difference,
        variance=subtraction.variance,
        mask=subtraction.mask,
        psf=subtraction.psf,
    )
    write_image(output / "difference.fits", difference, header=source.header, history=history)
    score = Image(data=subtraction.score, mask=subtraction.mask, wcs=image.wcs, unit="")
    write_image(
        output / "score.fits",
        score,
        header={},
        history=[
            "significance [sigma]; FITS knows no such unit, so BUNIT is that of a pure number"
        ],
    )
    ny, nx = image.shape
    central = subtraction.psf.at((nx - 1) / 2.0, (ny - 1) / 2.0)[0]
    psf = Image(data=central, mask=np.zeros(central.shape, np.uint16), psf=subtraction.psf, unit="")
    write_image(
        output / "difference_psf.fits",
        psf,
        header={},
        history=["PSF of the difference at the centre; its field in HDU PSF"],
    )


def describe_run(
    subtraction: Subtraction,
    science: Preprocessed,
    source: ImageSource,
    *,
    reference_file: str,
    science_file: str,
    threshold: float,
) -> dict[str, Any]:
    """What a reader of the candidates must know of the run; None is unknown."""
    said = read_metadata(source.header, keywords=None, file_name=science_file)
    bunit = source.header.get("BUNIT")
    return {
        "reference_file": reference_file,
        "science_file": science_file,
        "mjd": _number(said.mid_mjd),
        "band": said.band,
        "zero_point": _measured(science.metrics.get("zero_point")),
        "zero_point_error": _measured(science.metrics.get("zero_point_error")),
        "bunit": bunit if isinstance(bunit, str) and bunit.strip() else None,
        "method": subtraction.method,
        "method_reason": subtraction.method_reason,
        "quality": subtraction.quality,
        "quality_reasons": list(subtraction.quality_reasons),
        "psf_fwhm_pix": _number(subtraction.psf.fwhm_pix),
        "threshold_sigma": float(threshold),
        "software": "AstrID",
        "software_version": code_version(),
    }


def _measured(value: object) -> float | None:
    return _number(float(value)) if isinstance(value, int | float) else None


def write_candidates(
    path: Path,
    kept: list[Measurement],
    image: Image,
    *,
    meta: dict[str, Any],
    opinion: SecondOpinion | None = None,
) -> None:
    """candidates.ecsv: positions 0-based, sky positions masked where there is no WCS."""
    from astropy import units
    from astropy.table import Column, MaskedColumn, Table

    x = np.array([m.x for m in kept], dtype=np.float64)
    y = np.array([m.y for m in kept], dtype=np.float64)
    ra, dec = np.zeros(len(kept)), np.zeros(len(kept))
    if image.wcs is not None and len(kept):
        ra, dec = image.wcs.all_pix2world(x, y, 0)
    unknown = ~(np.isfinite(ra) & np.isfinite(dec)) | (image.wcs is None)
    unit = flux_unit(image.unit)
    table = Table(
        {
            "x": Column(x, unit="pix", description="0-based, centre of the first pixel is 0"),
            "y": Column(y, unit="pix", description="0-based, centre of the first pixel is 0"),
            "ra": MaskedColumn(np.where(unknown, 0.0, ra), mask=unknown, unit="deg"),
            "dec": MaskedColumn(np.where(unknown, 0.0, dec), mask=unknown, unit="deg"),
            "score": Column(
                np.array([m.score for m in kept], dtype=np.float64),
                unit=units.dimensionless_unscaled,
                description="significance in sigma, negative for what faded",
            ),
            "flux": Column(np.array([m.flux for m in kept], dtype=np.float64), unit=unit),
            "flux_error": Column(
                np.array([m.flux_error for m in kept], dtype=np.float64), unit=unit
            ),
            "flags": Column(
                np.array([m.mask_flags for m in kept], dtype=np.int64),
                description="bits of the mask planes, as in HDU MASK of difference.fits",
            ),
        },
        meta=meta | describe_opinion(opinion),
    )
    _add_opinion(table, opinion)
    partial = path.with_name(path.name + ".part")
    table.write(partial, format="ascii.ecsv", overwrite=True)
    partial.replace(path)


def describe_opinion(opinion: SecondOpinion | None) -> dict[str, Any]:
    """Which second method was asked, and why it tells nothing; None where none was."""
    return {
        "second_method": None if opinion is None else opinion.method,
        "second_problem": None if opinion is None else opinion.problem or None,
    }


def _add_opinion(table: Table, opinion: SecondOpinion | None) -> None:
    """A second method's columns, masked where it shows nothing; none where none was asked."""
    from astropy.table import MaskedColumn

    if opinion is None:
        return
    said = opinion.agreements or (None,) * len(table)
    for name, kind, description in (
        ("score", np.float64, "score of the second method there, sigma"),
        ("flux_ratio", np.float64, "flux by the second method over that by the first"),
        ("agrees", np.bool_, "has the sign, and at least least_score in size"),
        ("least_score", np.float64, "0.8 of the threshold or half of the score, whichever is more"),
    ):
        values = [None if each is None else getattr(each, name) for each in said]
        table[f"second_{name}"] = MaskedColumn(
            np.array([value or 0 for value in values], dtype=kind),
            mask=[value is None for value in values],
            description=description,
        )


def forget_former_run(output: Path) -> None:
    """Remove what an earlier run left, lest a failed run seem to have made it."""
    for name in PRODUCTS:
        (output / name).unlink(missing_ok=True)


def write_record(path: Path, subtraction: Subtraction, numbers: Mapping[str, Any]) -> None:
    """What was done and how well, beside the numbers of the run."""
    said = {
        "method": subtraction.method,
        "method_reason": subtraction.method_reason,
        "quality": subtraction.quality,
        "quality_reasons": list(subtraction.quality_reasons),
        "metrics": subtraction.metrics,
    }
    path.write_text(json.dumps(dict(numbers) | said, indent=1) + "\n")
