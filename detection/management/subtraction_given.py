"""What a user gives beside a frame and the engine takes as the truth: mask, noise and PSF."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError, ImageReadError
from astrid_site.imaging.fits_companions import Companion
from astrid_site.imaging.fits_io import ImageSource, read_header, read_plane
from astrid_site.imaging.masks import MaskPlane

if TYPE_CHECKING:
    from astrid_site.imaging.psf import PsfField

#: A PSF needs a peak and something around it.
_MIN_PSF_SIDE, _MIN_PSF_PIXELS = 5, 5
#: A width above this part of its image leaves no blank sky to measure beside a source.
_MAX_PSF_FILL = 0.41


def with_mask(
    name: str, options: dict[str, Any], source: ImageSource
) -> tuple[ImageSource, list[str]]:
    """A frame with the mask given for it, else with that of its own file, and what is to be said.

    Of a given mask whatever is not zero is rejected; of one beside an image, in the file of an
    exposure, the bits that its file says are bad.
    """
    image, path = source.image, options[f"{name}_mask"]
    if path is None:
        planes, notes = _beside(options[name], source, is_mask=True)
    else:
        notes = []
        own = _own_plane(path, "mask")
        plane = _plane_like(path, "mask", image.shape, hdu=own.hdu if own else None)
        bad = plane != 0 if own is None else own.is_bad(plane)
        notes += [] if own is None else [f"the mask is HDU {own.hdu} {own.name} of {path.name}"]
        planes = np.where(bad, np.uint16(MaskPlane.USER), np.uint16(0)).astype(np.uint16)
    if planes is None:
        return source, notes
    return replace(source, image=image.with_(mask=image.mask | planes)), notes


def read_given(
    name: str, options: dict[str, Any], source: ImageSource
) -> tuple[dict[str, NDArray[np.float32] | PsfField | None], list[str]]:
    """Noise and PSF of one frame as the calibration takes them, and what is to be said.

    None for what was not given; the noise may lie beside the image in its own file.
    """
    shape = source.image.shape
    noise_path, psf_path = options[f"{name}_noise"], options[f"{name}_psf"]
    notes: list[str] = []
    if noise_path is not None:
        variance, notes = _given_variance(noise_path, shape)
    else:
        variance, notes = _beside(options[name], source, is_mask=False)
    psf = None if psf_path is None else _given_psf(psf_path, shape)
    return {"given_variance": variance, "given_psf": psf}, notes


def _beside(path: Path, source: ImageSource, *, is_mask: bool) -> tuple[Any, list[str]]:
    """Mask planes or variance that lie beside an image in its own file, and what is to be said."""
    own = next((each for each in source.companions if (each.role == "mask") is is_mask), None)
    if own is None:
        return None, []
    plane = read_plane(path, hdu=own.hdu)
    values = own.usable_mask(plane) if is_mask else own.usable_variance(plane)
    return values, [own.refused() if values is None else own.in_words()]


def _own_plane(path: Path, what: str) -> Companion | None:
    """The mask or noise of a file that holds an image as well; None for a plane by itself.

    The image would be taken for it, and reject or weigh every pixel by its light.
    """
    companions = read_header(path).companions
    found = [each for each in companions if (each.role == "mask") is (what == "mask")]
    if companions and not found:
        beside = ", ".join(f"HDU {each.hdu} {each.name}" for each in companions)
        raise ImageReadError(
            f"the file holds an image and {beside}, but no {what}.",
            file_name=path.name,
            code="no_such_hdu",
            remedy=f"Give a file of which the only plane is the {what}, or call it "
            f"{'MASK or DQ' if what == 'mask' else 'ERR'}.",
        )
    return found[0] if found else None


def _given_variance(path: Path, shape: tuple[int, int]) -> tuple[NDArray[np.float32], list[str]]:
    """Variance of a plane of 1-sigma errors, 0 where not measured, and what is to be said."""
    own = _own_plane(path, "noise")
    noise = _plane_like(path, "noise", shape, hdu=own.hdu if own else None)
    if own is not None and (variance := own.usable_variance(noise)) is not None:
        return variance, [f"the noise is HDU {own.hdu} {own.name} of {path.name}"]
    usable = np.isfinite(noise) & (noise > 0)
    if not usable.any():
        raise ImageReadError(
            "the noise is positive nowhere.",
            file_name=path.name,
            code="values",
            remedy="Give the standard deviation of each pixel, in the image's own unit.",
        )
    squares = np.where(usable, noise.astype(np.float64), 0.0) ** 2
    return np.asarray(squares, dtype=np.float32), []


def _given_psf(path: Path, shape: tuple[int, int]) -> PsfField:
    """PSF of an image of a point source, the same over the frame."""
    from preprocessing.services import given_psf

    plane = read_plane(path)
    flaw = _flaw_of_psf(plane)
    if not flaw:
        try:
            field = given_psf(plane, shape=shape)
        except (AlgorithmError, ValueError) as error:
            flaw = str(error)
        else:
            if field.fwhm_pix < _MAX_PSF_FILL * field.coefficients.shape[-1]:
                return field
            flaw = "the given PSF does not fall off within its image"
    raise ImageReadError(
        f"{flaw} ({plane.shape[1]} x {plane.shape[0]} pixels).",
        file_name=path.name,
        code="shape",
        remedy="Give an image of at least 5 x 5 pixels with the star in its middle.",
    )


def _flaw_of_psf(plane: NDArray[np.float32]) -> str:
    """Why an image can be no PSF, empty where it may be one."""
    light = np.where(np.isfinite(plane), plane, 0.0).astype(np.float64)
    if min(plane.shape) < _MIN_PSF_SIDE:
        return "the given PSF is too small"
    if not 0.0 < light.sum() < np.finfo(np.float32).max:
        return "the given PSF has no light, or more than can be counted"
    if (light > 1e-3 * light.max()).sum() < _MIN_PSF_PIXELS:
        return "the light of the given PSF lies in about one pixel"
    return ""


def _plane_like(
    path: Path, what: str, shape: tuple[int, int], *, hdu: int | None
) -> NDArray[np.float32]:
    plane = read_plane(path, hdu=hdu)
    if plane.shape != shape:
        raise ImageReadError(
            f"the {what} has {plane.shape[1]} x {plane.shape[0]} pixels, the image "
            f"{shape[1]} x {shape[0]}.",
            file_name=path.name,
            code="shape",
            remedy=f"Give a {what} on the image's own pixels.",
        )
    return plane
