"""Numbers by which people judge a frame and its difference, measured on the finished images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from astrid_site.imaging.masks import MaskArray, MaskPlane
from astrid_site.imaging.psf import PsfField, measure_fwhm

FloatArray = NDArray[np.float32]
Float64 = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Reach and width of the bins of a score histogram [sigma].
HISTOGRAM_REACH = 6.0
HISTOGRAM_STEP = 0.25
#: Rows of one slab of a frame, and pixels after which no more slabs are looked at.
_SLAB_ROWS = 64
_MAX_PIXELS = 1_000_000
#: A pixel is blank where the static sky, seen through the PSF, is below this many sigma.
_BLANK_SIGMA = 3.0
_RESIDUAL_RADIUS = 4
_RESIDUAL_SNR = 50.0


def count_planes(mask: MaskArray) -> dict[str, int]:
    """Pixels that have each plane set, by the plane's name; a pixel may count several times."""
    return {
        str(plane.name): int(np.count_nonzero(mask & np.uint16(plane)))
        for plane in MaskPlane
        if plane.name
    }


@dataclass(frozen=True)
class ScoreHistogram:
    """Scores of blank-sky pixels; were the noise fully known, a normal distribution.

    Attributes
    ----------
    counts : NDArray[int64], shape (n,)
        Pixels in bins of ``HISTOGRAM_STEP`` from ``-HISTOGRAM_REACH`` on.
    n_below, n_above : int
        Pixels beyond the bins.
    width : float
        1.4826 times the median absolute deviation [sigma].
    """

    counts: NDArray[np.int64]
    n_below: int
    n_above: int
    width: float

    def as_json(self) -> dict[str, Any]:
        """For the run's metrics."""
        return {
            "reach": HISTOGRAM_REACH,
            "step": HISTOGRAM_STEP,
            "counts": self.counts.tolist(),
            "n_below": self.n_below,
            "n_above": self.n_above,
            "width": self.width,
        }


def score_histogram(
    score: FloatArray, template: FloatArray, *, mask: MaskArray, fwhm_pix: float
) -> ScoreHistogram | None:
    """Histogram of the score where neither image shows a source.

    Parameters
    ----------
    score : NDArray[float32], shape (ny, nx)
        Score image [sigma]; 0 where masked.
    template : NDArray[float32], shape (ny, nx)
        Template on the same grid, background-subtracted; its sources are left out.
    mask : NDArray[uint16], shape (ny, nx)
        ``MaskPlane`` bits of the difference; any of them leaves a pixel out.
    fwhm_pix : float
        Width of the PSF, with which the template is smoothed before it is judged [pix].

    Returns
    -------
    ScoreHistogram or None
        Over at most a million pixels, in slabs spread evenly over the frame; None where less
        than a thousand blank pixels were found.

    Notes
    -----
    The engine measures its noise on the blank pixels of its own filtered planes; this is a second
    measurement of the finished score image, with a selection of its own.
    """
    parts = [
        score[rows][_blank(template[rows], score[rows], mask[rows], fwhm_pix=fwhm_pix)]
        for rows in _slabs(score.shape[0], score.shape[1])
    ]
    values = np.concatenate(parts).astype(np.float64)
    if values.size < 1000:
        return None
    edges = np.arange(-HISTOGRAM_REACH, HISTOGRAM_REACH + HISTOGRAM_STEP / 2, HISTOGRAM_STEP)
    # bins are closed below, and the last one must not take what lies on the reach itself
    counts = np.histogram(values[values < HISTOGRAM_REACH], edges)[0]
    return ScoreHistogram(
        counts=counts.astype(np.int64),
        n_below=int((values < -HISTOGRAM_REACH).sum()),
        n_above=int((values >= HISTOGRAM_REACH).sum()),
        width=float(1.4826 * np.median(np.abs(values - np.median(values)))),
    )


def _slabs(ny: int, nx: int) -> Iterator[slice]:
    """Rows of slabs spread evenly over the frame."""
    starts = np.arange(0, ny, _SLAB_ROWS)
    n_wanted = max(1, _MAX_PIXELS // (_SLAB_ROWS * nx))
    for start in starts[:: max(1, -(-len(starts) // n_wanted))]:
        yield slice(int(start), int(start) + _SLAB_ROWS)


def _blank(
    template: FloatArray, score: FloatArray, mask: MaskArray, *, fwhm_pix: float
) -> BoolArray:
    usable = (mask == 0) & (score != 0)
    if not usable.any():
        return np.asarray(usable, dtype=bool)
    smooth = ndimage.gaussian_filter(
        np.where(usable, template, np.float32(0)), fwhm_pix / 2.3548, truncate=3.0
    )
    middle = np.median(smooth[usable])
    width = 1.4826 * np.median(np.abs(smooth[usable] - middle))
    return np.asarray(usable & (np.abs(smooth - middle) < _BLANK_SIGMA * width), dtype=bool)


@dataclass(frozen=True)
class StarResiduals:
    """What a subtraction left of bright stars; arrays of shape (n,)."""

    x: Float64
    y: Float64
    chi2: Float64


def residuals_at_stars(
    difference: FloatArray,
    variance: FloatArray,
    *,
    mask: MaskArray,
    x: Float64,
    y: Float64,
    snr: Float64,
    max_stars: int = 300,
) -> StarResiduals:
    """Mean squared pull within 4 pixels of bright stars.

    Parameters
    ----------
    difference, variance : NDArray[float32], shape (ny, nx)
        Difference and its variance.
    mask : NDArray[uint16], shape (ny, nx)
        Stars with a masked pixel within the radius are left out.
    x, y : NDArray[float64], shape (n,)
        Positions of clean stars [pix].
    snr : NDArray[float64], shape (n,)
        Their signal-to-noise ratios; those above 50 are bright.
    max_stars : int
        The brightest so many are measured.

    Returns
    -------
    StarResiduals
        1 is noise alone.
    """
    ny, nx = difference.shape
    reach = np.arange(-_RESIDUAL_RADIUS, _RESIDUAL_RADIUS + 1)
    down, across = (part.ravel() for part in np.meshgrid(reach, reach, indexing="ij"))
    disc = down**2 + across**2 <= _RESIDUAL_RADIUS**2
    bright = np.argsort(-snr, kind="stable")
    bright = bright[snr[bright] > _RESIDUAL_SNR][: 2 * max_stars]
    rows = np.rint(y[bright]).astype(np.int64)[:, None] + down[disc]
    columns = np.rint(x[bright]).astype(np.int64)[:, None] + across[disc]
    inside = ((rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx)).all(axis=1)
    rows, columns, bright = rows[inside], columns[inside], bright[inside]
    clean = ((mask[rows, columns] == 0) & (variance[rows, columns] > 0)).all(axis=1)
    kept = np.flatnonzero(clean)[:max_stars]
    pulls = difference[rows[kept], columns[kept]].astype(np.float64) ** 2
    chi2 = (pulls / variance[rows[kept], columns[kept]]).mean(axis=1)
    chosen = bright[kept]
    return StarResiduals(x[chosen], y[chosen], chi2)


def grid_positions(shape: tuple[int, int], *, n: int = 3) -> tuple[Float64, Float64]:
    """n x n positions spread over a frame, lowest row first, left to right."""
    ny, nx = shape
    step = (np.arange(n) + 0.5) / n
    x, y = np.meshgrid(step * nx - 0.5, step * ny - 0.5)
    return x.ravel(), y.ravel()


def psf_widths(psf: PsfField, *, n: int = 3) -> list[float]:
    """Full width at half maximum at n x n positions [pix], in the order of ``grid_positions``."""
    return [measure_fwhm(image) for image in psf.at(*grid_positions(psf.shape, n=n))]
