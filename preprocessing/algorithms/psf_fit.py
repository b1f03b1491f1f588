"""The PSF of a frame as a field, from its own stars."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane, is_bad
from astrid_site.imaging.moffat import Moffat, moffat_of_fwhm
from astrid_site.imaging.psf import PsfField, constant_psf, measure_fwhm, position_terms
from preprocessing.algorithms.moffat_fit import fit_moffat, neighbour_images
from preprocessing.algorithms.star_cutouts import (
    Cutouts,
    StarFit,
    cut,
    fit_flux_and_centre,
    shift_cutouts,
    soften,
)
from preprocessing.algorithms.stars import StarList, stellar_locus

Float64 = NDArray[np.float64]

MIN_STARS = 5
#: With fewer, a PSF is used and doubted.
RELIABLE_STARS = 10
_MIN_SNR = 15.0
_MAX_STARS = 400
_ROUNDS = 4
# stars that tell the width to a few per cent
_ROUGH_STARS = 60
# FWHM [relative] that the position in the frame may change
_WIDTH_SCATTER = 0.15
# logarithm of the change of a width that a linear fit tells
_MAX_STRETCH = 0.7
# stars that the order of the field needs
_ORDER_STARS = ((60, 2), (20, 1))


@dataclass(frozen=True)
class _State:
    """Stars in use, where their centres lie in their cutouts, and the PSF found so far."""

    cutouts: Cutouts
    dx: Float64
    dy: Float64
    core: Moffat
    residual: Float64
    terms: Float64
    fit: StarFit


def fit_psf(
    image: Image,
    stars: StarList,
    *,
    order: int | None = None,
    fwhm_guess_pix: float | None = None,
) -> PsfField:
    """Fit the PSF of a frame as a polynomial field of images.

    Parameters
    ----------
    image : Image
        Background-subtracted frame with variance and mask.
    stars : StarList
        Its sources; those with ``is_star`` and S/N > 15 are used, at most 400 spread evenly,
        and the flux of all other sources is taken out of their cutouts.
    order : int, optional
        Order of the polynomial in position; by the number of stars where absent (60 stars for
        second, 20 for first order).
    fwhm_guess_pix : float, optional
        First guess of the width [pix].

    Returns
    -------
    PsfField
        Unit-sum PSF images centred on their middle pixel.

    Raises
    ------
    ValueError
        If the image has no variance.
    AlgorithmError
        If fewer than 5 usable stars remain; carries ``n_stars`` and ``n_required``.

    Notes
    -----
    A Moffat common to all stars is fitted to their pixels where these are, without resampling;
    only the small residuals are moved to the pixel centre, stacked robustly with a polynomial in
    position, and shrunk towards zero where the stars do not determine them. An undersampled core
    is therefore not smeared by interpolation, and few faint stars do not put noise in the wings.

    References
    ----------
    .. [1] Bertin 2011, ASP Conf. 442, 435 (PSFEx: regularised pixels on a position polynomial).
    .. [2] Anderson & King 2000, PASP 112, 1360 (effective PSF; residual stacking).
    """
    if image.variance is None:
        msg = "image: fit_psf needs the variance"
        raise ValueError(msg)
    chosen = choose_psf_stars(image, stars)
    _require(chosen.size)
    fwhm = fwhm_guess_pix or 3.0
    chosen, state = _settle(image, stars, chosen=chosen, core=moffat_of_fwhm(fwhm))
    _require(chosen.size)
    chosen_order = _order(chosen.size) if order is None else order
    terms = position_terms(stars.x[chosen], stars.y[chosen], shape=image.shape, order=chosen_order)
    state = _with_terms(state, terms)
    for _ in range(_ROUNDS):
        state = _refine(state)
    return _to_field(state, order=chosen_order, shape=image.shape)


def estimate_core(image: Image, stars: StarList) -> Moffat:
    """Moffat common to the clean stars: a first width, good to a few per cent.

    Parameters
    ----------
    image : Image
        Background-subtracted frame with variance and mask.
    stars : StarList
        Its sources. With fewer than three clean ones a typical width of 3 pixels is taken, which
        matters to nothing but the search for the stars the PSF is then missing.

    Returns
    -------
    Moffat
    """
    chosen = choose_psf_stars(image, stars)[:_ROUGH_STARS]
    if chosen.size < 3:
        return moffat_of_fwhm(3.0)
    _, state = _settle(image, stars, chosen=chosen, core=moffat_of_fwhm(3.0))
    return state.core


def _settle(
    image: Image, stars: StarList, *, chosen: NDArray[np.intp], core: Moffat
) -> tuple[NDArray[np.intp], _State]:
    """Fit the common Moffat and drop what is no star, until the set of stars is stable."""
    half = cutout_half_width(core.fwhm, image.shape)
    state = _start(image, stars, chosen=chosen, half=half, core=core)
    for _ in range(4):
        kept = _drop_misfits(state.fit) & _has_common_width(state)
        wide = cutout_half_width(state.core.fwhm, image.shape)
        if kept.sum() < 3:
            return chosen[kept], _keep(state, kept)
        if kept.all() and wide == half:
            break
        chosen, half = chosen[kept], wide
        # all rounds again: after two, the cores of crowded frames are still too wide
        state = _start(image, stars, chosen=chosen, half=half, core=state.core)
    return chosen, state


def choose_psf_stars(image: Image, stars: StarList) -> NDArray[np.intp]:
    """Indices of the stars to fit: clean, S/N > 15, brightest first within an even spread."""
    usable = np.flatnonzero(stars.is_star & (stars.snr > _MIN_SNR))
    if usable.size <= _MAX_STARS:
        return usable
    ny, nx = image.shape
    cells = 8
    cell_x = np.clip((stars.x[usable] * cells / nx).astype(int), 0, cells - 1)
    cell_y = np.clip((stars.y[usable] * cells / ny).astype(int), 0, cells - 1)
    cell = cell_y * cells + cell_x
    # the list is brightest first: rank within the cell decides, then brightness
    rank = np.zeros(usable.size, dtype=int)
    for value in np.unique(cell):
        members = cell == value
        rank[members] = np.arange(members.sum())
    return usable[np.sort(np.argsort(rank, kind="stable")[:_MAX_STARS])]


def cutout_half_width(fwhm: float, shape: tuple[int, int]) -> int:
    """Half width of the PSF images [pix]: 4 FWHM, within 6 and 25 and a quarter of the frame."""
    return int(max(6, min(round(4.0 * fwhm), 25, min(shape) // 4)))


def _require(n_stars: int) -> None:
    """Refuse to make a PSF from fewer than five stars."""
    if n_stars < MIN_STARS:
        msg = f"too few clean stars for a PSF: {n_stars}, and {MIN_STARS} are needed"
        raise AlgorithmError(msg, n_stars=n_stars, n_required=MIN_STARS)


def missing_psf(n_stars: int | None) -> AlgorithmError:
    """The error of whoever needs a PSF that a frame does not have."""
    counted = "fewer stars than the" if n_stars is None else f"{n_stars} stars of"
    msg = f"the PSF could not be measured: {counted} {MIN_STARS} needed; nothing can be subtracted"
    return AlgorithmError(msg, n_stars=n_stars, n_required=MIN_STARS)


def doubt_of_psf(psf: PsfField | None) -> str:
    """What is to be said of a PSF of too few stars to rely upon; empty for others, given ones too.

    From the five that fix a Moffat to the ten that make it certain, one blend or variable among
    them is enough to bend it.
    """
    if psf is None or not 0 < psf.n_stars < RELIABLE_STARS:
        return ""
    return f"the PSF rests on {psf.n_stars} stars; {RELIABLE_STARS} make one to rely upon"


def _order(n_stars: int) -> int:
    """Order of the position polynomial that a number of stars can carry."""
    for needed, order in _ORDER_STARS:
        if n_stars >= needed:
            return order
    return 0


def _start(
    image: Image, stars: StarList, *, chosen: NDArray[np.intp], half: int, core: Moffat
) -> _State:
    """Cut the stars out, free them of their neighbours and fit the common Moffat."""
    bad = is_bad(image.mask) | is_bad(image.mask, MaskPlane.STAR_HALO)
    variance = np.asarray(image.variance, dtype=np.float32)
    x, y = stars.x[chosen], stars.y[chosen]
    raw = cut(image.data, variance, bad=bad, x=x, y=y, half=half)
    dx, dy = x - raw.column, y - raw.row
    cutouts = raw
    for _ in range(3):
        core = fit_moffat(cutouts, dx, dy, core=core)
        neighbours = neighbour_images(raw, stars, chosen=chosen, core=core)
        cutouts = Cutouts(
            np.where(raw.weight > 0, raw.data - neighbours, 0.0), raw.weight, raw.column, raw.row
        )
        fit = fit_flux_and_centre(cutouts, core.cutouts(dx, dy, half=half), model_error=0.03)
        dx, dy = dx + fit.step_x, dy + fit.step_y
    size = 2 * half + 1
    terms = np.ones((chosen.size, 1))
    fit = fit_flux_and_centre(cutouts, core.cutouts(dx, dy, half=half), model_error=0.03)
    return _State(cutouts, dx, dy, core, np.zeros((1, size, size)), terms, fit)


def _drop_misfits(fit: StarFit) -> NDArray[np.bool_]:
    """Stars that the common profile fits as well as it fits most: galaxies and blends go."""
    good = np.isfinite(fit.flux_error) & (fit.flux > _MIN_SNR * 0.5 * fit.flux_error)
    if not good.any():
        return good
    chi2 = np.log(np.maximum(fit.reduced_chi2, 1e-6))
    centre = float(np.median(chi2[good]))
    spread = 1.4826 * float(np.median(np.abs(chi2[good] - centre)))
    # brighter stars feel the error of the model more: their chi2 is judged with more slack
    limit = centre + 4.0 * max(spread, 0.15)
    kept: NDArray[np.bool_] = good & (chi2 < limit)
    return kept


def _has_common_width(state: _State) -> NDArray[np.bool_]:
    """Stars as wide as the sharpest numerous sources: galaxies that outnumber them go.

    The width of each star is that of the common Moffat stretched by the linear fit of its
    derivative; it is several times more precise than a half-light radius.
    """
    core, half = state.core, state.cutouts.half
    model = core.cutouts(state.dx, state.dy, half=half)
    wider = replace(core, width=core.width * 1.05).cutouts(state.dx, state.dy, half=half)
    flux = np.maximum(state.fit.flux, 1e-30)[:, None, None]
    slope = flux * (wider - model) / np.log(1.05)
    # the flux is refitted together with the width, for the two are anticorrelated
    weight = soften(state.cutouts.weight, 0.03 * flux * model)
    left = state.cutouts.data - flux * model
    along = (slope * model * weight).sum(axis=(1, 2)) / _positive(model**2 * weight)
    slope = slope - along[:, None, None] * model
    power = _positive(slope**2 * weight)
    stretch = np.clip((slope * left * weight).sum(axis=(1, 2)) / power, -_MAX_STRETCH, _MAX_STRETCH)
    width = core.fwhm * np.exp(stretch)
    # beyond the reach of the linear fit all have one width, which is no locus
    sure = (1.0 / np.sqrt(power) < 0.05) & (np.abs(stretch) < _MAX_STRETCH)
    centre = stellar_locus(width[sure] if sure.sum() >= MIN_STARS else width)
    tolerance = np.hypot(_WIDTH_SCATTER, 3.0 / np.sqrt(power))
    common: NDArray[np.bool_] = np.abs(np.log(width / centre)) < tolerance
    return common


def _positive(values: Float64) -> Float64:
    """Sums over cutouts, kept above zero so that they can divide."""
    return np.asarray(np.maximum(values.sum(axis=(1, 2)), 1e-30), dtype=np.float64)


def _keep(state: _State, kept: NDArray[np.bool_]) -> _State:
    """The state with some stars left out."""
    old, fit = state.cutouts, state.fit
    cutouts = Cutouts(old.data[kept], old.weight[kept], old.column[kept], old.row[kept])
    columns = (fit.flux, fit.flux_error, fit.step_x, fit.step_y, fit.reduced_chi2)
    reduced = StarFit(*(column[kept] for column in columns))
    return _State(
        cutouts, state.dx[kept], state.dy[kept], state.core, state.residual, state.terms, reduced
    )


def _with_terms(state: _State, terms: Float64) -> _State:
    """The state with its position polynomial set up and no residual yet."""
    size = state.cutouts.data.shape[-1]
    empty = np.zeros((terms.shape[1], size, size))
    return _State(state.cutouts, state.dx, state.dy, state.core, empty, terms, state.fit)


def _field_at(state: _State) -> Float64:
    """The residual field at every star, centred."""
    return np.tensordot(state.terms, state.residual, axes=1)


def _model(state: _State) -> Float64:
    """Unit-flux images of the stars at their centres: Moffat plus the moved residual field."""
    analytic = state.core.cutouts(state.dx, state.dy, half=state.cutouts.half)
    field = _field_at(state)
    return analytic + shift_cutouts(field, state.dx, state.dy)


def _refine(state: _State) -> _State:
    """Refit fluxes and centres with the present PSF, then the residual field from the stars."""
    fit = fit_flux_and_centre(state.cutouts, _model(state), model_error=0.01)
    # a step is trusted only as far as the linear model reaches
    dx = state.dx + np.clip(fit.step_x, -0.2, 0.2)
    dy = state.dy + np.clip(fit.step_y, -0.2, 0.2)
    moved = _State(state.cutouts, dx, dy, state.core, state.residual, state.terms, fit)
    residual = _solve_residual(moved)
    return _State(state.cutouts, dx, dy, state.core, residual, state.terms, fit)


def _solve_residual(state: _State) -> Float64:
    """Residual field: per pixel a weighted, clipped, shrunk polynomial of position."""
    fit, cutouts = state.fit, state.cutouts
    model = _model(state)
    flux = np.maximum(fit.flux, 1e-30)[:, None, None]
    field = _field_at(state)
    left = np.where(cutouts.weight > 0, cutouts.data / flux - model, 0.0)
    samples = shift_cutouts(left, -state.dx, -state.dy) + field
    centred = state.core.cutouts(np.zeros(1), np.zeros(1), half=cutouts.half)[0]
    # 3 % of the profile: what centring, neighbours and the interpolation leave uncertain
    weight = soften(cutouts.weight * flux**2, 0.03 * centred[None])
    n, size, _ = samples.shape
    values, weights = samples.reshape(n, -1), weight.reshape(n, -1)
    prior = (0.3 * centred + 0.002 * centred.max()).ravel()
    solution = np.zeros((state.terms.shape[1], size * size))
    used = weights
    for _ in range(3):
        solution = _weighted_polynomial(values, used, terms=state.terms, prior=prior)
        pulls = (values - state.terms @ solution) * np.sqrt(weights)
        used = np.where(np.abs(pulls) < 4.0, weights, 0.0)
    return solution.reshape(-1, size, size)


def _weighted_polynomial(
    values: Float64, weights: Float64, *, terms: Float64, prior: Float64
) -> Float64:
    """Coefficients (k, pixels) of a polynomial per pixel, each with prior N(0, prior^2)."""
    k = terms.shape[1]
    products = (terms[:, :, None] * terms[:, None, :]).reshape(len(terms), k * k)
    normal = (weights.T @ products).reshape(-1, k, k)
    right = (weights * values).T @ terms
    # position dependence is expected to be a few times smaller than the mean residual
    shrink = np.ones(k)
    shrink[1:] = 9.0
    normal += np.eye(k)[None] * shrink[None, :, None] / prior[:, None, None] ** 2
    return np.asarray(np.linalg.solve(normal, right[..., None])[..., 0].T, dtype=np.float64)


def _to_field(state: _State, *, order: int, shape: tuple[int, int]) -> PsfField:
    """The PSF field of the final state, of unit sum at the centre of the polynomial."""
    coefficients = state.residual.copy()
    coefficients[0] += state.core.cutouts(np.zeros(1), np.zeros(1), half=state.cutouts.half)[0]
    total = coefficients[0].sum()
    if not np.isfinite(total) or total <= 0:
        msg = "the stars do not make a PSF: their sum is not positive"
        raise AlgorithmError(msg, n_stars=len(state.dx), psf_sum=float(total))
    images = np.asarray(coefficients / total, dtype=np.float32)
    if order == 0:
        return constant_psf(images[0], shape=shape, n_stars=len(state.dx))
    probe = PsfField(images, order, shape, 0.0, len(state.dx))
    centre = probe.at((shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0)[0]
    return PsfField(images, order, shape, measure_fwhm(centre), len(state.dx))
