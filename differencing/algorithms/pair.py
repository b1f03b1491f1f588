"""A science frame and its template made ready to be filtered: one mask and no holes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from astrid_site.imaging.errors import NoWorkError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskArray, MaskPlane, is_bad
from astrid_site.imaging.psf import PsfField
from differencing.algorithms.missing_light import fill_missing_light
from preprocessing.algorithms.smoothing import STRIP, StripFilter

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
IndexArray = NDArray[np.intp]

#: Pixels along the frame's edge whose convolution reaches outside the frame.
EDGE_PIX = 3
#: A star of this many sigma in the outermost pixels lacks light that the kernel would need.
_CUT_SIGMA = 50.0
#: So far from there the light that is lacking shows [FWHM].
_CUT_REACH = 2.5
#: An interpolated pixel may be wrong by this share of its own value.
_FILL_ERROR = 0.3
#: Half width of the neighbourhood from which a bad pixel is interpolated.
_FILL_REACH = 4
#: Up to this share of bad pixels it is quicker to look around each than to filter all.
_FEW_BAD = 0.005
_LEAST_WEIGHT = np.float32(1e-6)
_FAINT_WEIGHT = np.float32(0.1)
_MIN_COVERAGE = 0.05
#: Neighbours more correlated than this come from one coarser pixel; where pixels are as wide as
#: before, resampling correlates them by 0.13.
_FINE_LINK = 0.3


@dataclass(frozen=True)
class Pair:
    """Both frames on one grid; all planes of shape (ny, nx).

    Attributes
    ----------
    science, template : NDArray[float32]
        Background-subtracted data with bad pixels interpolated.
    science_variance, template_variance : NDArray[float32]
        Variances, raised where a pixel was interpolated.
    bad : NDArray[bool]
        Pixels on which the difference says nothing.
    mask : NDArray[uint16]
        Union of both masks with STAR_HALO and EDGE.
    science_psf, template_psf : PsfField
        PSFs of the two frames.
    template_correlation : NDArray[float32] or None
        Correlation of the template's noise at each lag (dy, dx); None for white noise.
    """

    science: FloatArray
    template: FloatArray
    science_variance: FloatArray
    template_variance: FloatArray
    bad: BoolArray
    mask: MaskArray
    science_psf: PsfField
    template_psf: PsfField
    template_correlation: FloatArray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return (int(self.science.shape[0]), int(self.science.shape[1]))

    @property
    def lacks_frequencies(self) -> bool:
        """Whether the template was resampled from coarser pixels, which have no fine noise."""
        if self.template_correlation is None:
            return False
        middle = self.template_correlation.shape[0] // 2
        return float(self.template_correlation[middle, middle + 1]) > _FINE_LINK

    @property
    def coverage(self) -> float:
        """Share of the frame on which the difference is defined."""
        return 1.0 - float(self.bad.mean())


def prepare_pair(
    template: Image, science: Image, *, halo_growth: float, in_place: bool = False
) -> Pair:
    """Check that two frames can be differenced, unite their masks and interpolate their holes.

    Parameters
    ----------
    template, science : Image
        On one grid, background-subtracted, with variance and PSF.
    halo_growth : float
        Growth of the mask around saturated cores, in units of each core's radius.
    in_place : bool
        Whether holes may be filled in the frames' own pixels, which nobody needs any more.

    Returns
    -------
    Pair

    Raises
    ------
    ValueError
        If the shapes differ, or a variance or PSF is missing.
    NoWorkError
        If fewer than 5 % of the pixels are usable in both; carries ``coverage``.
    """
    if template.shape != science.shape:
        msg = f"template: shape {template.shape} differs from the science frame's {science.shape}"
        raise ValueError(msg)
    science_psf, science_variance = _require_noise_model(science, "science")
    template_psf, template_variance = _require_noise_model(template, "template")
    bad_science = _unusable(science, science_variance)
    bad_template = _unusable(template, template_variance)
    mask = science.mask | template.mask
    mask[(bad_science | bad_template) & ~is_bad(mask)] |= np.uint16(MaskPlane.BAD_PIXEL)
    halo = saturation_halo(mask, growth=halo_growth)
    width = max(science_psf.fwhm_pix, template_psf.fwhm_pix)
    edge = _edge(science.shape)
    for data, variance, bad in (
        (science.data, science_variance, bad_science),
        (template.data, template_variance, bad_template),
    ):
        edge |= cut_stars(data, variance, bad, fwhm_pix=width)
    mask[halo] |= np.uint16(MaskPlane.STAR_HALO)
    mask[edge] |= np.uint16(MaskPlane.EDGE)
    bad = bad_science | bad_template | halo | edge
    coverage = 1.0 - float(bad.mean())
    if coverage < _MIN_COVERAGE:
        msg = f"only {100 * coverage:.1f} % of the frame is usable in both images, 5 % needed"
        raise NoWorkError(msg, coverage=coverage)
    filled = interpolate_bad(
        science.data, science_variance, bad_science, fwhm_pix=width, in_place=in_place
    )
    filled_template = interpolate_bad(
        template.data, template_variance, bad_template, fwhm_pix=width, in_place=in_place
    )
    planes = (
        (filled, filled_template, science.mask, bad_science, bad_template),
        (filled_template, filled, template.mask, bad_template, bad_science),
    )
    for frame, other, own_mask, own_bad, other_bad in planes:
        fill_missing_light(frame, other, mask=own_mask, other_bad=other_bad, bad=own_bad)
    return Pair(
        science=filled[0],
        template=filled_template[0],
        science_variance=filled[1],
        template_variance=filled_template[1],
        bad=bad,
        mask=mask,
        science_psf=science_psf,
        template_psf=template_psf,
        template_correlation=template.noise_correlation,
    )


def _require_noise_model(image: Image, name: str) -> tuple[PsfField, FloatArray]:
    if image.psf is None or image.variance is None:
        missing = "psf" if image.psf is None else "variance"
        msg = f"{name}: its {missing} is missing; measure it before differencing"
        raise ValueError(msg)
    return image.psf, image.variance


def _unusable(image: Image, variance: FloatArray) -> BoolArray:
    """Pixels that are masked, or that cannot be weighed."""
    bad = np.empty(image.shape, dtype=bool)
    for first in range(0, len(bad), STRIP):
        rows = slice(first, first + STRIP)
        spread = variance[rows]
        # NaN compares false
        usable = np.isfinite(image.data[rows]) & (spread > 0) & (spread < np.inf)
        np.logical_not(usable, out=bad[rows])
        bad[rows] |= is_bad(image.mask[rows])
    return bad


def _edge(shape: tuple[int, int]) -> BoolArray:
    edge = np.ones(shape, dtype=bool)
    edge[EDGE_PIX:-EDGE_PIX, EDGE_PIX:-EDGE_PIX] = False
    return edge


def cut_stars(
    data: FloatArray, variance: FloatArray, bad: BoolArray, *, fwhm_pix: float
) -> BoolArray:
    """Surroundings of the stars that the frame's edge cuts.

    To match them a kernel needs their light beyond the edge: without it a star of S/N 700 at the
    edge left a source of 8 sigma in its wing, 4 pixels inside.
    """
    cut = np.zeros(data.shape, dtype=bool)
    level = np.float32(_CUT_SIGMA) * np.sqrt(_median_of_good(variance, bad))
    reach = math.ceil(_CUT_REACH * fwhm_pix)
    offset = np.arange(-reach, reach + 1)
    disc = offset[:, None] ** 2 + offset[None, :] ** 2 <= (_CUT_REACH * fwhm_pix) ** 2
    border = np.zeros(data.shape, dtype=bool)
    border[[0, -1], :] = border[:, [0, -1]] = True
    for y, x in np.argwhere(border & ~bad & (data > level)):
        top, left = max(y - reach, 0), max(x - reach, 0)
        part = disc[top - y + reach :, left - x + reach :]
        here = cut[top : y + reach + 1, left : x + reach + 1]
        here |= part[: here.shape[0], : here.shape[1]]
    return cut


def saturation_halo(mask: MaskArray, *, growth: float) -> BoolArray:
    """Surroundings of saturated cores, as wide as the core's own radius times ``growth``.

    The radius of a core is that of the largest disc inside it: the length of a bleed trail says
    nothing about the light around the star.
    """
    saturated = is_bad(mask, MaskPlane.SATURATED | MaskPlane.BLEED)
    halo = np.zeros(mask.shape, dtype=bool)
    labels, n_cores = ndimage.label(saturated, structure=np.ones((3, 3), dtype=int))
    for label, box in enumerate(ndimage.find_objects(labels, n_cores), start=1):
        core = np.pad(labels[box] == label, 1)
        radius = float(ndimage.distance_transform_edt(core).max())
        reach = math.ceil(growth * radius) + 1
        wide = tuple(
            slice(max(0, s.start - reach), min(n, s.stop + reach))
            for s, n in zip(box, mask.shape, strict=True)
        )
        distance = ndimage.distance_transform_edt(labels[wide] != label)
        halo[wide] |= distance <= growth * radius + 1.0
    return np.asarray(halo & ~saturated, dtype=bool)


def interpolate_bad(
    data: FloatArray,
    variance: FloatArray,
    bad: BoolArray,
    *,
    fwhm_pix: float,
    in_place: bool = False,
) -> tuple[FloatArray, FloatArray]:
    """Replace bad pixels by the Gaussian-weighted mean of the good ones near them.

    Returns
    -------
    tuple of NDArray[float32], shape (ny, nx)
        Data, 0 where no good pixel is near; and variance, at the replaced pixels that of the
        interpolation: 30 % of their value.
    """
    out, out_variance = (data, variance) if in_place else (data.copy(), variance.copy())
    level = _median_of_good(variance, bad)
    offset = np.arange(_FILL_REACH + 1)
    gauss = np.exp(-0.5 * (offset / (0.6 * fwhm_pix / 2.355)) ** 2).astype(np.float32)
    near = _NeighbourMean(data, bad, gauss)
    for first in range(0, len(bad), STRIP):
        rows = slice(first, first + STRIP)
        here = bad[rows]
        n_bad = int(np.count_nonzero(here))
        if n_bad:
            if n_bad < _FEW_BAD * here.size:
                y, x = np.nonzero(here)
                value = near.at(y + first, x)
            else:
                value = near.of(rows)[here]
            out[rows][here] = value
            out_variance[rows][here] = level + np.square(np.float32(_FILL_ERROR) * value)
    return out, out_variance


def _median_of_good(variance: FloatArray, bad: BoolArray) -> np.float32:
    """Typical variance of a good pixel, from a sixteenth of the frame where that has any."""
    for step in (4, 1):
        good = variance[::step, ::step][~bad[::step, ::step]]
        if good.size:
            return np.float32(np.median(good))
    return np.float32(1)


class _NeighbourMean:
    """Weighted mean of the good pixels around each pixel; 0 where there are none."""

    def __init__(self, data: FloatArray, bad: BoolArray, gauss: FloatArray) -> None:
        self._data, self._bad, self._reach = data, bad, len(gauss) - 1
        whole = np.concatenate([gauss[:0:-1], gauss])
        self._window = whole[:, None] * whole
        nx = data.shape[1]
        self._near, self._around = StripFilter(gauss, nx), StripFilter(np.ones_like(gauss), nx)
        self._sums = np.empty((3, STRIP, nx), dtype=np.float32)

    def of(self, rows: slice) -> FloatArray:
        """The means of at most ``STRIP`` rows."""
        first, last = rows.start, min(rows.stop, len(self._data))
        weight, total, extra = self._sums[:, : last - first]
        is_faint = False
        for plane, is_data in ((weight, False), (total, True)):
            self._fill(first, last, is_data=is_data)
            self._near.apply(plane)
            if not is_data:
                is_faint = bool((plane[self._bad[first:last]] < _FAINT_WEIGHT).any())
            if is_faint:
                # where the Gaussian has died away any good pixel is better than none
                self._around.block[:] = self._near.block
                plane += _LEAST_WEIGHT * self._around.apply(extra)
        mean: FloatArray = np.zeros_like(total)
        np.divide(total, weight, out=mean, where=weight > 0)
        return mean

    def at(self, y: IndexArray, x: IndexArray) -> FloatArray:
        """The means at some pixels, shape (n,)."""
        ny, nx = self._data.shape
        offset = np.arange(-self._reach, self._reach + 1)
        rows = y[:, None, None] + offset[:, None]
        columns = x[:, None, None] + offset
        inside = (rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx)
        rows, columns = np.clip(rows, 0, ny - 1), np.clip(columns, 0, nx - 1)
        good = inside & ~self._bad[rows, columns]
        values = np.where(good, self._data[rows, columns], np.float32(0))
        weights = np.where(good, self._window, np.float32(0))
        is_faint = weights.sum(axis=(1, 2)) < _FAINT_WEIGHT
        weights[is_faint] += _LEAST_WEIGHT * good[is_faint]
        weight, total = weights.sum(axis=(1, 2)), (weights * values).sum(axis=(1, 2))
        mean: FloatArray = np.zeros_like(total)
        np.divide(total, weight, out=mean, where=weight > 0)
        return mean

    def _fill(self, first: int, last: int, *, is_data: bool) -> None:
        """Good pixels, or 1 for each of them, with those that the filter reaches; else 0."""
        ny, nx = self._data.shape
        reach = self._reach
        wide = slice(max(first - reach, 0), min(last + reach, ny))
        top = wide.start - first + reach
        inner = self._near.block[top : top + wide.stop - wide.start, reach : reach + nx]
        self._near.block[:] = 0.0
        if is_data:
            np.copyto(inner, self._data[wide], where=~self._bad[wide])
        else:
            inner[:] = ~self._bad[wide]
