"""One position through a series of frames: the reference, the differences, the forced fluxes.

The frames need no world coordinates: their stars register them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import sep
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from astrid_site.imaging.errors import AlgorithmError, NoWorkError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskArray, MaskPlane, is_bad
from astrid_site.imaging.photometry import forced_photometry, measure_noise_scale
from differencing.algorithms.epoch_choice import ChoiceRule, Epoch, select_epochs
from differencing.algorithms.reference import coadd, measure_coadd
from differencing.algorithms.subtract import Subtraction, SubtractionConfig, subtract
from preprocessing.algorithms.preprocess import Preprocessed
from preprocessing.algorithms.psf_fit import missing_psf
from preprocessing.algorithms.registration import Registration, register
from preprocessing.algorithms.warp import warp

FloatArray = NDArray[np.float32]

#: Least share of the common frame that an epoch of the reference must cover.
MIN_OVERLAP = 0.85
#: Box of the local sky of a difference [FWHM] and its least width [pix].
_SKY_BOX_FWHM, _SKY_BOX_PIX = 8.0, 32
_SOURCE_SIGMA = 5.0
_MAX_STEPS = 50
_STEP_PIX = 1e-6


@dataclass(frozen=True)
class Position:
    """A place on a pixel grid [pix], 0-based pixel centres."""

    x: float
    y: float


@dataclass(frozen=True)
class NamedFrame:
    """A calibrated frame and the name by which the user knows it."""

    name: str
    frame: Preprocessed


@dataclass(frozen=True)
class SeriesReference:
    """The image that is subtracted from every frame.

    Attributes
    ----------
    frame : Preprocessed
        On the grid and the flux scale of its best epoch.
    names : tuple of str
        The epochs in it, best first.
    coverage : NDArray[uint16], shape (ny, nx)
        Epochs in each pixel.
    n_clipped : int
        Pixels of single epochs rejected as outliers.
    notes : tuple of str
        Chosen epochs that were left out, and why.
    """

    frame: Preprocessed
    names: tuple[str, ...]
    coverage: NDArray[np.uint16]
    n_clipped: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class EpochDifference:
    """One frame of the series minus the reference, on the frame's own grid."""

    registration: Registration
    template: Image
    subtraction: Subtraction

    @cached_property
    def flat(self) -> FlatDifference:
        """What is measured, made once for all positions."""
        made = self.subtraction
        data, blank = flatten(made)
        scale = measure_noise_scale(data, made.variance, made.psf, mask=blank)
        return FlatDifference(data, scale)


@dataclass(frozen=True)
class FlatDifference:
    """A difference without its smooth sky; the scatter of its blank fluxes over their errors."""

    data: FloatArray
    noise_scale: float


@dataclass(frozen=True)
class ForcedEpoch:
    """What one frame says about the position.

    Attributes
    ----------
    position : Position
        Where it lies on this frame.
    flux, flux_error : float
        Difference flux and its error, on the flux scale of the reference; NaN where masked. The
        error holds that of the flux ratio.
    flux_ratio, flux_ratio_error : float
        Frame over reference flux of their stars, by which they were divided, and its error.
    chi2 : float
        Mean squared residual of the PSF fit in units of the variance; NaN where masked.
    noise_scale : float
        Scatter of the same measurement on blank positions, in units of its formal error.
    flags : int
        ``MaskPlane`` bits of the 5x5 pixels around the position.
    """

    position: Position
    flux: float
    flux_error: float
    flux_ratio: float
    flux_ratio_error: float
    chi2: float
    noise_scale: float
    flags: int

    @property
    def noise(self) -> float:
        """The part of the error that is there without a source, which sets the limit."""
        of_scale = self.flux * self.flux_ratio_error / self.flux_ratio
        return float(np.sqrt(max(self.flux_error**2 - of_scale**2, 0.0)))


def rate_epoch(candidate: NamedFrame, common: Preprocessed) -> Epoch:
    """A frame as an epoch of the reference, its noise on the flux scale of a common frame.

    Raises
    ------
    AlgorithmError
        If the frame has no PSF, does not match the common frame, or no star tells the flux ratio.
    NoWorkError
        If it covers less than 85 % of the common frame.
    """
    frame = candidate.frame
    if frame.image.psf is None:
        raise missing_psf(count_psf_stars(frame))
    found = register(frame.image, frame.stars, common.image, science_stars=common.stars)
    ratio, _ = _star_ratio(found)
    if found.overlap < MIN_OVERLAP:
        msg = f"it covers {found.overlap:.0%} of the common frame, {MIN_OVERLAP:.0%} needed"
        raise NoWorkError(msg, overlap=found.overlap, overlap_required=MIN_OVERLAP)
    return Epoch(
        key=candidate.name,
        fwhm_pix=frame.image.psf.fwhm_pix,
        sky_noise=_unevenness(frame) * ratio,
    )


def _unevenness(frame: Preprocessed) -> float:
    """Sky noise with the unresolved starlight, which cancels only as well as the PSFs match."""
    starlight = frame.metrics["confusion_noise"]
    return float(np.hypot(frame.background.noise, starlight if isinstance(starlight, float) else 0))


def count_psf_stars(frame: Preprocessed) -> int:
    """Stars that the PSF of a frame rests on."""
    counted = frame.metrics["n_psf_stars"]
    return counted if isinstance(counted, int) else 0


def choose_epochs(epochs: Sequence[Epoch], *, max_epochs: int) -> tuple[str, ...]:
    """Names of the epochs whose stack has the least predicted noise, best first.

    A light curve looks back and forth: every epoch may serve, whenever it was taken.

    Raises
    ------
    NoWorkError
        If there is none.
    """
    return select_epochs(epochs, rule=ChoiceRule(max_epochs=max_epochs)).keys


def build_series_reference(best: NamedFrame, others: Iterable[NamedFrame]) -> SeriesReference:
    """Stack frames on the grid and the flux scale of the best one.

    Parameters
    ----------
    best : NamedFrame
        The epoch that gives grid and flux scale.
    others : iterable of NamedFrame
        Further epochs; consumed one at a time. Those that do not match are left out and named.

    Returns
    -------
    SeriesReference
        The best frame itself where nothing is stacked on it.
    """
    names, images, notes = [best.name], [best.frame.image], []
    noises = [best.frame.background.noise]
    for other in others:
        try:
            image, ratio = _on_grid_of(best.frame, other.frame)
        except AlgorithmError as error:
            notes.append(f"{other.name} left out: {error.message}")
        else:
            names.append(other.name)
            images.append(image)
            noises.append(other.frame.background.noise * ratio)
    if len(images) == 1:
        ones = np.ones(best.frame.image.shape, np.uint16)
        return SeriesReference(best.frame, (best.name,), ones, 0, tuple(notes))
    # nothing is clipped: cosmic rays are masked in each frame, any constant zero level serves, and
    # where a variable or a sharper epoch were left out its neighbours would get another PSF
    stacked = coadd(images, sky_noises=noises, clip_sigma=1e9)
    frame, remarks = measure_coadd(stacked.image)
    # the stack lies on the best epoch's grid, whose stars are the less blended ones
    frame = replace(frame, stars=best.frame.stars)
    return SeriesReference(
        frame=frame,
        names=tuple(names),
        coverage=stacked.coverage,
        n_clipped=stacked.n_clipped,
        notes=(*notes, *remarks),
    )


def _on_grid_of(best: Preprocessed, other: Preprocessed) -> tuple[Image, float]:
    """A frame warped to the grid of another and brought to its flux scale; the factor to it."""
    found = register(other.image, other.stars, best.image, science_stars=best.stars)
    ratio, _ = _star_ratio(found)
    warped = warp(other.image, found, shape=best.image.shape)
    factor = np.float32(ratio)
    variance = None if warped.variance is None else warped.variance * factor**2
    return warped.with_(data=warped.data * factor, variance=variance), ratio


def subtract_reference(
    reference: Preprocessed, science: Preprocessed, *, config: SubtractionConfig | None = None
) -> EpochDifference:
    """Register one frame on the reference and subtract.

    Raises
    ------
    NoWorkError
        If they hardly overlap.
    AlgorithmError
        If the frame has no PSF, or the two do not match.
    """
    if science.image.psf is None:
        raise missing_psf(count_psf_stars(science))
    registration = register(
        reference.image, reference.stars, science.image, science_stars=science.stars
    )
    template = warp(reference.image, registration, shape=science.image.shape)
    # one method for the whole curve: two would each have their own small bias
    settings = config or SubtractionConfig(method="kernel")
    subtraction = subtract(template, science.image, stars=science.stars, config=settings)
    return EpochDifference(registration, template, subtraction)


def force_flux(difference: EpochDifference, target: Position) -> ForcedEpoch:
    """Measure the difference flux at a position of the reference.

    Parameters
    ----------
    difference : EpochDifference
        Frame minus reference.
    target : Position
        Place on the reference's grid.

    Returns
    -------
    ForcedEpoch
        On the flux scale of the reference.

    Raises
    ------
    NoWorkError
        If the position is not on the frame; carries ``x`` and ``y``.
    AlgorithmError
        If no star tells the ratio of the fluxes.

    Notes
    -----
    A smooth sky is taken out of the difference first: in a crowded field the sky of a frame
    follows its unresolved stars, which change with the seeing. The error is that of the
    pixels, times the scatter of the same measurement on blank positions. The scale is that of the
    matched stars: the sum of a kernel is held by the wings of a few stars alone, and is off by
    some percent where their cores match to a tenth of one. In crowds it is the ratio of all light
    to a percent, but a frame's PSF holds more or less of its stars' wings, and only the stars tell
    how much: there seven pairs of frames half an hour apart differ by 1.0 of their errors on the
    scale of the stars, by 7.4 on that of the kernel's sum.
    """
    made = difference.subtraction
    here = to_science(difference.registration, target)
    ny, nx = made.difference.shape
    if not (-0.5 <= here.x <= nx - 0.5 and -0.5 <= here.y <= ny - 0.5):
        msg = f"the position is not on the frame: it falls on ({here.x:.1f}, {here.y:.1f})"
        raise NoWorkError(msg, x=here.x, y=here.y)
    ratio, ratio_error = _star_ratio(difference.registration)
    flat = difference.flat
    found = forced_photometry(
        flat.data, made.variance, made.psf, made.mask, here.x, here.y, noise_scale=flat.noise_scale
    )
    nan = float("nan")
    flux, error, chi2 = (found.flux, found.flux_error, found.chi2) if found else (nan, nan, nan)
    return ForcedEpoch(
        position=here,
        flux=flux / ratio,
        flux_error=float(np.hypot(error, flux * ratio_error / ratio)) / ratio,
        flux_ratio=ratio,
        flux_ratio_error=ratio_error,
        chi2=chi2,
        noise_scale=flat.noise_scale,
        flags=found.flags if found else int(made.mask[round(here.y), round(here.x)]),
    )


def _star_ratio(registration: Registration) -> tuple[float, float]:
    """Frame over reference flux of the matched stars, and its error."""
    ratio, error = registration.flux_ratio, registration.flux_ratio_error
    if not ratio or error is None:
        msg = "no star in common tells the ratio of the fluxes"
        raise AlgorithmError(msg, n_matched=registration.n_matched)
    return ratio, error


def to_science(registration: Registration, target: Position) -> Position:
    """Position on the science frame of a position on the reference.

    Raises
    ------
    NoWorkError
        If no position on or near the frame maps there.
    """
    x, y = target.x, target.y
    for _ in range(_MAX_STEPS):
        there = registration.to_reference(np.array([x, x + 1, x]), np.array([y, y, y + 1]))
        at = np.array([there[0][0], there[1][0]])
        jacobian = np.array([[c[1] - c[0], c[2] - c[0]] for c in there])
        step = np.linalg.solve(jacobian, np.array([target.x, target.y]) - at)
        x, y = x + float(step[0]), y + float(step[1])
        if np.abs(step).max() < _STEP_PIX:
            return Position(x, y)
    msg = f"no position of the frame maps to ({target.x:.1f}, {target.y:.1f}) of the reference"
    raise NoWorkError(msg, x=target.x, y=target.y)


def flatten(made: Subtraction) -> tuple[FloatArray, MaskArray]:
    """A difference without its smooth sky, and its mask with everything that changed added.

    Returns
    -------
    tuple of NDArray[float32], NDArray[uint16], shape (ny, nx)
    """
    reach = 2 * round(made.psf.fwhm_pix) + 1
    changed = maximum_filter(np.abs(made.score) > _SOURCE_SIGMA, size=reach)
    box = max(_SKY_BOX_PIX, round(_SKY_BOX_FWHM * made.psf.fwhm_pix))
    sky = sep.Background(
        np.ascontiguousarray(made.difference),
        mask=np.ascontiguousarray(is_bad(made.mask) | changed),
        bw=box,
        bh=box,
        fw=3,
        fh=3,
    )
    blank = made.mask | np.where(changed, np.uint16(MaskPlane.USER), np.uint16(0))
    return made.difference - sky.back(dtype=np.float32), blank.astype(np.uint16)
