"""Candidates: the significant peaks of a score image, positive and negative, one for each blob."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from astrid_site.imaging.difference_products import DifferenceProducts
from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.masks import is_bad
from astrid_site.imaging.psf import PsfField

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int64]

#: More peaks than this on one frame are a failed subtraction, not a sky full of transients.
MAX_CANDIDATES = 20_000
_NEIGHBOURS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))


@dataclass(frozen=True)
class Candidates:
    """Peaks of a score image, strongest first; arrays of shape (n,).

    Attributes
    ----------
    x, y : NDArray[float64]
        Sub-pixel positions [pix], 0-based.
    score : NDArray[float64]
        Signed score at the peak pixel [sigma].
    sign : NDArray[int64]
        +1 for brightening, -1 for fading.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    score: NDArray[np.float64]
    sign: IndexArray

    def __len__(self) -> int:
        return len(self.x)

    def select(self, rows: NDArray[np.bool_] | IndexArray) -> Candidates:
        """The peaks at rows."""
        return Candidates(self.x[rows], self.y[rows], self.score[rows], self.sign[rows])


def find_candidates(
    subtraction: DifferenceProducts,
    *,
    threshold: float = 5.0,
    min_separation_pix: float | None = None,
) -> Candidates:
    """Find the peaks of the score image with ``|score| >= threshold``.

    Parameters
    ----------
    subtraction : DifferenceProducts
        Difference, variance, score, mask, PSF on one grid of shape (ny, nx).
    threshold : float
        Least absolute score [sigma].
    min_separation_pix : float, optional
        Peaks of one sign closer than this are one candidate; the FWHM of the difference's PSF
        (at least 2 pixels) by default: two sources closer than that are not resolved.

    Returns
    -------
    Candidates
        One for each blob of connected pixels above the threshold, and further ones in a blob
        only where the score exceeds what the blob's brightest peak explains by the threshold.
        Never on a masked pixel.

    Raises
    ------
    ValueError
        If the threshold is not positive.
    AlgorithmError
        If there are more than 20 000 peaks; carries ``n_peaks`` and ``n_allowed``.
    """
    if not threshold > 0:
        msg = f"threshold: must be positive, got {threshold}"
        raise ValueError(msg)
    # masked pixels have score 0 by contract; enforced here because a peak on one is always wrong
    unusable = is_bad(subtraction.mask) | ~(subtraction.variance > 0)
    score = np.where(unusable, np.float32(0), subtraction.score)
    separation = min_separation_pix or max(2.0, subtraction.psf.fwhm_pix)
    profile = _peak_profile(subtraction.psf)
    found = [
        _peaks_of_one_sign(
            sign * score, threshold=threshold, separation=separation, profile=profile
        )
        for sign in (1, -1)
    ]
    peaks = np.concatenate(found)
    signs = np.repeat(np.array([1, -1]), [len(part) for part in found])
    strength = score.ravel()[peaks].astype(np.float64)
    order = np.argsort(-np.abs(strength), kind="stable")
    x, y = _refine(score, peaks[order], signs[order])
    return Candidates(x=x, y=y, score=strength[order], sign=signs[order].astype(np.int64))


def _peaks_of_one_sign(
    score: FloatArray, *, threshold: float, separation: float, profile: NDArray[np.float64]
) -> IndexArray:
    """Flat indices of the peaks to keep of a score image taken as positive."""
    above = np.flatnonzero(score >= threshold)
    if len(above) == 0:
        return np.zeros(0, dtype=np.int64)
    blob, is_peak = _label_sparse(score, above)
    peaks, blob_of_peak = above[is_peak], blob[is_peak]
    if len(peaks) > MAX_CANDIDATES:
        msg = (
            f"the score image has {len(peaks)} peaks above {threshold:g} sigma: no clean difference"
        )
        raise AlgorithmError(msg, n_peaks=len(peaks), n_allowed=MAX_CANDIDATES)
    order = np.argsort(-score.ravel()[peaks], kind="stable")
    peaks, blob_of_peak = peaks[order], blob_of_peak[order]
    keep = _select_peaks(score, peaks, blob_of_peak, threshold=threshold, profile=profile)
    return _thin(peaks[keep], width=score.shape[1], separation=separation)


def _label_sparse(score: FloatArray, above: IndexArray) -> tuple[IndexArray, NDArray[np.bool_]]:
    """Blob number and local-maximum flag of each pixel above threshold, 8-connected."""
    ny, nx = score.shape
    row, column = np.divmod(above, nx)
    value = score.ravel()[above]
    is_peak = np.ones(len(above), dtype=bool)
    links: list[tuple[IndexArray, IndexArray]] = []
    for dy, dx in _NEIGHBOURS:
        inside = (row + dy >= 0) & (row + dy < ny) & (column + dx >= 0) & (column + dx < nx)
        target = above + dy * nx + dx
        slot = np.minimum(np.searchsorted(above, target), len(above) - 1)
        linked = inside & (above[slot] == target)
        neighbour = np.where(linked, value[slot], -np.inf)
        # on a plateau the first pixel in reading order wins
        is_peak &= (value > neighbour) | ((value == neighbour) & (target > above))
        links.append((np.flatnonzero(linked), slot[linked]))
    start = np.concatenate([a for a, _ in links])
    end = np.concatenate([b for _, b in links])
    graph = coo_array((np.ones(len(start), np.int8), (start, end)), shape=(len(above),) * 2)
    _, blob = connected_components(graph, directed=False)
    return blob.astype(np.int64), is_peak


def _peak_profile(psf: PsfField) -> NDArray[np.float64]:
    """Score of a point source at integer distances from its peak, in units of the peak.

    The matched filter turns the PSF into its autocorrelation; its largest value in each ring is
    kept so that an elongated PSF explains its own wings.
    """
    ny, nx = psf.shape
    image = psf.at((nx - 1) / 2.0, (ny - 1) / 2.0)[0].astype(np.float64)
    side = 2 * psf.size - 1
    power = np.abs(np.fft.rfft2(image, s=(side, side))) ** 2
    correlation = np.fft.fftshift(np.fft.irfft2(power, s=(side, side)))
    offset = np.arange(side) - side // 2
    ring = np.rint(np.hypot(offset[:, None], offset[None, :])).astype(np.int64)
    profile = np.zeros(psf.size)
    np.maximum.at(profile, np.minimum(ring, psf.size - 1).ravel(), correlation.ravel())
    profile[-1] = 0.0
    return np.asarray(profile / correlation.max(), dtype=np.float64)


def _select_peaks(
    score: FloatArray,
    peaks: IndexArray,
    blob: IndexArray,
    *,
    threshold: float,
    profile: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Keep each blob's highest peak, and others that it does not explain; peaks are descending."""
    nx = score.shape[1]
    _, first = np.unique(blob, return_index=True)
    main_of_blob = np.full(int(blob.max()) + 1, -1)
    main_of_blob[blob[first]] = first
    main = main_of_blob[blob]
    row, column = np.divmod(peaks, nx)
    distance = np.rint(np.hypot(row - row[main], column - column[main])).astype(np.int64)
    value = score.ravel()[peaks].astype(np.float64)
    explained = value[main] * profile[np.minimum(distance, len(profile) - 1)]
    # 10 % of the explained score is the price of an imperfect PSF model
    unexplained = value - 1.1 * explained >= threshold
    return np.asarray(unexplained | (main == np.arange(len(peaks))), dtype=bool)


def _thin(peaks: IndexArray, *, width: int, separation: float) -> IndexArray:
    """Drop every peak that has a stronger kept one within ``separation``; peaks are descending."""
    if len(peaks) < 2:
        return peaks
    row, column = np.divmod(peaks, width)
    tree = cKDTree(np.column_stack([column, row]).astype(np.float64))
    dropped = np.zeros(len(peaks), dtype=bool)
    for stronger, weaker in sorted(tree.query_pairs(separation)):
        if not dropped[stronger]:
            dropped[weaker] = True
    return peaks[~dropped]


def _refine(
    score: FloatArray, peaks: IndexArray, signs: IndexArray
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sub-pixel positions: maximum of the parabola through the score's logarithm at the peak.

    The score around a peak is close to a Gaussian, whose logarithm is a parabola; where a
    neighbour is masked or of the other sign the pixel centre stands.
    """
    row, column = np.divmod(peaks, score.shape[1])
    offsets = []
    for dy, dx in ((0, 1), (1, 0)):
        low = _value_at(score, row - dy, column - dx) * signs
        high = _value_at(score, row + dy, column + dx) * signs
        offsets.append(_log_parabola(low, np.abs(score.ravel()[peaks].astype(float)), high))
    return column + offsets[0], row + offsets[1]


def _value_at(score: FloatArray, row: IndexArray, column: IndexArray) -> NDArray[np.float64]:
    """Score at pixels, 0 outside the frame."""
    ny, nx = score.shape
    inside = (row >= 0) & (row < ny) & (column >= 0) & (column < nx)
    value = score[np.clip(row, 0, ny - 1), np.clip(column, 0, nx - 1)].astype(np.float64)
    return np.where(inside, value, 0.0)


def _log_parabola(
    low: NDArray[np.float64], peak: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Offset of the maximum from the middle sample, inside its pixel; 0 where undefined."""
    defined = (low > 0) & (high > 0)
    a, b, c = (np.log(np.where(defined, part, 1.0)) for part in (low, peak, high))
    curvature = a - 2.0 * b + c
    defined &= curvature < 0
    offset = 0.5 * (a - c) / np.where(defined, curvature, -1.0)
    return np.where(defined, np.clip(offset, -0.499, 0.499), 0.0)
