"""Where on a reference a science image lies by its pixels alone, to judge its world coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy import ndimage

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane, is_bad
from preprocessing.algorithms.pixel_correlation import (
    Peak,
    Structure,
    block_means,
    correlate,
    count_structures,
    find_structure,
)

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# 1500 pairs of unrelated fields reach 10.0 and 1.9, never both; the same galaxy in two surveys
# has at least 9.5, 2.0 and 65
_MIN_SIGNIFICANCE = 9.0
_MIN_PEAK_RATIO = 1.8
_MIN_STRUCTURES = 25.0
# a detector's fixed pattern lies this near to no shift at all [pix]
_FIXED_PATTERN_REACH = 2.0
# coarser grids are as good for arcminutes, and a correlation of 1024^2 takes half a second
_MAX_SIDE = 1024
_DEFAULT_FWHM = 3.0


@dataclass(frozen=True)
class Pointing:
    """Where the pixels of a science image lie on a reference.

    Attributes
    ----------
    offset_arcsec : float or None
        Angle between where the science image's WCS and where its pixels put its centre; None
        where the pixels are not found on the reference.
    significance : float
        Height of the correlation peak over the correlation's own noise.
    peak_ratio : float
        The same over the height of the next peak elsewhere.
    n_structures : float
        Effective number of independent places that make the peak: 1 for a single bright source,
        whichever it is.
    shift : tuple of float
        Reference pixel (x, y) on which the centre of the science image lies by its pixels.
    tolerance_arcsec : float
        Offset beyond which the two disagree: three widths of the broader PSF.
    """

    offset_arcsec: float | None
    significance: float
    peak_ratio: float
    n_structures: float
    shift: tuple[float, float]
    tolerance_arcsec: float

    @property
    def is_found(self) -> bool:
        """Whether the science image shows the reference's sky beyond chance."""
        return self.offset_arcsec is not None

    @property
    def is_wrong(self) -> bool:
        """Whether the science image's world coordinates contradict its pixels."""
        return self.offset_arcsec is not None and self.offset_arcsec > self.tolerance_arcsec


def measure_pointing(reference: Image, science: Image) -> Pointing:
    """Find a science image on a reference by correlating their pixels.

    Parameters
    ----------
    reference, science : Image
        Background-subtracted frames with variance, mask and world coordinates. Of the latter
        only the linear part is used (scale, orientation and parity), not the position.

    Returns
    -------
    Pointing

    Raises
    ------
    ValueError
        If a frame has no world coordinates or no variance.

    Notes
    -----
    Both frames are smoothed to the coarser PSF and freed of everything much wider than it, then
    clipped at 5 of their own robust widths: a peak of the correlation then needs many places
    that agree, and one bright star, or the nucleus of another galaxy, does not make one. The
    correlation is measured in units of what structures of the same strength, placed at random,
    would give at each shift. A shift is believed if it stands out against the spread of all
    shifts (significance above 9), against the second-best shift (ratio above 1.8), and is made
    by at least 25 PSF-sized cells. On identical grids a shift by nothing is not held against
    the WCS: a detector's fixed pattern would be found there.

    References
    ----------
    .. [1] Padfield 2012, IEEE Trans. Image Proc. 21, 2706 (correlation of masked images).
    """
    for name, image in (("reference", reference), ("science", science)):
        if image.wcs is None or image.variance is None:
            msg = f"{name}: measure_pointing needs world coordinates and the variance"
            raise ValueError(msg)
    ours = _local_frame(science.wcs, science.shape)
    theirs = _local_frame(reference.wcs, reference.shape)
    matrix = np.asarray(np.linalg.solve(theirs, ours), dtype=np.float64)
    step = max(1, -(-max(_side_on_reference(matrix, science.shape), *reference.shape) // _MAX_SIDE))
    fwhm = _coarser_fwhm(reference, science, matrix=matrix, step=step)
    fixed = find_structure(_sampled(reference, np.eye(2), step=step, fwhm=fwhm), fwhm=fwhm)
    moving = find_structure(_sampled(science, matrix, step=step, fwhm=fwhm), fwhm=fwhm)
    peak = correlate(fixed, moving, fwhm=fwhm)
    n_structures = count_structures(fixed, moving, peak, fwhm=fwhm)
    lost = np.array([n % _block_of(matrix, step) for n in reversed(science.shape)]) / 2.0
    x, y = _centre_on_reference(peak, moving, step=step) + matrix @ lost
    tolerance = 3.0 * fwhm * step * float(np.sqrt(abs(np.linalg.det(theirs))))
    offset = None
    if _is_believed(peak, n_structures):
        offset = _separation_arcsec(reference, science, x=x, y=y)
        unmoved = _lies_on_same_pixels(reference, science, matrix=matrix, x=x, y=y)
        if unmoved and offset > tolerance:
            offset = None
    return Pointing(
        offset_arcsec=offset,
        significance=peak.significance,
        peak_ratio=peak.ratio,
        n_structures=n_structures,
        shift=(float(x), float(y)),
        tolerance_arcsec=tolerance,
    )


def refuse_wrong_pointing(reference: Image, science: Image) -> bool:
    """Raise where the pixels of a science image contradict its world coordinates.

    A mask that a person gave says what may be differenced. It may cover every source; where the
    rest is not found, the pixels under it are asked as well: what they show is still sky.

    Returns
    -------
    bool
        Whether the pixels confirm the world coordinates; False where they cannot tell.

    Raises
    ------
    AlgorithmError
        Carries ``offset_arcsec``, ``significance`` and ``peak_ratio``.
    """
    found = measure_pointing(reference, science)
    if not found.is_found and _has_given_mask(reference, science):
        found = measure_pointing(*(_without_given_mask(image) for image in (reference, science)))
    if not found.is_wrong or found.offset_arcsec is None:
        return found.is_found
    msg = (
        f"the WCS is wrong by {format_offset(found.offset_arcsec)}: the pixels show the "
        f"reference's sky elsewhere than the WCS says (significance {found.significance:.0f})"
    )
    raise AlgorithmError(
        msg,
        offset_arcsec=found.offset_arcsec,
        significance=found.significance,
        peak_ratio=found.peak_ratio,
    )


def _has_given_mask(*images: Image) -> bool:
    return any(is_bad(image.mask, MaskPlane.USER).any() for image in images)


def _without_given_mask(image: Image) -> Image:
    return image.with_(mask=image.mask & ~np.uint16(MaskPlane.USER))


def format_offset(offset_arcsec: float) -> str:
    """An angle as people say it: arcsec below a minute of arc, arcmin above."""
    if offset_arcsec < 60.0:
        return f"{offset_arcsec:.0f} arcsec"
    return f"{offset_arcsec / 60.0:.1f} arcmin"


def _is_believed(peak: Peak, n_structures: float) -> bool:
    return (
        peak.significance >= _MIN_SIGNIFICANCE
        and peak.ratio >= _MIN_PEAK_RATIO
        and n_structures >= _MIN_STRUCTURES
    )


def _lies_on_same_pixels(
    reference: Image, science: Image, *, matrix: Float64, x: float, y: float
) -> bool:
    """Whether two frames of one grid match pixel on pixel, as a detector's own pattern would."""
    if reference.shape != science.shape or np.abs(matrix - np.eye(2)).max() > 1e-3:
        return False
    ny, nx = reference.shape
    return bool(np.hypot(x - (nx - 1) / 2.0, y - (ny - 1) / 2.0) < _FIXED_PATTERN_REACH)


def _local_frame(wcs: WCS, shape: tuple[int, int]) -> Float64:
    """East and north [arcsec] per pixel step in x and y at the centre of a frame."""
    ny, nx = shape
    x, y = (nx - 1) / 2.0, (ny - 1) / 2.0
    at_x, at_y = np.array([x, x + 1.0, x]), np.array([y, y, y + 1.0])
    ra, dec = wcs.celestial.all_pix2world(at_x, at_y, 0)
    east = ((ra - ra[0] + 180.0) % 360.0 - 180.0) * np.cos(np.radians(dec[0]))
    return 3600.0 * np.array([[east[1], east[2]], [dec[1] - dec[0], dec[2] - dec[0]]])


def _side_on_reference(matrix: Float64, shape: tuple[int, int]) -> int:
    """Longer side of a frame [reference pix] after its linear map."""
    return int(np.ceil((np.abs(matrix) @ np.array([shape[1], shape[0]])).max()))


def _coarser_fwhm(reference: Image, science: Image, *, matrix: Float64, step: int) -> float:
    """Width [working pix] to which both frames are smoothed; never below two pixels."""
    stretch = float(np.sqrt(abs(np.linalg.det(matrix))))
    widths = [_fwhm_of(reference), _fwhm_of(science) * stretch]
    return max(max(widths) / step, 2.0)


def _fwhm_of(image: Image) -> float:
    return _DEFAULT_FWHM if image.psf is None else image.psf.fwhm_pix


def _sampled(
    image: Image, matrix: Float64, *, step: int, fwhm: float
) -> tuple[FloatArray, FloatArray]:
    """Pulls and their weight on the working grid, turned by ``matrix`` about the centre.

    The smoothing to the common width comes first, so that coarser sampling aliases nothing.
    """
    stretch = float(np.sqrt(abs(np.linalg.det(matrix))))
    bad = is_bad(image.mask)
    variance = np.asarray(image.variance, dtype=np.float32)
    bad |= ~(variance > 0)
    pulls = np.where(bad, np.float32(0), image.data / np.sqrt(np.where(bad, 1, variance)))
    # wide smoothing of a large frame is done on its blocks
    block = _block_of(matrix, step)
    pulls, weight = block_means(pulls, block), block_means((~bad).astype(np.float32), block)
    unit = stretch * block / step
    wanted, own = fwhm / unit, _fwhm_of(image) / block
    # what a matched filter adds to the frame's own width, and never less than half a pixel
    sigma = max(float(np.sqrt(max(2.0 * wanted**2 - own**2, 0.0))) / 2.3548, 0.5)
    pulls = ndimage.gaussian_filter(pulls, sigma, mode="constant", truncate=3.0)
    weight = ndimage.gaussian_filter(weight, sigma, mode="constant", truncate=3.0)
    return _turned(pulls, weight, matrix * (block / step))


def _block_of(matrix: Float64, step: int) -> int:
    """Pixels of a frame that one working pixel holds along each side, rounded down."""
    return max(1, int(step / np.sqrt(abs(np.linalg.det(matrix)))))


def _turned(
    values: FloatArray, weight: FloatArray, matrix: Float64
) -> tuple[FloatArray, FloatArray]:
    """Both planes through a linear map about their centre, on a grid that holds all of them."""
    if np.abs(matrix - np.eye(2)).max() < 1e-12:
        return values, weight
    ny, nx = values.shape
    wide, high = np.ceil(np.abs(matrix) @ np.array([nx, ny])).astype(int)
    # arrays are [y, x]: the map is given in that order
    inverse = np.linalg.inv(matrix)[::-1, ::-1]
    centre = (np.array([ny, nx]) - 1) / 2.0
    offset = centre - inverse @ ((np.array([high, wide]) - 1) / 2.0)
    turned = (
        ndimage.affine_transform(
            plane, inverse, offset=offset, output_shape=(int(high), int(wide)), order=1
        )
        for plane in (values, weight)
    )
    pulls, known = turned
    return pulls, known


def _centre_on_reference(peak: Peak, moving: Structure, *, step: int) -> Float64:
    """Reference pixel (x, y) on which the centre of what was sampled of the science image lies."""
    my, mx = moving.values.shape
    middle = np.array([peak.x + (mx - 1) / 2.0, peak.y + (my - 1) / 2.0])
    # the middle of a block of pixels 0 ... step - 1
    return middle * step + (step - 1) / 2.0


def _separation_arcsec(reference: Image, science: Image, *, x: float, y: float) -> float:
    """Angle between the science centre by its own WCS and reference pixel (x, y) by the other."""
    ny, nx = science.shape
    a = _unit_vector(science.wcs, (nx - 1) / 2.0, (ny - 1) / 2.0)
    b = _unit_vector(reference.wcs, x, y)
    # the chord keeps its precision where the arc cosine of a small angle loses it
    half_chord = min(1.0, float(np.linalg.norm(a - b)) / 2.0)
    return float(np.degrees(2.0 * np.arcsin(half_chord)) * 3600.0)


def _unit_vector(wcs: WCS | None, x: float, y: float) -> Float64:
    """Direction on the sky of a pixel position."""
    if wcs is None:
        msg = "wcs: no world coordinates"
        raise ValueError(msg)
    at = wcs.celestial.all_pix2world(np.array([[x, y]]), 0)
    ra, dec = np.radians(np.asarray(at, dtype=np.float64)[0])
    return np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
