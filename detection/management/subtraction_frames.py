"""The two frames of a subtraction on one grid, with one set of sky positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from astrid_site.imaging.errors import AlgorithmError

if TYPE_CHECKING:
    from astrid_site.imaging.image import Image
    from differencing.algorithms.subtraction import Subtraction
    from preprocessing.algorithms.preprocess import Preprocessed
    from preprocessing.algorithms.registration import Registration


@dataclass(frozen=True)
class Frames:
    """What is subtracted from what.

    ``science`` has the reference's sky positions; ``registration`` is None for frames said to be
    aligned; ``doubts`` says what the user should not trust about the two, ``metrics`` what was
    measured on each.
    """

    template: Image
    science: Preprocessed
    registration: Registration | None
    doubts: tuple[str, ...]
    metrics: tuple[Mapping[str, object], ...] = ()

    def judge(
        self, subtraction: Subtraction, *, bands: tuple[str | None, str | None] = (None, None)
    ) -> Subtraction:
        """The subtraction, no better than "downgrade" where there are doubts."""
        from differencing.algorithms.frame_doubts import frame_numbers, judge_frames

        numbers = frame_numbers(*self.metrics, bands=bands)
        return judge_frames(subtraction.doubted(self.doubts), numbers)


def _psf_doubts(reference: Preprocessed, science: Preprocessed) -> list[str]:
    """What the PSFs rest on, where that is too little."""
    from preprocessing.algorithms.psf_fit import doubt_of_psf

    said = (("reference", reference), ("science", science))
    found = [(name, doubt_of_psf(frame.image.psf)) for name, frame in said]
    return [f"{name}: {doubt}" for name, doubt in found if doubt]


def bring_together(
    reference: Preprocessed, science: Preprocessed, *, aligned: bool, threads: int = 1
) -> Frames:
    """The reference on the science grid, and the science frame on the reference's sky.

    Raises
    ------
    AlgorithmError
        If the frames cannot be registered, or are not aligned though they are said to be.
    """
    from differencing.algorithms.astrometry import describe_tie, tie_wcs
    from preprocessing.algorithms.alignment import check_alignment
    from preprocessing.algorithms.registration import register
    from preprocessing.algorithms.warp import warp

    pair, shape = (reference.image, reference.stars, science.image), science.image.shape
    if aligned and reference.image.shape != shape:
        there = reference.image.shape
        msg = f"not aligned: {there[1]} x {there[0]} reference, {shape[1]} x {shape[0]} science"
        raise AlgorithmError(msg, nx=there[1], ny=there[0])
    doubts: list[str] = []
    if aligned:
        alignment = check_alignment(*pair, science_stars=science.stars)
        doubts += [alignment.problem] if alignment.problem else []
    doubts += _psf_doubts(reference, science)
    registration = register(*pair, science_stars=science.stars, aligned=aligned)
    template = reference.image
    if not aligned:
        template = warp(template, registration, shape=shape, threads=threads)
    if reference.image.wcs is not None:
        tied = tie_wcs(science.image.wcs, reference.image.wcs, registration, shape=shape)
        science = replace(science, image=science.image.with_(wcs=tied.wcs))
        said = describe_tie(tied)
        doubts += [said] if said else []
    return Frames(
        template,
        science,
        None if aligned else registration,
        tuple(doubts),
        (reference.metrics, science.metrics),
    )
