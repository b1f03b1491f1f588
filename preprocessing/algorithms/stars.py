"""Sources of one frame, with the clean point sources among them marked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import sep
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import UNUSABLE, MaskPlane, is_bad
from astrid_site.imaging.psf import PsfField

Float64 = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_DEFAULT_FWHM = 3.0
# a wider one gathers neighbours in a crowded field, and grows with what it gathers
_WIDEST_APERTURE = 10.0
_MIN_STAR_SNR = 10.0
# the widest spread of half-light radii that variable seeing across a frame causes
_LOCUS_SCATTER = 0.12
# radius [FWHM] and neighbours' share of flux within it; looser where a field is too crowded
_ISOLATION = ((3.0, 0.05), (2.0, 0.1), (1.5, 0.3), (1.2, 0.6))
_ENOUGH_STARS = 20
_LEAST_BUFFER = 300_000
_FILTER = np.array([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16.0
# noise that the filter leaves of that of independent pixels
_FILTERED_NOISE = float(np.sqrt(np.square(_FILTER).sum()))
# share of a blend that makes one of its peaks a source of its own; in a crowded field a blend is
# as large as the frame, and its stars are small parts of it
_OWN_SHARE, _OWN_SHARE_IN_CROWD = 0.005, 0.0005
# unresolved starlight from which on a field is such a crowd [share of the sky's variance]
_CROWD = 0.2


@dataclass(frozen=True)
class StarList:
    """Sources of a frame, brightest first.

    Attributes
    ----------
    x, y : NDArray[float64], shape (n,)
        Positions [pix], 0-based pixel centres.
    flux, flux_error : NDArray[float64], shape (n,)
        Total flux and its error [data units].
    peak : NDArray[float64], shape (n,)
        Highest pixel above the sky [data units].
    is_star : NDArray[bool], shape (n,)
        Clean, unsaturated, isolated and point-like.
    """

    x: Float64
    y: Float64
    flux: Float64
    flux_error: Float64
    peak: Float64
    is_star: BoolArray

    def __len__(self) -> int:
        return int(self.x.size)

    @property
    def snr(self) -> Float64:
        """Flux over its error."""
        return self.flux / np.maximum(self.flux_error, 1e-30)

    def select(self, index: BoolArray | NDArray[np.intp]) -> StarList:
        """The sources at ``index``, in that order."""
        columns = (self.x, self.y, self.flux, self.flux_error, self.peak)
        x, y, flux, flux_error, peak = (column[index] for column in columns)
        return StarList(x, y, flux, flux_error, peak, self.is_star[index])


@dataclass(frozen=True)
class SourceShapes:
    """Shapes that tell stars from galaxies and cosmic rays; arrays of shape (n,)."""

    half_light_radius: Float64
    elongation: Float64
    has_bad_core: BoolArray


def find_stars(
    image: Image,
    *,
    fwhm_guess_pix: float | None = None,
    psf: PsfField | None = None,
    threshold: float = 5.0,
    confusion: float = 0.0,
    max_sources: int = 200_000,
) -> StarList:
    """Find the sources of a background-subtracted frame and mark the clean stars.

    Parameters
    ----------
    image : Image
        Background-subtracted frame with variance and mask.
    fwhm_guess_pix : float, optional
        Width of the PSF [pix]; measured from the sources themselves where absent.
    psf : PsfField, optional
        The PSF where it is known: sources of its size are then stars. Otherwise those are whose
        size is common.
    threshold : float
        Detection threshold per filtered pixel [sigma].
    confusion : float
        Share of the sky's variance that is unresolved starlight, below 1 (``measure_confusion``):
        in a crowded field that, and not noise, limits what is a source.
    max_sources : int
        Sources kept, brightest first.

    Returns
    -------
    StarList
        All sources by falling flux. Positions are Gaussian-windowed centroids, fluxes aperture
        fluxes within 1.5 FWHM scaled to the total flux of a star.

    Raises
    ------
    ValueError
        If the image has no variance.
    AlgorithmError
        If the extraction gives up; carries ``n_pixels``.

    Notes
    -----
    In a crowd blends are told apart by the light of their parts. By their significance, which
    suits pairs of stars but grows only as the root of a bright one's light, they are left whole:
    of 1,100 stars of a real frame 390 were found, and not all of the bright ones.

    References
    ----------
    .. [1] Barbary 2016, JOSS 1, 58 (sep); Bertin & Arnouts 1996, A&AS 117, 393.
    """
    if image.variance is None:
        msg = "image: find_stars needs the variance"
        raise ValueError(msg)
    bad = is_bad(image.mask)
    found = _extract(image, bad=bad, threshold=threshold, confusion=confusion)
    if found.size > max_sources:
        found = found[np.argsort(-found["flux"])[:max_sources]]
    if found.size == 0:
        empty = np.zeros(0)
        return StarList(empty, empty, empty, empty, empty, np.zeros(0, dtype=np.bool_))
    fwhm = fwhm_guess_pix or guess_fwhm(image, found)
    stars, shapes = _measure(image, found, bad=bad, fwhm=fwhm)
    radius = None if psf is None else _half_light_of(psf, limit=2.5 * fwhm)
    return mark_stars(stars, shapes, fwhm=fwhm, saturation=image.saturation, star_radius=radius)


def guess_fwhm(image: Image, found: NDArray[np.void]) -> float:
    """Typical FWHM of the brighter sources [pix], from half-light radii; 3 pix where none tell."""
    elongation = found["a"] / np.maximum(found["b"], 1e-6)
    # round and unblended: neither cosmic-ray tracks nor most galaxies
    bright = (found["flag"] == 0) & (found["npix"] >= 4) & (elongation < 1.5)
    if bright.sum() < 5:
        bright = found["npix"] >= 1
    order = np.argsort(-found["flux"][bright])[:400]
    x, y = found["x"][bright][order], found["y"][bright][order]
    data = np.ascontiguousarray(image.data, dtype=np.float32)
    mask = is_bad(image.mask)
    fwhm = _WIDEST_APERTURE / 2.5
    for _ in range(3):
        radius = _half_light(data, mask, x=x, y=y, limit=min(2.5 * fwhm, _WIDEST_APERTURE))
        radius = radius[np.isfinite(radius) & (radius > 0.6)]
        if radius.size == 0:
            return _DEFAULT_FWHM
        fwhm = float(np.clip(2.0 * stellar_locus(radius), 1.2, 15.0))
    return fwhm


def stellar_locus(radius: Float64) -> float:
    """Half-light radius of the point sources among positive radii [pix].

    Stars share one radius, galaxies have many: the locus is the smallest radius at which sources
    crowd within 6 % clearly more than around it. The overall mode would be that of the galaxies
    in a deep field. Where nothing stands out, the smallest radius that is common is taken.
    """
    sample = np.sort(np.log(radius))
    narrow, wide = _count_within(sample, 0.06), _count_within(sample, 0.24)
    expected = (wide - narrow) / 3.0
    contrast = np.where(narrow >= 4, (narrow - expected) / np.sqrt(expected + 1.0), 0.0)
    stands_out = contrast >= max(3.0, 0.5 * float(contrast.max()))
    if not stands_out.any():
        common = _count_within(sample, 0.12)
        stands_out = common >= max(min(4, sample.size), 0.25 * float(common.max()))
    first = sample[int(np.argmax(stands_out))]
    near = (sample >= first - 1e-9) & (sample <= first + 0.2)
    centre = sample[near][int(np.argmax(narrow[near]))]
    return float(np.exp(np.median(sample[np.abs(sample - centre) <= 0.1])))


def _count_within(sample: Float64, reach: float) -> Float64:
    """Members of a sorted sample within ``reach`` of each member."""
    upper = np.searchsorted(sample, sample + reach, side="right")
    return (upper - np.searchsorted(sample, sample - reach)).astype(np.float64)


def _extract(
    image: Image, *, bad: BoolArray, threshold: float, confusion: float
) -> NDArray[np.void]:
    """Run sep with buffers sized to the frame, so that crowded fields do not overflow them."""
    data = np.ascontiguousarray(image.data, dtype=np.float32)
    if image.variance is None:
        msg = "image: the variance is missing"
        raise ValueError(msg)
    sep.set_extract_pixstack(max(_LEAST_BUFFER, data.size // 8))
    sep.set_sub_object_limit(16_384)
    is_crowded = confusion > _CROWD
    # in units of a pixel's noise; the filter averages noise, and starlight not: it is as wide
    starlight = np.sqrt(confusion / (1.0 - confusion))
    noise = np.hypot(_FILTERED_NOISE if is_crowded else 1.0, starlight)
    try:
        found = sep.extract(
            data,
            threshold * float(noise),
            var=image.variance,
            mask=bad,
            minarea=3,
            filter_kernel=_FILTER,
            filter_type="conv" if is_crowded else "matched",
            deblend_nthresh=32,
            deblend_cont=_OWN_SHARE_IN_CROWD if is_crowded else _OWN_SHARE,
            clean=True,
        )
    except MemoryError as error_:
        msg = "source extraction ran out of memory"
        raise AlgorithmError(msg, n_pixels=int(data.size)) from error_
    except Exception as error_:
        # all that the library raises when a buffer is full is a bare Exception; a kind of its own
        # is another fault
        if type(error_) is not Exception:
            raise
        msg = (
            f"the sources cannot be told apart ({error_}): too much of the frame lies above its "
            "noise; check its sky and, where they were given, its variance and its mask"
        )
        raise AlgorithmError(msg, n_pixels=int(data.size)) from error_
    return np.asarray(found)


def _half_light(
    data: NDArray[np.float32], mask: BoolArray, *, x: Float64, y: Float64, limit: float
) -> Float64:
    """Radius holding half the flux within ``limit`` [pix]; NaN where it cannot be measured."""
    radius, flag = sep.flux_radius(data, x, y, np.full(x.size, limit), 0.5, mask=mask, subpix=5)
    return np.where(flag & sep.APER_ALLMASKED, np.nan, radius)


def _measure(
    image: Image, found: NDArray[np.void], *, bad: BoolArray, fwhm: float
) -> tuple[StarList, SourceShapes]:
    """Windowed positions, aperture fluxes and shapes of the extracted sources, brightest first."""
    data = np.ascontiguousarray(image.data, dtype=np.float32)
    variance = np.asarray(image.variance, dtype=np.float32)
    sigma = fwhm / 2.3548
    # 5 x 5 samples of an edge pixel: centroids move by 10^-5 pixel against 11 x 11
    x, y, flag = sep.winpos(
        data, found["x"], found["y"], np.full(found.size, sigma), mask=bad, subpix=5
    )
    # a window that wandered off, or met a mask, is worse than the isophotal centroid
    moved = np.hypot(x - found["x"], y - found["y"]) > fwhm
    lost = moved | (flag != 0) | ~np.isfinite(x) | ~np.isfinite(y)
    x, y = np.where(lost, found["x"], x), np.where(lost, found["y"], y)
    flux, error, _ = sep.sum_circle(data, x, y, 1.5 * fwhm, var=variance, mask=bad, subpix=5)
    # an aperture that is masked altogether has no flux
    order = np.argsort(-flux, kind="stable")[: np.count_nonzero(np.isfinite(flux))]
    blocked = _core_is_bad(image, x=x, y=y, fwhm=fwhm)
    # of all others the size is asked of nobody, and costs as much as the position
    wanted = ~blocked & (flux > _MIN_STAR_SNR * error)
    radius = np.full(x.size, np.nan)
    radius[wanted] = _half_light(data, bad, x=x[wanted], y=y[wanted], limit=2.5 * fwhm)
    shapes = SourceShapes(
        half_light_radius=radius[order],
        elongation=np.asarray(found["a"] / np.maximum(found["b"], 1e-6))[order],
        has_bad_core=blocked[order],
    )
    peak = np.asarray(found["peak"], dtype=np.float64)
    none = np.zeros(order.size, dtype=np.bool_)
    stars = StarList(x[order], y[order], flux[order], error[order], peak[order], none)
    return stars, shapes


def _half_light_of(psf: PsfField, *, limit: float) -> float:
    """Radius holding half of the PSF's flux within ``limit`` [pix]."""
    stamp = np.ascontiguousarray(
        psf.at(psf.shape[1] / 2.0, psf.shape[0] / 2.0)[0], dtype=np.float32
    )
    middle = np.array([stamp.shape[-1] // 2], dtype=np.float64)
    mask = np.zeros(stamp.shape, dtype=np.bool_)
    return float(_half_light(stamp, mask, x=middle, y=middle, limit=limit)[0])


def _core_is_bad(image: Image, *, x: Float64, y: Float64, fwhm: float) -> BoolArray:
    """Whether any pixel within about one FWHM of the positions is unusable or off the frame."""
    ny, nx = image.shape
    reach = max(2, int(np.ceil(fwhm)))
    axis = np.arange(-reach, reach + 1)
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    inside = (column >= reach) & (column < nx - reach) & (row >= reach) & (row < ny - reach)
    rows = np.clip(row[:, None, None] + axis[:, None], 0, ny - 1)
    columns = np.clip(column[:, None, None] + axis, 0, nx - 1)
    planes = np.bitwise_or.reduce(image.mask[rows, columns], axis=(1, 2))
    blocked_core: BoolArray = is_bad(planes, UNUSABLE | MaskPlane.STAR_HALO) | ~inside
    return blocked_core


def mark_stars(
    stars: StarList,
    shapes: SourceShapes,
    *,
    fwhm: float,
    saturation: float | None,
    star_radius: float | None = None,
) -> StarList:
    """Mark the sources that are clean, unsaturated, isolated and on the stellar locus.

    Parameters
    ----------
    stars : StarList
        All sources, brightest first.
    shapes : SourceShapes
        Their shapes, same order.
    fwhm : float
        Width of the PSF [pix].
    saturation : float or None
        Saturation level on the background-subtracted scale [data units].
    star_radius : float, optional
        Half-light radius of a star [pix] where it is known.

    Returns
    -------
    StarList
        The same sources with ``is_star`` set.
    """
    snr = stars.snr
    clean = (snr > _MIN_STAR_SNR) & ~shapes.has_bad_core & np.isfinite(shapes.half_light_radius)
    clean &= stars.flux > 0
    if saturation is not None:
        clean &= stars.peak < 0.9 * saturation
    for reach, limit in _ISOLATION:
        lone = clean & (contamination(stars, radius=reach * fwhm) < limit)
        is_star = lone & _on_locus(stars, shapes, candidates=lone, star_radius=star_radius)
        if is_star.sum() >= _ENOUGH_STARS:
            break
    return replace(stars, is_star=is_star)


def contamination(stars: StarList, *, radius: float) -> Float64:
    """Flux of the neighbours within ``radius`` [pix] of each source, relative to its own."""
    positions = np.column_stack([stars.x, stars.y])
    pairs = cKDTree(positions).query_pairs(radius, output_type="ndarray")
    total = np.zeros(len(stars))
    flux = np.maximum(stars.flux, 0.0)
    np.add.at(total, pairs[:, 0], flux[pairs[:, 1]])
    np.add.at(total, pairs[:, 1], flux[pairs[:, 0]])
    return total / np.maximum(flux, 1e-30)


def _on_locus(
    stars: StarList, shapes: SourceShapes, *, candidates: BoolArray, star_radius: float | None
) -> BoolArray:
    """Sources whose size and roundness are those of the frame's point sources."""
    radius, snr = shapes.half_light_radius, stars.snr
    candidates = candidates & (radius > 0)
    if star_radius is not None:
        candidates &= np.abs(radius / star_radius - 1.0) < 2.5 * _LOCUS_SCATTER
    sure = candidates & (snr > 30.0) & (shapes.elongation < 1.5)
    if sure.sum() < 8:
        sure = candidates
    if not sure.any():
        return np.zeros(len(stars), dtype=np.bool_)
    centre = stellar_locus(radius[sure])
    near = sure & (np.abs(radius / centre - 1.0) < 2.5 * _LOCUS_SCATTER)
    expected = _locus_plane(stars, radius, near=near, centre=centre)
    elongation = float(np.median(shapes.elongation[near])) if near.any() else 1.0
    # noise widens the locus at the faint end; 1.5 / snr is the scatter of a half-light radius
    width = np.hypot(_LOCUS_SCATTER, 4.0 / np.maximum(snr, 1.0))
    round_enough = shapes.elongation < elongation + 0.3 + 4.0 / np.maximum(snr, 1.0)
    compact: BoolArray = (np.abs(radius / expected - 1.0) < width) & round_enough
    return compact


def _locus_plane(stars: StarList, radius: Float64, *, near: BoolArray, centre: float) -> Float64:
    """Half-light radius of a star at every source position: a plane where enough stars fix one."""
    if near.sum() < 30:
        return np.full(len(stars), centre)
    x0, y0 = stars.x.mean(), stars.y.mean()
    terms = np.column_stack([np.ones(len(stars)), stars.x - x0, stars.y - y0])
    kept = near.copy()
    for _ in range(3):
        solution = np.linalg.lstsq(terms[kept], radius[kept], rcond=None)[0]
        expected: Float64 = terms @ solution
        kept = near & (np.abs(radius / expected - 1.0) < _LOCUS_SCATTER)
        if kept.sum() < 20:
            return np.full(len(stars), centre)
    return expected
