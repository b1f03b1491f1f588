"""Whether frames that are said to share one pixel grid do, by their stars or by their pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from preprocessing.algorithms.plane_map import frame_grid, identity_map, shift_map
from preprocessing.algorithms.pointing import measure_pointing
from preprocessing.algorithms.registration import register
from preprocessing.algorithms.star_matching import match_stars
from preprocessing.algorithms.stars import StarList
from preprocessing.algorithms.wcs_match import vote_offset

Float64 = NDArray[np.float64]

#: Beyond this [pix] frames are not aligned: every star leaves a dipole.
_NOT_ALIGNED_PIX = 0.5
#: Beyond this [pix] the kernel has to take a shift that is no part of the PSF.
_DOUBTFUL_PIX = 0.2
# the parabola through a peak of the correlation is no better than this
_PIXELS_ERROR_PIX = 0.25
_MIN_STARS = 5
_SHARP_SNR = 30.0


@dataclass(frozen=True)
class Alignment:
    """How far a science frame lies off the reference whose grid it is said to share.

    Attributes
    ----------
    shift_pix : float or None
        Displacement [pix], the median over the frame; None where nothing could tell.
    error_pix : float
        Its standard error [pix].
    n_stars : int
        Stars behind it; 0 where the correlation of the pixels gave it.
    """

    shift_pix: float | None
    error_pix: float = 0.0
    n_stars: int = 0

    @property
    def problem(self) -> str | None:
        """Why a difference is only to be used with care; None where there is no reason."""
        if self.shift_pix is None:
            return "nothing in the frames could tell whether they are aligned"
        if self.shift_pix - 3.0 * self.error_pix > _DOUBTFUL_PIX:
            return f"the frames said to be aligned are {self.shift_pix:.2f} pix apart"
        return None


def check_alignment(
    reference: Image, reference_stars: StarList, science: Image, *, science_stars: StarList
) -> Alignment:
    """Measure how well two frames share one pixel grid.

    Parameters
    ----------
    reference, science : Image
        Background-subtracted frames of one shape.
    reference_stars, science_stars : StarList
        Their sources.

    Returns
    -------
    Alignment

    Raises
    ------
    AlgorithmError
        If they are more than half a pixel apart beyond the error of the measurement; carries
        ``shift_pix`` and ``n_stars``.
    """
    found = (
        _by_shift(reference_stars, science_stars, shape=science.shape)
        or _by_patterns(reference, reference_stars, science, science_stars)
        or _by_pixels(reference, science)
        or Alignment(None)
    )
    shift = found.shift_pix
    if shift is not None and shift - 3.0 * found.error_pix > _NOT_ALIGNED_PIX:
        witness = f"{found.n_stars} stars" if found.n_stars else "the pixels"
        msg = f"not aligned: {witness} put the science image {shift:.1f} pix off the reference"
        raise AlgorithmError(msg, shift_pix=shift, n_stars=found.n_stars)
    return found


def _by_shift(
    reference_stars: StarList, science_stars: StarList, *, shape: tuple[int, int]
) -> Alignment | None:
    """Median shift of the stars, near none or wherever most of them agree on one."""
    near = _matched_shift(np.zeros(2), reference_stars, science_stars, shape=shape)
    voted = vote_offset(
        identity_map(shape), reference_stars, science_stars, reach_pix=max(shape) / 2, shape=shape
    )
    far = None
    if voted is not None:
        far = _matched_shift(voted, reference_stars, science_stars, shape=shape)
    # chance brings a few stars together at any shift
    if far is not None and (near is None or far.n_stars > 2 * near.n_stars):
        near = far
    bright = min(int((stars.snr > 10.0).sum()) for stars in (reference_stars, science_stars))
    if near is None or near.n_stars < max(_MIN_STARS, 0.2 * bright):
        return None
    return near


def _matched_shift(
    guess: Float64, reference_stars: StarList, science_stars: StarList, *, shape: tuple[int, int]
) -> Alignment | None:
    """Shift of the stars that match within two pixels of a guess."""
    maps = (shift_map(guess, shape),)
    pairs = match_stars(maps, reference_stars, science_stars, radius=2.0)
    n_stars = int(pairs.science.size)
    if n_stars < _MIN_STARS:
        return None
    dx = reference_stars.x[pairs.reference] - science_stars.x[pairs.science]
    dy = reference_stars.y[pairs.reference] - science_stars.y[pairs.science]
    # a centroid is no better than a width over its S/N: faint stars only blur what bright ones say
    snr = np.minimum(reference_stars.snr[pairs.reference], science_stars.snr[pairs.science])
    sharp = snr > _SHARP_SNR
    if sharp.sum() >= _MIN_STARS:
        dx, dy = dx[sharp], dy[sharp]
    centre = np.median(dx), np.median(dy)
    scatter = 1.4826 * float(np.median(np.hypot(dx - centre[0], dy - centre[1])))
    # a median is 1.25 times as uncertain as a mean
    error = 1.25 * scatter / float(np.sqrt(dx.size))
    return Alignment(float(np.hypot(*centre)), error, n_stars)


def _by_patterns(
    reference: Image, reference_stars: StarList, science: Image, science_stars: StarList
) -> Alignment | None:
    """Displacement of a frame that is turned, mirrored or scaled against the reference."""
    try:
        found = register(
            reference.with_(wcs=None),
            reference_stars,
            science.with_(wcs=None),
            science_stars=science_stars,
        )
    except AlgorithmError:
        # too few stars, or patterns that do not match: the pixels are asked next
        return None
    if found.n_matched < _MIN_STARS or found.rms_pix is None:
        return None
    x, y = frame_grid(science.shape, 9)
    to_x, to_y = found.to_reference(x, y)
    shift = float(np.median(np.hypot(to_x - x, to_y - y)))
    return Alignment(shift, found.rms_pix / float(np.sqrt(found.n_matched)), found.n_matched)


def _by_pixels(reference: Image, science: Image) -> Alignment | None:
    """Shift between the structures of both frames, where they show enough of the same."""
    if reference.variance is None or science.variance is None:
        return None
    grid = _plain_grid()
    found = measure_pointing(reference.with_(wcs=grid), science.with_(wcs=grid))
    if not found.is_found:
        return None
    ny, nx = science.shape
    shift = float(np.hypot(found.shift[0] - (nx - 1) / 2.0, found.shift[1] - (ny - 1) / 2.0))
    return Alignment(shift, _PIXELS_ERROR_PIX / 3.0 * max(1, max(science.shape) // 1024))


def _plain_grid() -> WCS:
    """World coordinates whose only use is to say that both frames have the same pixels."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cdelt = [-1.0 / 3600.0, 1.0 / 3600.0]
    wcs.wcs.crpix = [1.0, 1.0]
    wcs.wcs.set()
    return wcs
