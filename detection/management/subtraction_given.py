"""What a user gives beside a frame and the engine takes as the truth: mask, noise and PSF."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError, ImageReadError
from astrid_site.imaging.fits_io import read_plane
from astrid_site.imaging.masks import MaskArray, MaskPlane

if TYPE_CHECKING:
    from astrid_site.imaging.psf import PsfField

#: A PSF needs a peak and something around it.
_MIN_PSF_SIDE, _MIN_PSF_PIXELS = 5, 5
#: A width above this part of its image leaves no blank sky to measure beside a source.
_MAX_PSF_FILL = 0.41


def given_mask(path: Path, shape: tuple[int, int]) -> MaskArray:
    """A mask file as planes: whatever is not zero is the user's to reject."""
    plane = _plane_like(path, "mask", shape)
    return np.where(plane != 0, np.uint16(MaskPlane.USER), np.uint16(0)).astype(np.uint16)


def read_given(
    name: str, options: dict[str, Any], shape: tuple[int, int]
) -> dict[str, NDArray[np.float32] | PsfField | None]:
    """Noise and PSF of one frame as the calibration takes them; None for what was not given."""
    noise_path, psf_path = options[f"{name}_noise"], options[f"{name}_psf"]
    return {
        "given_variance": None if noise_path is None else _given_variance(noise_path, shape),
        "given_psf": None if psf_path is None else _given_psf(psf_path, shape),
    }


def _given_variance(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Variance of a plane of 1-sigma errors; 0 on pixels that were not measured."""
    noise = _plane_like(path, "noise", shape)
    usable = np.isfinite(noise) & (noise > 0)
    if not usable.any():
        raise ImageReadError(
            "the noise is positive nowhere.",
            file_name=path.name,
            code="values",
            remedy="Give the standard deviation of each pixel, in the image's own unit.",
        )
    squares = np.where(usable, noise.astype(np.float64), 0.0) ** 2
    return np.asarray(squares, dtype=np.float32)


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


def _plane_like(path: Path, what: str, shape: tuple[int, int]) -> NDArray[np.float32]:
    plane = read_plane(path)
    if plane.shape != shape:
        raise ImageReadError(
            f"the {what} has {plane.shape[1]} x {plane.shape[0]} pixels, the image "
            f"{shape[1]} x {shape[0]}.",
            file_name=path.name,
            code="shape",
            remedy=f"Give a {what} on the image's own pixels.",
        )
    return plane
