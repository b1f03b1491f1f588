"""Triplets of candidates that the pipeline itself finds, on simulated skies and on real null pairs.

A null pair is two real frames so close in time that nothing changes: what is found there is bogus,
and what is put in beforehand is real.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import UNUSABLE, MaskPlane, is_bad
from astrid_site.imaging.photometry import shift_psf
from astrid_site.imaging.psf import PsfField
from astrid_site.imaging.sky_detector import Camera
from astrid_site.imaging.sky_pair import PairConfig, simulate_pair
from detection.algorithms.candidates import Candidates, find_candidates
from detection.algorithms.triplets import cut_triplets
from detection.training.triplet_samples import TripletSamples
from differencing.algorithms.subtract import subtract
from differencing.algorithms.subtraction import SubtractionConfig
from preprocessing.algorithms.preprocess import PreprocessConfig, Preprocessed, preprocess_image
from preprocessing.algorithms.registration import register
from preprocessing.algorithms.warp import warp

Values = NDArray[np.float64]

#: Candidates are collected below the detection threshold [sigma].
THRESHOLD = 4.5
_SAME_FWHM, _UNCLEAR_FWHM = 0.8, 2.5
#: So many bogus at most from one pair, drawn at random: a failed subtraction must not outvote.
_MAX_BOGUS = 120
_MIN_TRUE_SNR = 3.0


@dataclass(frozen=True)
class Night:
    """How one simulated pair was taken and treated.

    Attributes
    ----------
    pair : PairConfig
        The two exposures.
    subtraction : SubtractionConfig
        How they are subtracted.
    finds_cosmic_rays, is_aligned, is_swapped : bool
        Whether preprocessing masks cosmic rays; whether registration is skipped; whether the
        transients are in the earlier frame and fade.
    n_variables, n_hot_pixels, n_warm_columns : int
        Stars that change, and faults that no mask knows of.
    """

    pair: PairConfig
    subtraction: SubtractionConfig
    finds_cosmic_rays: bool
    is_aligned: bool
    is_swapped: bool
    n_variables: int
    n_hot_pixels: int
    n_warm_columns: int


@dataclass(frozen=True)
class Frames:
    """Two raw frames, the true changes (x, y, sign) on the later one, and what each is."""

    earlier: Image
    later: Image
    changes: Values
    kinds: list[str]


def draw_night(seed: int) -> Night:
    """One camera, one night and one choice of treatment, all drawn from the seed."""
    rng = np.random.default_rng([seed, 63])
    science_fwhm = float(np.exp(rng.uniform(np.log(1.8), np.log(5.5))))
    camera = Camera(
        gain=float(rng.uniform(0.8, 3.0)),
        read_noise=float(rng.uniform(3.0, 12.0)),
        cosmic_rays_per_mpix_100s=float(rng.choice([5.0, 30.0, 90.0])),
        bad_columns_per_mpix=float(rng.uniform(0.0, 8.0)),
    )
    is_aligned = bool(rng.random() < 0.3)
    shift = rng.uniform(-0.35, 0.35, 2) if is_aligned else rng.uniform(-6.0, 6.0, 2)
    pair = PairConfig(
        seed=seed,
        shape=(512, 512),
        star_density_per_mpix=float(np.exp(rng.uniform(np.log(600.0), np.log(9000.0)))),
        galaxy_density_per_mpix=float(rng.uniform(100.0, 500.0)),
        transient_density_per_mpix=260.0,
        star_mag_range=(float(rng.uniform(9.5, 13.0)), 21.0),
        science_fwhm_pix=science_fwhm,
        reference_fwhm_pix=float(np.clip(science_fwhm * rng.uniform(0.7, 1.35), 1.8, 6.0)),
        psf_variation=float(rng.uniform(0.0, 0.1)),
        ellipticity=float(rng.uniform(0.0, 0.12)),
        reference_sky=float(np.exp(rng.uniform(np.log(60.0), np.log(1500.0)))),
        science_sky=float(np.exp(rng.uniform(np.log(100.0), np.log(2500.0)))),
        flux_ratio=float(rng.uniform(0.4, 1.6)),
        rotation_deg=float(rng.uniform(-0.15, 0.15)),
        shift_pix=(float(shift[0]), float(shift[1])),
        transient_snr=(4.0, 60.0),
        host_fraction=0.6,
        camera=camera,
    )
    coarse = SubtractionConfig(method="kernel", spatial_order=0, halo_growth=0.0)
    return Night(
        pair=pair,
        subtraction=coarse if is_aligned or rng.random() < 0.4 else SubtractionConfig(),
        finds_cosmic_rays=bool(rng.random() < 0.5),
        is_aligned=is_aligned,
        is_swapped=bool(rng.random() < 0.25),
        n_variables=int(rng.integers(0, 30)),
        n_hot_pixels=int(rng.integers(0, 40)),
        n_warm_columns=int(rng.integers(0, 5)),
    )


def simulate_engine_triplets(seed: int) -> TripletSamples:
    """Candidates of one simulated pair, cut by the pipeline and labelled by its truth.

    Parameters
    ----------
    seed : int
        Of the sky, the camera, the night and its faults.

    Returns
    -------
    TripletSamples
        All of one group; survey "engine".

    Raises
    ------
    AlgorithmError
        If the frames drawn cannot be subtracted at all.
    """
    night = draw_night(seed)
    rng = np.random.default_rng([seed, 64])
    frames = simulate_night(night, rng)
    config = PreprocessConfig(find_cosmic_rays=night.finds_cosmic_rays)
    earlier, later = (
        preprocess_image(as_delivered(frame), config) for frame in (frames.earlier, frames.later)
    )
    return _difference(
        frames,
        earlier,
        later,
        rng=rng,
        subtraction=night.subtraction,
        is_aligned=night.is_aligned,
        survey="engine",
        group=f"engine-{seed}",
    )


def null_pair_triplets(
    earlier: Image, later: Image, *, survey: str, group: str, seed: int, n_injected: int = 40
) -> TripletSamples:
    """Candidates of two real frames between which nothing changed but what is put in.

    Parameters
    ----------
    earlier, later : Image
        Raw frames of one field, minutes to hours apart.
    survey, group : str
        Kept with every sample; frames of one field are one group.
    seed : int
        Of positions and fluxes of what is put into the later frame.
    n_injected : int
        How many point sources to put in.

    Returns
    -------
    TripletSamples

    Raises
    ------
    AlgorithmError
        If a frame has no PSF or the pair cannot be subtracted.
    """
    rng = np.random.default_rng([seed, 65])
    injected, changes, kinds = _inject(later, rng=rng, n_sources=n_injected)
    frames = Frames(earlier, injected, changes, kinds)
    return _difference(
        frames,
        preprocess_image(earlier),
        preprocess_image(injected),
        rng=rng,
        subtraction=SubtractionConfig(),
        is_aligned=False,
        survey=survey,
        group=group,
    )


def simulate_night(night: Night, rng: np.random.Generator) -> Frames:
    """Two raw frames with the night's faults and changes put in."""
    pair = simulate_pair(night.pair)
    earlier, later, psf, names, sign = pair.reference, pair.science, pair.science_psf, "", 1.0
    if night.is_swapped:
        earlier, later, psf = later, earlier, pair.reference_psf
        names, sign = "_reference", -1.0
    clear = pair.truth[np.asarray(pair.truth["snr_ideal"]) >= _MIN_TRUE_SNR]
    x, y = (np.asarray(clear[axis + names], dtype=np.float64) for axis in ("x", "y"))
    changes = np.column_stack([x, y, np.full(len(x), sign)])
    kinds = [
        ("fading" if night.is_swapped else "transient on host")
        if host == "galaxy"
        else ("fading" if night.is_swapped else "transient")
        for host in clear["host"]
    ]
    if night.n_variables:
        stars = preprocess_image(as_delivered(later))
        later, varied = _vary_stars(later, stars, psf, rng=rng, n_stars=night.n_variables)
        changes = np.concatenate([changes, varied])
        kinds += ["variable"] * len(varied)
    return Frames(earlier, _spoil(later, rng, night=night), changes, kinds)


def _vary_stars(
    image: Image, done: Preprocessed, psf: PsfField, *, rng: np.random.Generator, n_stars: int
) -> tuple[Image, Values]:
    """Change stars by a twentieth to a half, up or down; returns their (x, y, sign)."""
    stars = done.stars
    inside = _inside(image, stars.x, stars.y, margin=psf.size // 2 + 1)
    usable = np.flatnonzero(stars.is_star & inside & (stars.snr > 40.0))
    chosen = rng.choice(usable, size=min(n_stars, len(usable)), replace=False)
    change = rng.choice([-1.0, 1.0], len(chosen)) * np.exp(
        rng.uniform(np.log(0.05), np.log(0.5), len(chosen))
    )
    data = _add_sources(
        image.data, psf, x=stars.x[chosen], y=stars.y[chosen], flux=change * stars.flux[chosen]
    )
    table = np.column_stack([stars.x[chosen], stars.y[chosen], np.sign(change)])
    return image.with_(data=data), table


def inject_into(image: Image, rng: np.random.Generator, *, n_sources: int) -> tuple[Image, Values]:
    """A raw frame with point sources put in, and their (x, y, sign)."""
    injected, changes, _ = _inject(image, rng=rng, n_sources=n_sources)
    return injected, changes


def _inject(
    image: Image, *, rng: np.random.Generator, n_sources: int
) -> tuple[Image, Values, list[str]]:
    """Put sources of S/N 5 to 150 on blank sky and beside what is there already."""
    done = preprocess_image(image)
    variance, psf = done.image.variance, done.image.psf
    if variance is None or psf is None:
        msg = "the preprocessed frame has no variance or no PSF to put sources in with"
        raise ValueError(msg)
    ny, nx = image.shape
    margin = psf.size // 2 + 1
    x = rng.uniform(margin, nx - margin, n_sources)
    y = rng.uniform(margin, ny - margin, n_sources)
    near = rng.random(n_sources) < 0.5
    if len(done.stars):
        chosen = rng.integers(0, len(done.stars), n_sources)
        offset = rng.normal(0.0, 3.0, (2, n_sources))
        x = np.where(near, done.stars.x[chosen] + offset[0], x)
        y = np.where(near, done.stars.y[chosen] + offset[1], y)
    free = _inside(image, x, y, margin=margin)
    x, y, near = x[free], y[free], near[free]
    free = ~is_bad(done.image.mask, UNUSABLE)[np.rint(y).astype(int), np.rint(x).astype(int)]
    x, y, near = x[free], y[free], near[free]
    stamp = psf.at(nx / 2.0, ny / 2.0)
    noise = np.sqrt(
        variance[np.rint(y).astype(int), np.rint(x).astype(int)] / float(np.sum(stamp**2))
    )
    flux = noise * np.exp(rng.uniform(np.log(5.0), np.log(150.0), len(x)))
    data = _add_sources(image.data, psf, x=x, y=y, flux=flux)
    kinds = ["transient on host" if n else "transient" for n in near]
    return image.with_(data=data), np.column_stack([x, y, np.ones(len(x))]), kinds


def _inside(image: Image, x: Values, y: Values, *, margin: int) -> NDArray[np.bool_]:
    ny, nx = image.shape
    return (x > margin) & (x < nx - 1 - margin) & (y > margin) & (y < ny - 1 - margin)


def _add_sources(
    data: NDArray[np.float32], psf: PsfField, *, x: Values, y: Values, flux: Values
) -> NDArray[np.float32]:
    """Add point sources to a copy."""
    data = data.copy()
    half = psf.size // 2
    for cx, cy, total in zip(x, y, flux, strict=True):
        ix, iy = round(float(cx)), round(float(cy))
        stamp = shift_psf(psf.at(float(cx), float(cy)), np.array([cx - ix]), np.array([cy - iy]))
        rows, columns = slice(iy - half, iy + half + 1), slice(ix - half, ix + half + 1)
        data[rows, columns] += np.float32(total) * stamp[0]
    return data


def _spoil(image: Image, rng: np.random.Generator, *, night: Night) -> Image:
    """Hot and dead pixels and warm columns that no mask tells of."""
    data = image.data.copy()
    ny, nx = data.shape
    low, middle = np.percentile(data, [15.865, 50.0])
    noise = float(middle - low)
    for column in rng.choice(nx, size=night.n_warm_columns, replace=False):
        start = int(rng.integers(0, ny // 2))
        data[start:, column] += np.float32(noise * rng.uniform(0.5, 3.0))
    rows, columns = rng.integers(0, ny, night.n_hot_pixels), rng.integers(0, nx, night.n_hot_pixels)
    depth = np.exp(rng.uniform(np.log(6.0), np.log(80.0), night.n_hot_pixels))
    sign = np.where(rng.random(night.n_hot_pixels) < 0.7, 1.0, -1.0)
    data[rows, columns] = np.maximum(data[rows, columns] + noise * sign * depth, 0.0)
    return image.with_(data=data)


def as_delivered(image: Image) -> Image:
    """The frame with only the masks a camera delivers; the pipeline has to find the rest."""
    planes = np.uint16(MaskPlane.NO_DATA | MaskPlane.BAD_PIXEL)
    return image.with_(mask=(image.mask & planes).astype(np.uint16))


def _difference(
    frames: Frames,
    earlier: Preprocessed,
    later: Preprocessed,
    *,
    rng: np.random.Generator,
    subtraction: SubtractionConfig,
    is_aligned: bool,
    survey: str,
    group: str,
) -> TripletSamples:
    """Register, warp, subtract, find, cut and label."""
    found = register(
        earlier.image,
        earlier.stars,
        later.image,
        science_stars=later.stars,
        aligned=is_aligned,
    )
    template = warp(earlier.image, found, shape=later.image.shape)
    made = subtract(template, later.image, stars=later.stars, config=subtraction)
    peaks = find_candidates(made, threshold=THRESHOLD)
    is_real, kinds = _label(peaks, frames, fwhm_pix=made.psf.fwhm_pix)
    chosen = _choose(is_real, rng)
    peaks = replace(
        peaks,
        x=peaks.x[chosen],
        y=peaks.y[chosen],
        score=peaks.score[chosen],
        sign=peaks.sign[chosen],
    )
    planes = cut_triplets(later.image, template, made, peaks.x, peaks.y)[:, :3]
    n = len(chosen)
    return TripletSamples(
        triplets=np.ascontiguousarray(np.moveaxis(planes, 1, -1)),
        is_real=is_real[chosen] == 1,
        kind=np.array([kinds[i] for i in chosen], dtype="U32"),
        group=np.array([group] * n, dtype="U64"),
        survey=np.array([survey] * n, dtype="U32"),
        snr=np.abs(peaks.score),
    )


def _choose(is_real: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """All real and a bounded number of bogus, in the order found."""
    bogus = np.flatnonzero(is_real == 0)
    if len(bogus) > _MAX_BOGUS:
        bogus = rng.choice(bogus, size=_MAX_BOGUS, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(is_real == 1), bogus]))


def label_peaks(peaks: Candidates, changes: Values, *, fwhm_pix: float) -> NDArray[np.int64]:
    """1 real, 0 bogus, -1 where a true change (x, y, sign) is near but not there."""
    return _match(peaks, changes, fwhm_pix=fwhm_pix)[0]


def _label(
    peaks: Candidates, frames: Frames, *, fwhm_pix: float
) -> tuple[NDArray[np.int64], list[str]]:
    """As ``label_peaks``, and the kind of each."""
    label, nearest = _match(peaks, frames.changes, fwhm_pix=fwhm_pix)
    kinds = ["residual"] * len(peaks)
    for i in np.flatnonzero(label == 1):
        kinds[i] = frames.kinds[nearest[i]]
    return label, kinds


def _match(
    peaks: Candidates, changes: Values, *, fwhm_pix: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels, and the true change nearest to each peak."""
    label = np.zeros(len(peaks), dtype=np.int64)
    if len(changes) == 0 or len(peaks) == 0:
        return label, label
    distance, nearest = cKDTree(changes[:, :2]).query(np.column_stack([peaks.x, peaks.y]))
    distance = distance / fwhm_pix
    same = (distance <= _SAME_FWHM) & (peaks.sign == changes[nearest, 2])
    label[distance <= _UNCLEAR_FWHM] = -1
    label[same] = 1
    return label, nearest
