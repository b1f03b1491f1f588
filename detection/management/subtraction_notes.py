"""What a person should know of a subtraction before believing it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from astrid_site.imaging.fits_io import ImageSource
from observations.algorithms.headers import read_metadata

if TYPE_CHECKING:
    from differencing.algorithms.agreement import SecondOpinion
    from differencing.algorithms.subtract import Subtraction
    from preprocessing.algorithms.preprocess import Preprocessed

#: From saturated bytes to frames calibrated in janskys [electrons per unit].
_PLAUSIBLE_GAIN = (1e-4, 1e9)


def all_notes(notes: list[str], reference: Preprocessed, science: Preprocessed) -> list[str]:
    """Every note once, with the frame it is about."""
    of_frames = [
        f"{name}: {note}"
        for name, frame in (("reference", reference), ("science", science))
        for note in frame.notes
    ]
    return list(dict.fromkeys([*notes, *of_frames]))


def doubts_of(
    reference: Preprocessed,
    science: Preprocessed,
    subtraction: Subtraction,
    opinion: SecondOpinion | None,
) -> list[str]:
    """What the pixels say against the headers, and the difference against itself."""
    doubts = [
        f"{name}: {frame.metrics['gain_doubt']}"
        for name, frame in (("reference", reference), ("science", science))
        if frame.metrics["gain_doubt"]
    ]
    if subtraction.quality == "fail":
        doubts.append(f"the difference fails: {'; '.join(subtraction.quality_reasons)}")
    if opinion is not None and opinion.problem:
        doubts.append(opinion.problem)
    return doubts


def bands_of(pair: Mapping[str, ImageSource]) -> tuple[str | None, str | None]:
    """What the headers of both frames say of their bands."""
    first, second = (
        read_metadata(pair[name].header, keywords=None, file_name=name).band
        for name in ("reference", "science")
    )
    return first, second


def odd_about(reference: ImageSource, science: ImageSource, *, names: tuple[str, str]) -> list[str]:
    """What a person should know before believing the signs of the candidates."""
    said = [
        read_metadata(source.header, keywords=None, file_name=name)
        for source, name in zip((reference, science), names, strict=True)
    ]
    times = [facts.observed_at for facts in said]
    bands = [facts.band for facts in said]
    notes = [
        f"{name}: header: {defect}" + ("; it is not used" if " = " in defect else "")
        for name, facts in zip(("reference", "science"), said, strict=True)
        for defect in facts.defects
    ]
    notes += [
        f"{name}: {said}"
        for name, source in (("reference", reference), ("science", science))
        for said in (*source.warnings, source.wcs_problem)
        if said
    ]
    notes += [
        f"{name}: a gain of {gain:.3g} electrons per unit is implausible; the noise may be wrong"
        for name, gain in (("reference", reference.image.gain), ("science", science.image.gain))
        if gain is not None and not _PLAUSIBLE_GAIN[0] <= gain <= _PLAUSIBLE_GAIN[1]
    ]
    if bands[0] is not None and bands[1] is not None and bands[0] != bands[1]:
        notes.append(
            f"the reference is of band {bands[0]}, the science image of band {bands[1]}: "
            "colours of stars show as changes"
        )
    if times[0] is not None and times[1] is not None and times[0] > times[1]:
        notes.append(
            "the reference was taken after the science image: what faded since shows as brightening"
        )
    return notes
