"""From a raw frame to a calibrated science image: mask, sky, variance, stars, PSF, depth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskArray, MaskPlane, is_bad
from astrid_site.imaging.moffat import Moffat, moffat_of_fwhm
from astrid_site.imaging.psf import PsfField
from preprocessing.algorithms.background import Background, fit_background, row_bands
from preprocessing.algorithms.cosmic_rays import find_cosmic_rays
from preprocessing.algorithms.dead_pixels import mask_dead_pixels
from preprocessing.algorithms.frame_planes import (
    known_noise,
    known_variance,
    subtract_sky,
    thinned,
    with_masks,
)
from preprocessing.algorithms.noise import (
    GainEstimate,
    build_variance,
    estimate_gain,
    measure_confusion,
)
from preprocessing.algorithms.psf_fit import MIN_STARS, doubt_of_psf, estimate_core, fit_psf
from preprocessing.algorithms.quality import measure_depth, measure_ellipticity, pixel_scale_arcsec
from preprocessing.algorithms.star_photometry import fit_star_fluxes
from preprocessing.algorithms.stars import StarList, find_stars
from preprocessing.algorithms.trail_fit import Trail
from preprocessing.algorithms.trails import (
    Pattern,
    describe_trails,
    find_trails,
    mask_trails,
    split_pattern,
)
from preprocessing.algorithms.zero_point import (
    CatalogStars,
    ZeroPoint,
    calibrate_zero_point,
    header_zero_point,
)

FloatArray = NDArray[np.float32]
Metric = float | int | str | None | list[dict[str, float]]

# the first, rough width of the PSF needs no more pixels and stars than these
_ROUGH_SIDE = 1024
_ROUGH_STARS = 40
# sources that cover more of a frame than this blend; how much of the noise is then starlight that
# is not resolved, before a PSF tells it
_CROWDED, _CONFUSION = 0.5, 0.5


@dataclass(frozen=True)
class PreprocessConfig:
    """How to calibrate a frame.

    Attributes
    ----------
    box : int
        Width of a background box [pix].
    find_cosmic_rays : bool
        Whether to look for cosmic rays (not on coadds, whose pixels are means).
    find_trails : bool
        Whether to look for satellite trails.
    cosmic_ray_sigma : float
        Least height of a cosmic-ray pixel [sigma].
    detection_sigma : float
        Threshold for sources [sigma].
    psf_order : int or None
        Order of the PSF field; by the number of stars where None.
    catalog : CatalogStars or None
        Local catalogue to calibrate the zero point against; the header's value where None.
    """

    box: int = 64
    find_cosmic_rays: bool = True
    find_trails: bool = True
    cosmic_ray_sigma: float = 6.0
    detection_sigma: float = 5.0
    psf_order: int | None = None
    catalog: CatalogStars | None = None


@dataclass(frozen=True)
class Preprocessed:
    """A calibrated frame and what was measured on it.

    Attributes
    ----------
    image : Image
        Background-subtracted, with mask, variance, PSF and zero point; ``saturation`` is on the
        background-subtracted scale.
    stars : StarList
        Its sources, PSF fluxes for the clean stars.
    background : Background
        What was subtracted.
    metrics : dict
        Scalars for the run's record.
    notes : tuple of str
        What was assumed or left out, in words.
    """

    image: Image
    stars: StarList
    background: Background
    metrics: dict[str, Metric]
    notes: tuple[str, ...]

    def without_pixels(self) -> Preprocessed:
        """What is known of the frame, its image thinned to a pixel of each box."""
        planes = {name: getattr(self.image, name) for name in ("data", "mask", "variance")}
        thin = {name: None if p is None else thinned(p) for name, p in planes.items()}
        return replace(self, image=self.image.with_(**thin))


def preprocess_image(
    image: Image,
    config: PreprocessConfig | None = None,
    *,
    given_psf: PsfField | None = None,
    given_variance: FloatArray | None = None,
    given_mask: MaskArray | None = None,
    in_place: bool = False,
) -> Preprocessed:
    """Calibrate one frame: mask, sky, variance, stars, cosmic rays, PSF, zero point, depth.

    Parameters
    ----------
    image : Image
        Frame as read; already background-subtracted frames are welcome.
    config : PreprocessConfig, optional
        Settings.
    given_psf : PsfField, optional
        PSF to use instead of fitting one; no star is then needed.
    given_variance : NDArray[float32], shape (ny, nx), optional
        Variance to use instead of measuring it; pixels where it is not positive are masked.
    given_mask : NDArray[uint16], shape (ny, nx), optional
        Planes added to the frame's own mask.
    in_place : bool
        Whether to overwrite the pixels of ``image``, and to keep of the maps of the sky but one
        pixel of each box: half of the memory.

    Returns
    -------
    Preprocessed

    Raises
    ------
    AlgorithmError
        If the frame is too small, wholly masked or constant.

    Notes
    -----
    With fewer than 5 clean stars and no PSF given, ``image.psf`` and all that follows from it are
    None; a note and the metric ``n_psf_stars`` say so. Whoever needs the PSF raises
    ``missing_psf``.
    """
    settings = config or PreprocessConfig()
    notes: list[str] = []
    frame = with_masks(image, given_mask=given_mask, given_variance=given_variance)
    background = fit_background(frame, box=settings.box)
    gain = estimate_gain(frame, background)
    notes += _gain_notes(gain, given_variance)
    frame = subtract_sky(frame, background, in_place=in_place)
    if in_place:
        background = replace(background, level=thinned(background.level))
    frame = frame.with_(mask=mask_dead_pixels(frame.data, background.noise_map, mask=frame.mask))
    noise = background.noise_map if given_variance is None else known_noise(given_variance)
    crowd = _CONFUSION if float(background.sources.mean()) > _CROWDED else 0.0
    frame, core, n_cosmic_rays = _clean(
        frame, noise, settings=settings, given_psf=given_psf, confusion=crowd
    )
    frame, trails, pattern = _mask_trails(frame, core, background.noise, settings=settings)
    notes += [line.in_words() for line in (*trails, pattern) if line is not None]
    confusion = 0.0
    if given_variance is not None:
        frame = frame.with_(variance=known_variance(given_variance))
    else:
        frame, background, confusion = _with_variance(frame, background, core, gain=gain.gain)
    if in_place:
        thin_noise, thin_sources = thinned(background.noise_map), thinned(background.sources)
        background = replace(background, noise_map=thin_noise, sources=thin_sources)
    stars = find_stars(
        frame,
        fwhm_guess_pix=core.fwhm,
        psf=given_psf,
        threshold=settings.detection_sigma,
        confusion=confusion,
    )
    frame, stars, n_psf_stars = _with_psf(
        frame, stars, core, order=settings.psf_order, confusion=confusion, given=given_psf
    )
    notes += _psf_notes(frame.psf, n_psf_stars)
    zero_point = _zero_point(frame, stars, settings.catalog, notes)
    frame = frame.with_(zero_point=zero_point.value)
    metrics = _metrics(frame, stars, background, zero_point=zero_point)
    metrics |= {
        "n_psf_stars": n_psf_stars,
        "n_cosmic_rays": n_cosmic_rays,
        "n_trails": len(trails),
        "trails": describe_trails(trails),
        "confusion_noise": float(background.noise * np.sqrt(confusion / (1.0 - confusion))),
        "pattern_height": 0.0 if pattern is None else pattern.height / background.noise,
        **_gain_metrics(gain, given_variance),
    }
    return Preprocessed(frame, stars, background, metrics, tuple(notes))


def _psf_notes(psf: PsfField | None, n_stars: int) -> list[str]:
    if psf is None:
        return [f"no PSF: {n_stars} stars of {MIN_STARS}"]
    doubt = doubt_of_psf(psf)
    return [doubt] if doubt else []


def _gain_metrics(gain: GainEstimate, given_variance: FloatArray | None) -> dict[str, Metric]:
    """What the noise model rests on; a variance that was given needs no gain."""
    if given_variance is not None:
        gain = GainEstimate(gain.gain, "given_variance")
    told = (gain.gain, gain.factor, gain.doubt, gain.source)
    return dict(zip(("gain_used", "gain_factor", "gain_doubt", "gain_source"), told, strict=True))


def _gain_notes(gain: GainEstimate, given_variance: FloatArray | None) -> list[str]:
    """What the user should know about the noise model."""
    if given_variance is not None:
        return ["the variance was given, not measured"]
    if gain.doubt:
        return [gain.doubt]
    if gain.source == "photon_transfer":
        return [f"no gain in the header: {gain.gain:.3g} electrons per unit from the sky's noise"]
    if gain.source == "sky_only":
        return ["no gain in the header and no sky to measure it: sources have no photon noise"]
    return []


def _clean(
    frame: Image,
    noise: FloatArray,
    *,
    settings: PreprocessConfig,
    given_psf: PsfField | None,
    confusion: float,
) -> tuple[Image, Moffat, int]:
    """Mask cosmic rays; returns the frame, the rough PSF they were judged by, and their pixels."""
    if given_psf is not None:
        core = moffat_of_fwhm(given_psf.fwhm_pix)
    else:
        threshold = 2.0 * settings.detection_sigma
        core = _rough_core(frame, noise, threshold=threshold, confusion=confusion)
    if not settings.find_cosmic_rays:
        return frame, core, 0
    hits = find_cosmic_rays(
        frame.data, noise, bad=is_bad(frame.mask), psf=core, sigma=settings.cosmic_ray_sigma
    )
    mask = frame.mask.copy()
    mask.ravel()[hits] |= np.uint16(MaskPlane.COSMIC_RAY)
    return frame.with_(mask=mask), core, int(hits.size)


def _mask_trails(
    frame: Image, core: Moffat, noise: float, *, settings: PreprocessConfig
) -> tuple[Image, tuple[Trail, ...], Pattern | None]:
    """The frame with its satellite trails masked, what they are, and a background that repeats."""
    if not settings.find_trails:
        return frame, (), None
    lines = find_trails(frame.data, bad=is_bad(frame.mask), noise=noise, fwhm_pix=core.fwhm)
    trails, pattern = split_pattern(lines, fwhm_pix=core.fwhm)
    return frame.with_(mask=mask_trails(frame.mask, trails)), trails, pattern


def _with_variance(
    frame: Image, background: Background, core: Moffat, *, gain: float | None
) -> tuple[Image, Background, float]:
    """The frame with its measured variance, its sky less unresolved starlight, and that share."""
    rows = row_bands(frame.shape)
    bad, band = is_bad(frame.mask[rows]), background.at_rows(rows)
    confusion = measure_confusion(frame.data[rows], band, bad=bad, psf=core)
    background = background.without_confusion(confusion)
    variance = build_variance(frame.data, background, gain=gain, fwhm_pix=core.fwhm)
    return frame.with_(variance=variance), background, confusion


def _with_psf(
    frame: Image,
    stars: StarList,
    core: Moffat,
    *,
    order: int | None,
    confusion: float,
    given: PsfField | None,
) -> tuple[Image, StarList, int]:
    """The frame with the given PSF or the one fitted, its stars measured, and their number."""
    if given is not None:
        frame = frame.with_(psf=given)
        return frame, fit_star_fluxes(frame, stars), given.n_stars
    # the neighbours of crowded stars are taken off in a second round
    return _fit_psf(frame, stars, core, order=order, rounds=2 if confusion > 0.0 else 1)


def _fit_psf(
    frame: Image, stars: StarList, core: Moffat, *, order: int | None, rounds: int
) -> tuple[Image, StarList, int]:
    """PSF and PSF fluxes of a frame, and the stars they rest on; no PSF where these are too few.

    A frame without a PSF is still calibrated: its pixels can be looked at and compared.
    """
    n_stars = 0
    for _ in range(rounds):
        # a crowded field needs the neighbours' PSF fluxes to free the PSF stars of them
        try:
            psf = fit_psf(frame, stars, order=order, fwhm_guess_pix=core.fwhm)
        except AlgorithmError as error:
            if "n_required" not in error.numbers:
                raise
            return frame.with_(psf=None), stars, int(error.numbers["n_stars"] or 0)
        n_stars = psf.n_stars
        frame = frame.with_(psf=psf)
        stars = fit_star_fluxes(frame, stars)
    return frame, stars, n_stars


def _rough_core(frame: Image, noise: FloatArray, *, threshold: float, confusion: float) -> Moffat:
    """First width of the PSF; of a large frame its middle tells it, where that has the stars."""
    ny, nx = frame.shape
    side = _ROUGH_SIDE
    if min(ny, nx) > side:
        middle = np.s_[(ny - side) // 2 : (ny + side) // 2, (nx - side) // 2 : (nx + side) // 2]
        part = frame.with_(
            data=np.ascontiguousarray(frame.data[middle]),
            mask=np.ascontiguousarray(frame.mask[middle]),
            variance=np.square(noise[middle]),
            wcs=None,
        )
        stars = find_stars(part, threshold=threshold, confusion=confusion)
        if stars.is_star.sum() >= _ROUGH_STARS:
            return estimate_core(part, stars)
    whole = frame.with_(variance=np.square(noise))
    return estimate_core(whole, find_stars(whole, threshold=threshold, confusion=confusion))


def _zero_point(
    frame: Image, stars: StarList, catalog: CatalogStars | None, notes: list[str]
) -> ZeroPoint:
    """The catalogue's zero point where a catalogue is given, else the header's."""
    if catalog is None:
        found = header_zero_point(frame)
        if found.value is None:
            notes.append("no zero point in the header and no catalogue: fluxes have no magnitudes")
        return found
    return calibrate_zero_point(frame, stars, catalog)


def _metrics(
    frame: Image, stars: StarList, background: Background, *, zero_point: ZeroPoint
) -> dict[str, Metric]:
    """The scalars that describe a calibrated frame."""
    scale = pixel_scale_arcsec(frame.wcs)
    return {
        "sky_level": background.median,
        "sky_noise": background.noise,
        "pixel_scale_arcsec": scale,
        "n_sources": len(stars),
        "n_stars": int(stars.is_star.sum()),
        "masked_fraction": float(is_bad(frame.mask).mean()),
        "saturation": frame.saturation,
        "zero_point": zero_point.value,
        "zero_point_error": zero_point.error,
        "zero_point_source": zero_point.source,
        **_psf_metrics(frame.psf, background, scale=scale, zero_point=zero_point),
    }


def _psf_metrics(
    psf: PsfField | None, background: Background, *, scale: float | None, zero_point: ZeroPoint
) -> dict[str, Metric]:
    """Seeing, shape and depth; all None without a PSF."""
    names = ("fwhm_pix", "seeing_arcsec", "ellipticity", "limiting_flux_5sigma")
    if psf is None:
        return dict.fromkeys((*names, "limiting_magnitude"))
    ny, nx = psf.shape
    centre = psf.at((nx - 1) / 2.0, (ny - 1) / 2.0)[0]
    depth = measure_depth(psf, noise=background.noise, zero_point=zero_point.value)
    return {
        "fwhm_pix": psf.fwhm_pix,
        "seeing_arcsec": None if scale is None else psf.fwhm_pix * scale,
        "ellipticity": measure_ellipticity(centre, fwhm_pix=psf.fwhm_pix),
        "limiting_flux_5sigma": depth.flux_5sigma,
        "limiting_magnitude": depth.magnitude,
    }
