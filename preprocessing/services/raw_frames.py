"""A raw frame and what came with it, in files of their own or beside it in its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from astrid_site.core.models import StoredFile
from astrid_site.core.storage import local_copy
from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.masks import MaskPlane
from observations.models import Observation
from observations.services.frames import frame_facts

if TYPE_CHECKING:
    from astrid_site.imaging.fits_companions import Companion
    from astrid_site.imaging.image import Image
    from astrid_site.imaging.psf import PsfField


@dataclass(frozen=True)
class Companions:
    """Planes that came with a frame; None for what did not."""

    mask: NDArray[np.uint16] | None = None
    variance: NDArray[np.float32] | None = None
    psf: PsfField | None = None
    notes: tuple[str, ...] = ()


def load_raw(observation: Observation) -> tuple[Image, tuple[str, ...]]:
    """The raw frame through the gate, with gain, saturation and the like filled in."""
    return read_raw(observation)[:2]


def read_raw(
    observation: Observation,
) -> tuple[Image, tuple[str, ...], tuple[Companion, ...]]:
    """The raw frame, what is odd about it, and the planes beside it in its file."""
    from astrid_site.imaging.fits_io import read_image

    file_name = observation.raw_file.name
    with local_copy(observation.raw_file) as path:
        source = read_image(path, file_name=file_name, hdu=_raw_hdu(observation))
    facts = frame_facts(observation)
    image = source.image.with_(
        gain=facts.gain,
        read_noise=facts.read_noise,
        saturation=facts.saturation,
        zero_point=facts.zero_point,
        exposure_s=facts.exposure_s,
    )
    warnings = source.warnings
    if source.wcs_problem:
        warnings = (*warnings, f"no world coordinates: {source.wcs_problem}")
    return image, warnings, source.companions


def _raw_hdu(observation: Observation) -> int | str | None:
    text = observation.raw_hdu
    return int(text) if text.isdigit() else text or None


def load_companions(
    observation: Observation, *, shape: tuple[int, int], own: tuple[Companion, ...] = ()
) -> Companions:
    """Mask, noise and PSF that came with the frame, or lie beside it in its ``own`` file."""
    mask = _plane(observation.mask_file, "mask", shape)
    noise = _plane(observation.noise_file, "noise", shape)
    psf = _plane(observation.psf_file, "psf", None)
    flags = None
    if mask is not None:
        bad = ~np.isfinite(mask) | (mask != 0)
        flags = np.where(bad, np.uint16(MaskPlane.USER), np.uint16(0)).astype(np.uint16)
    variance = None
    if noise is not None:
        # a noise that is not positive says that the pixel was not measured
        usable = np.isfinite(noise) & (noise > 0)
        variance = np.where(usable, noise.astype(np.float64) ** 2, 0.0).astype(np.float32)
    field = None if psf is None else given_psf(psf, shape=shape)
    return _with_own(observation, Companions(flags, variance, field), own)


def _with_own(
    observation: Observation, given: Companions, own: tuple[Companion, ...]
) -> Companions:
    """What nobody gave, taken from the planes beside the frame."""
    from astrid_site.imaging.fits_io import read_plane

    for plane in own:
        is_mask = plane.role == "mask"
        if (given.mask if is_mask else given.variance) is not None:
            continue
        with local_copy(observation.raw_file) as path:
            pixels = read_plane(path, file_name=observation.raw_file.name, hdu=plane.hdu)
        if is_mask:
            given = replace(given, mask=plane.usable_mask(pixels))
            is_used = given.mask is not None
        else:
            given = replace(given, variance=plane.usable_variance(pixels))
            is_used = given.variance is not None
        said = plane.in_words() if is_used else plane.refused()
        given = replace(given, notes=(*given.notes, said))
    return given


def _plane(
    stored: StoredFile | None, what: str, shape: tuple[int, int] | None
) -> NDArray[np.float32] | None:
    from astrid_site.imaging.fits_io import read_plane

    if stored is None:
        return None
    with local_copy(stored) as path:
        plane = read_plane(path, file_name=stored.name)
    if shape is not None and plane.shape != shape:
        msg = (
            f"the {what} {stored.name} has {plane.shape[1]} x {plane.shape[0]} pixels, "
            f"the frame {shape[1]} x {shape[0]}"
        )
        raise AlgorithmError(msg, nx=plane.shape[1], ny=plane.shape[0])
    return plane


def given_psf(
    plane: NDArray[np.float32], *, shape: tuple[int, int], max_half: int = 50
) -> PsfField:
    """A PSF image as a constant field: centred on its peak, cut where it holds no more light.

    Raises
    ------
    AlgorithmError
        If it has no positive sum, or its peak is too near its edge.
    """
    from astrid_site.imaging.psf import constant_psf

    image = np.where(np.isfinite(plane), plane, np.float32(0)).astype(np.float32)
    row, column = np.unravel_index(int(image.argmax()), image.shape)
    ny, nx = image.shape
    half = int(min(row, column, ny - 1 - row, nx - 1 - column, max_half))
    if half < 2 or not image.sum() > 0:
        msg = "the given PSF has no light or its peak lies at its edge"
        raise AlgorithmError(msg, nx=nx, ny=ny)
    square = image[row - half : row + half + 1, column - half : column + half + 1]
    return constant_psf(_trim(square), shape=shape)


def _trim(square: NDArray[np.float32], *, enclosed: float = 0.995) -> NDArray[np.float32]:
    """The smallest centred square with 99.5 % of the light; every later stage is faster for it."""
    middle = square.shape[0] // 2
    total = float(square.sum())
    for half in range(4, middle + 1):
        part = square[middle - half : middle + half + 1, middle - half : middle + half + 1]
        if float(part.sum()) >= enclosed * total:
            return part
    return square
