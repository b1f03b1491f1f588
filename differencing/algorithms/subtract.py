"""Image differencing: science minus template, whitened, with its score image and a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from astrid_site.imaging.image import Image
from astrid_site.imaging.inspection import grid_positions
from astrid_site.imaging.masks import BoolArray, MaskArray, MaskPlane
from differencing.algorithms import quality
from differencing.algorithms.alard_lupton import fit_gaussian_kernel
from differencing.algorithms.cross_planes import cross_planes
from differencing.algorithms.direction import Choice, choose_direction, is_undersampled
from differencing.algorithms.expected_kernel import expected_kernel
from differencing.algorithms.fourier import to_tensor
from differencing.algorithms.frame_background import subtract_background
from differencing.algorithms.halo_error import add_halo_error, measure_halo_error
from differencing.algorithms.kernel_equations import StampPlanes
from differencing.algorithms.kernel_filters import KernelMatching
from differencing.algorithms.pair import Pair, prepare_pair
from differencing.algorithms.photons import measure_photon_slope, new_source_variance
from differencing.algorithms.psf_matching import KernelField, fit_kernel
from differencing.algorithms.retry import subtract_in_turn
from differencing.algorithms.score import (
    RESCALE_RANGE,
    blank_sky,
    make_score,
    measure_noise,
    measure_score,
    robust_width,
    sample_bands,
    scaled_variance,
)
from differencing.algorithms.stamps import StarPositions, select_stars
from differencing.algorithms.subtraction import (
    FloatArray,
    Method,
    Metric,
    Stars,
    Subtraction,
    SubtractionConfig,
)
from differencing.algorithms.tiles import Matching, filter_pair
from differencing.algorithms.whitening import measure_colour, whiten
from differencing.algorithms.zogy import ZogyMatching, match_fluxes

__all__ = ["Subtraction", "SubtractionConfig", "subtract"]


@dataclass(frozen=True)
class _Matched:
    """A matching ready to be applied, and how it came about."""

    matching: Matching
    method: str
    reason: str
    metrics: dict[str, Metric]


def subtract(
    template: Image,
    science: Image,
    *,
    stars: Stars,
    config: SubtractionConfig | None = None,
    in_place: bool = False,
) -> Subtraction:
    """Subtract a template from a science image.

    Parameters
    ----------
    template : Image
        Reference warped to the science grid, background-subtracted, with variance and PSF.
    science : Image
        Background-subtracted, with variance and PSF.
    stars : Stars
        Sources of the science image, in its pixels.
    config : SubtractionConfig, optional
        Parameters.
    in_place : bool
        Whether masked pixels of both images may be overwritten, which saves copies of the frames.

    Returns
    -------
    Subtraction
        Difference, variance, score, mask, PSF, metrics and verdict.

    Raises
    ------
    ValueError
        If shapes differ, or a variance or PSF is missing.
    NoWorkError
        If fewer than 5 % of the pixels are usable in both images; carries ``coverage``.
    AlgorithmError
        If the images cannot be matched; carries ``n_stars`` and ``n_required``.

    Notes
    -----
    With ``method="auto"`` the kernel is used, whose model of the PSF difference is free; ZOGY
    where too few stars constrain a kernel, or where the kernel leaves too much of the bright
    stars and ZOGY less; the classic kernel of Gaussians where both fail. A method asked for by
    name is the only one tried.
    """
    config = config or SubtractionConfig()
    pair = prepare_pair(template, science, halo_growth=config.halo_growth, in_place=in_place)

    def make(method: Method) -> Subtraction:
        if method == "zogy":
            why = "asked for" if config.method == method else "it needs no kernel"
            matched = _match_zogy(pair, stars, config, why)
        else:
            matched = _match_kernel(pair, stars, config, is_classic=method == "alard_lupton")
        return _difference(pair, matched, stars, config)

    return subtract_in_turn(make) if config.method == "auto" else make(config.method)


def _match_kernel(
    pair: Pair, stars: Stars, config: SubtractionConfig, *, is_classic: bool = False
) -> _Matched:
    """Choose the direction and fit the kernel, of free pixels or of Gaussians."""
    choice = choose_direction(
        pair.science_psf,
        pair.template_psf,
        is_resampled=pair.template_correlation is not None,
        lacks_frequencies=pair.lacks_frequencies,
    )
    if config.direction != "auto":
        choice = Choice(config.direction, "asked for")
    half_width = config.kernel_half_width or _kernel_half_width(pair, choice)
    stamp_half_width = _stamp_half_width(pair)
    positions = select_stars(
        stars,
        pair.bad,
        half_width=stamp_half_width,
        max_stars=config.max_stars,
        edges="cut",
    )
    fit = fit_gaussian_kernel if is_classic else fit_kernel
    kernel = fit(
        _stamp_planes(pair, choice.direction, positions, config),
        positions,
        kernel_half_width=half_width,
        stamp_half_width=stamp_half_width,
        spatial_order=config.spatial_order,
        max_spatial_order=config.max_spatial_order,
        min_stars=config.min_stars,
        expected=expected_kernel(
            pair.science_psf,
            pair.template_psf,
            direction=choice.direction,
            half_width=half_width,
            order=_highest_order(config),
        ),
    )
    matching = KernelMatching(
        kernel=kernel,
        direction=choice.direction,
        science_psf=pair.science_psf,
        template_psf=pair.template_psf,
        device=config.device,
    )
    method = "alard_lupton" if is_classic else f"kernel/{choice.direction}"
    return _Matched(matching, method, choice.reason, _kernel_metrics(kernel, choice))


def _highest_order(config: SubtractionConfig) -> int:
    return config.max_spatial_order if config.spatial_order is None else config.spatial_order


def _kernel_metrics(kernel: KernelField, choice: Choice) -> dict[str, Metric]:
    total = float(kernel.term_sums[0])
    return {
        "flux_ratio": 1.0 / total if choice.direction == "science" else total,
        "n_kernel_stars": kernel.n_stars,
        "n_rejected_stars": kernel.n_rejected,
        "kernel_direction": choice.direction,
        "kernel_order": kernel.order,
        "kernel_strength": kernel.strength,
        "kernel_half_width": int(kernel.coefficients.shape[-1] // 2),
        "kernel_chi2": kernel.chi2,
    }


def _kernel_half_width(pair: Pair, choice: Choice) -> int:
    """Wide enough for the skirt of the broader PSF; of both, unwhitened, where both convolve."""
    broad = max(pair.science_psf.fwhm_pix, pair.template_psf.fwhm_pix)
    if choice.direction == "cross" and is_undersampled(pair.science_psf, pair.template_psf):
        return int(np.clip(math.ceil(3.6 * broad), 6, 9))
    return int(np.clip(math.ceil(2.2 * broad), 5, 9))


def _stamp_half_width(pair: Pair) -> int:
    broad = max(pair.science_psf.fwhm_pix, pair.template_psf.fwhm_pix)
    return int(np.clip(round(3.6 * broad), 10, 16))


def _stamp_planes(
    pair: Pair, direction: str, positions: StarPositions, config: SubtractionConfig
) -> StampPlanes:
    """The planes between which the kernel is fitted, the roles given by the direction."""
    science = (pair.science, pair.science_variance)
    template = (pair.template, pair.template_variance)
    correlation = pair.template_correlation if direction == "template" else None
    if direction == "cross":
        science, template, correlation = cross_planes(pair, positions)
    fixed, moving = (template, science) if direction == "science" else (science, template)
    device = config.device
    return StampPlanes(
        fixed=to_tensor(fixed[0], device),
        moving=to_tensor(moving[0], device),
        fixed_variance=to_tensor(fixed[1], device),
        moving_variance=to_tensor(moving[1], device),
        bad=torch.from_numpy(pair.bad).to(device),
        threads=config.threads,
        moving_correlation=correlation,
    )


def _match_zogy(pair: Pair, stars: Stars, config: SubtractionConfig, reason: str) -> _Matched:
    """ZOGY with the two measured PSFs and the flux ratio of the stars."""
    ratio = match_fluxes(pair, stars, max_stars=config.max_stars)
    matching = ZogyMatching(
        flux_ratio=ratio.value,
        science_psf=pair.science_psf,
        template_psf=pair.template_psf,
        device=config.device,
    )
    metrics: dict[str, Metric] = {"flux_ratio": ratio.value, "n_flux_stars": ratio.n_stars}
    return _Matched(matching, "zogy", reason, metrics)


def _difference(
    pair: Pair, matched: _Matched, stars: Stars, config: SubtractionConfig
) -> Subtraction:
    """Filter, measure the noise and the residuals, and judge."""
    with torch.no_grad():
        filtered = filter_pair(pair, matched.matching, device=config.device, threads=config.threads)
    blank = blank_sky(filtered)
    filtered, level = subtract_background(filtered, blank, order=config.background_order)
    noise = propagated = measure_noise(filtered, blank)
    colour = measure_colour(filtered, blank)
    # a difference without the noise it should have (one frame twice) has no colour to remove, and
    # the filters know that of a template from coarser pixels
    is_believable = RESCALE_RANGE[0] <= propagated.pull_width <= RESCALE_RANGE[1]
    if is_believable and not colour.is_white and not pair.lacks_frequencies:
        filtered = whiten(filtered, colour)
        noise = measure_noise(filtered, blank)
    residuals = quality.measure_residuals(filtered, stars)
    error = quality.estimate_model_error(residuals)
    halo = measure_halo_error(filtered, stars)
    filtered = add_halo_error(filtered, stars, halo)
    own = measure_photon_slope(pair) * new_source_variance(pair.science_psf, filtered.psf)
    score = make_score(filtered, error=error, noise=noise, own_variance=own, in_place=True)
    bands = sample_bands(blank.shape)
    metrics: dict[str, Metric] = {
        **matched.metrics,
        **quality.residual_metrics(residuals, error),
        "stars_left": quality.measure_stars_left(filtered, stars),
        **quality.noise_metrics(noise, propagated),
        **quality.score_metrics(measure_score(score, filtered.bad)),
        "pull_width": robust_width(score[bands][blank[bands]]) if noise.n_blank else None,
        "background_level": level.rms,
        "background_left": level.left,
        "halo_error": float(halo.share.max()),
        "coverage": 1.0 - float(filtered.bad.mean()),
        "difference_fwhm_pix": filtered.psf.fwhm_pix,
    }
    verdict, reasons = quality.judge(metrics)
    difference, bad, psf = filtered.difference, filtered.bad, filtered.psf
    variance = scaled_variance(filtered, error=error, noise=noise)
    # its other planes have done their work
    del filtered
    return Subtraction(
        difference=difference,
        variance=variance,
        score=score,
        mask=_final_mask(pair, bad),
        psf=psf,
        method=matched.method,
        method_reason=matched.reason,
        metrics=metrics,
        quality=verdict,
        quality_reasons=reasons,
        kernel_stamps=_kernel_stamps(matched.matching, pair.shape),
    )


def _kernel_stamps(matching: Matching, shape: tuple[int, int]) -> FloatArray | None:
    """The fitted kernel at nine places, for people to look at."""
    if not isinstance(matching, KernelMatching):
        return None
    return matching.kernel.at(*grid_positions(shape))


def _final_mask(pair: Pair, given_up: BoolArray) -> MaskArray:
    """Both masks, with the pixels that the filters gave up marked as interpolated."""
    spoilt = given_up & ~pair.bad
    mask = pair.mask.copy()
    mask[spoilt] |= np.uint16(MaskPlane.INTERPOLATED)
    return mask
