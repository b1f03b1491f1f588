"""Light simulator of triplets: the physics of a subtraction without the subtraction.

Not a replacement of the engine's own candidates but their complement: any pixel scale, depth,
crowding, registration and kernel error, hundreds of triplets a second. Units are the science
frame's sky noise per pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from detection.training import triplet_faults as faults
from detection.training.triplet_delivery import deliver
from detection.training.triplet_samples import TripletSamples
from detection.training.triplet_scene import (
    MIDDLE,
    SCENE,
    Galaxies,
    Sky,
    draw_galaxies,
    draw_sky,
    render_galaxies,
    render_points,
)

FloatArray = NDArray[np.float32]
Values = NDArray[np.float64]

SIZE = 63
#: What is found may lie this far from where it was put [pix]; the triplet is centred on it.
_REACH = (SCENE - SIZE) // 2 - 1
_MIN_SNR = 4.0
_MAX_TRIES = 25

REAL_KINDS = ("transient", "transient on host", "asteroid", "variable", "agn", "fading")
_REAL_WEIGHTS = (0.15, 0.25, 0.15, 0.2, 0.15, 0.1)
BOGUS_KINDS = (
    "residual of a star",
    "residual of a galaxy",
    "cosmic ray",
    "hot or dead pixel",
    "bad column",
    "saturated star",
    "noise",
    "edge",
    "ghost",
    "trail",
    "glint",
    "spike",
    "background step",
    "reference fault",
)
_BOGUS_WEIGHTS = (
    0.27,
    0.06,
    0.12,
    0.12,
    0.05,
    0.06,
    0.05,
    0.05,
    0.06,
    0.03,
    0.04,
    0.03,
    0.02,
    0.04,
)


@dataclass
class Scene:
    """Planes in the making; all (79, 79)."""

    sky: Sky
    x: Values
    y: Values
    flux: Values
    reference_flux: Values
    galaxies: Galaxies
    #: What a source has in the science frame alone, and in the reference alone.
    science_extra: FloatArray = field(default_factory=lambda: np.zeros((SCENE, SCENE), np.float32))
    reference_extra: FloatArray = field(
        default_factory=lambda: np.zeros((SCENE, SCENE), np.float32)
    )


def simulate_triplets(seed: int, *, n: int = 24) -> TripletSamples:
    """Triplets of one sky, half of them real.

    Parameters
    ----------
    seed : int
        Of the sky and all in it; the group of the samples.
    n : int
        How many.

    Returns
    -------
    TripletSamples
        Survey "light simulation". Fewer than ``n`` where a kind could not be made significant.
    """
    rng = np.random.default_rng([seed, 630])
    sky = draw_sky(rng)
    made = []
    for i in range(n):
        is_real = i % 2 == 0
        kinds, weights = (REAL_KINDS, _REAL_WEIGHTS) if is_real else (BOGUS_KINDS, _BOGUS_WEIGHTS)
        kind = str(rng.choice(kinds, p=weights))
        found = _make(kind, sky, rng)
        if found is not None:
            made.append((*found, is_real, kind))
    count = len(made)
    return TripletSamples(
        triplets=np.array([item[0] for item in made], np.float32).reshape(count, SIZE, SIZE, 3),
        is_real=np.array([item[2] for item in made], bool),
        kind=np.array([item[3] for item in made], "U32"),
        group=np.array([f"light-{seed}"] * count, "U64"),
        survey=np.array(["light simulation"] * count, "U32"),
        snr=np.array([item[1] for item in made], np.float64),
    )


def _make(kind: str, sky: Sky, rng: np.random.Generator) -> tuple[FloatArray, float] | None:
    """One triplet centred on what a detector would find there, and its significance."""
    for _ in range(_MAX_TRIES):
        scene = _draw_scene(kind, sky, rng)
        science, template, difference, truth = _subtract(kind, scene, rng)
        found = _find(difference, sky, rng, kind=kind)
        if found is None:
            continue
        x, y, snr = found
        # a source that is there but not what was found is neither real nor bogus
        if kind in REAL_KINDS and (
            np.hypot(x - MIDDLE, y - MIDDLE) > max(1.5, 0.6 * sky.psf.fwhm)
            or truth[y, x] * np.sign(difference[y, x]) < 0.5 * abs(difference[y, x])
        ):
            continue
        rows = slice(y - SIZE // 2, y + SIZE // 2 + 1)
        columns = slice(x - SIZE // 2, x + SIZE // 2 + 1)
        planes = np.stack(
            [plane[rows, columns] for plane in (science, template, difference)], axis=-1
        )
        return deliver(planes, rng), snr
    return None


def _draw_scene(kind: str, sky: Sky, rng: np.random.Generator) -> Scene:
    """Stars and galaxies of a field, and what changes in the middle of it."""
    n_stars = int(rng.poisson(sky.star_density))
    # a power law of slope like that of star counts, from half a noise to saturation
    flux = 0.7 * (rng.pareto(0.75, n_stars) + 1.0) / sky.psf.peak
    flux = np.minimum(flux, 40_000.0 / sky.psf.peak)
    scene = Scene(
        sky=sky,
        x=rng.uniform(-6, SCENE + 5, n_stars),
        y=rng.uniform(-6, SCENE + 5, n_stars),
        flux=flux,
        reference_flux=flux.copy(),
        galaxies=draw_galaxies(rng, int(rng.poisson(1.2)), psf=sky.psf),
    )
    # a few stars vary, wherever they are
    varies = rng.random(n_stars) < 0.03
    scene.flux = np.where(varies, flux * rng.uniform(0.5, 1.5, n_stars), flux)
    if kind in REAL_KINDS:
        _add_real(kind, scene, rng)
    elif kind in ("residual of a star", "saturated star", "spike"):
        _add_bright_star(kind, scene, rng)
    elif kind == "residual of a galaxy":
        _put_host(scene, rng, offset=0.0, brightness=float(np.exp(rng.uniform(3.0, 6.5))))
    return scene


def _add_real(kind: str, scene: Scene, rng: np.random.Generator) -> None:
    """Put a change of significance 5 to 300 in the middle."""
    sky = scene.sky
    x, y = MIDDLE + rng.uniform(-0.5, 0.5, 2)
    change = _flux_for(sky, float(np.exp(rng.uniform(np.log(5.0), np.log(60.0)))))
    if rng.random() < 0.15:
        change *= float(rng.uniform(2.0, 8.0))
    before, after = 0.0, change
    if kind == "transient on host":
        offset = float(rng.exponential(1.0)) * sky.psf.fwhm
        _put_host(scene, rng, offset=offset, brightness=float(np.exp(rng.uniform(0.5, 4.5))))
    elif kind == "fading":
        before, after = change, 0.0
        if rng.random() < 0.5:
            _put_host(scene, rng, offset=float(rng.exponential(1.0)) * sky.psf.fwhm)
    elif kind in ("variable", "agn"):
        # by a few per cent to several times, but by more than the flux scale is wrong
        share = float(np.exp(rng.uniform(np.log(0.04), np.log(3.0))))
        share = max(share, 4.0 * abs(sky.flux_error))
        before, after = change / share, change / share + change
        if rng.random() < 0.5 and share < 0.95:
            after = change / share - change
        if kind == "agn":
            brightness = float(np.exp(rng.uniform(1.5, 5.0)))
            _put_host(scene, rng, offset=0.0, brightness=brightness)
    trail = 0.0
    if kind == "asteroid" and rng.random() < 0.4:
        trail = float(rng.uniform(0.3, 1.6)) * sky.psf.fwhm
    angle = rng.uniform(0, np.pi)
    along = np.linspace(-0.5, 0.5, 9 if trail else 1) * (1.0 if trail else 0.0)
    xs, ys = x + along * trail * np.cos(angle), y + along * trail * np.sin(angle)
    n = len(xs)
    scene.x, scene.y = np.append(scene.x, xs), np.append(scene.y, ys)
    scene.flux = np.append(scene.flux, np.full(n, after / n))
    scene.reference_flux = np.append(scene.reference_flux, np.full(n, before / n))


def _flux_for(sky: Sky, snr: float) -> float:
    """Flux of a point source of a significance in the difference, its own photons included."""
    area = 4.0 * np.pi * (sky.psf.fwhm / 2.3548) ** 2 * (1.0 + sky.psf.wing)
    noise = area * (1.0 + sky.reference_noise**2)
    shot = sky.shot * snr**2
    return float(0.5 * (shot + np.sqrt(shot**2 + 4.0 * snr**2 * noise)))


def _put_host(
    scene: Scene, rng: np.random.Generator, *, offset: float, brightness: float = 8.0
) -> None:
    """Add a galaxy at a distance from the middle [pix]."""
    angle = rng.uniform(0, 2 * np.pi)
    host = draw_galaxies(rng, 1, psf=scene.sky.psf)
    area = 2 * np.pi * (host.radius**2 + scene.sky.psf.fwhm**2 / 5.5)
    old = scene.galaxies
    scene.galaxies = Galaxies(
        x=np.append(old.x, MIDDLE + offset * np.cos(angle)),
        y=np.append(old.y, MIDDLE + offset * np.sin(angle)),
        flux=np.append(old.flux, brightness * area),
        radius=np.append(old.radius, host.radius),
        axis_ratio=np.append(old.axis_ratio, host.axis_ratio),
        angle=np.append(old.angle, host.angle),
        is_bulge=np.append(old.is_bulge, host.is_bulge),
    )


def _add_bright_star(kind: str, scene: Scene, rng: np.random.Generator) -> None:
    """A star so bright that its residual is found."""
    sky = scene.sky
    peak = float(np.exp(rng.uniform(np.log(60.0), np.log(6000.0))))
    x, y = MIDDLE + rng.uniform(-0.5, 0.5, 2)
    if kind == "saturated star":
        peak = sky.full_well * float(rng.uniform(1.1, 12.0))
        distance, angle = rng.uniform(0, 2.5) * sky.psf.fwhm, rng.uniform(0, 2 * np.pi)
        x, y = x + distance * np.cos(angle), y + distance * np.sin(angle)
    elif kind == "spike":
        peak = sky.full_well * float(rng.uniform(2.0, 20.0))
        distance, angle = rng.uniform(8.0, 40.0), rng.choice(np.arange(4)) * np.pi / 2
        x, y = x + distance * np.cos(angle), y + distance * np.sin(angle)
    flux = peak / sky.psf.peak
    scene.x, scene.y = np.append(scene.x, x), np.append(scene.y, y)
    scene.flux = np.append(scene.flux, flux)
    scene.reference_flux = np.append(scene.reference_flux, flux)


def _subtract(
    kind: str, scene: Scene, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Science, template and difference with noise and faults, and the true change."""
    sky, galaxies = scene.sky, scene.galaxies
    science = render_points(sky.psf, scene.x, scene.y, flux=scene.flux)
    science += render_galaxies(sky.psf, galaxies)
    dx, dy = sky.shift
    moved = Galaxies(**{**vars(galaxies), "x": galaxies.x + dx, "y": galaxies.y + dy})
    x, y, flux = scene.x + dx, scene.y + dy, scene.reference_flux * (1.0 + sky.flux_error)
    reference = render_points(sky.reference_psf, x, y, flux=flux)
    reference += render_galaxies(sky.reference_psf, moved)
    matched = render_points(sky.matched_psf, x, y, flux=flux) + render_galaxies(
        sky.matched_psf, moved
    )
    truth = render_points(sky.psf, scene.x, scene.y, flux=scene.flux - scene.reference_flux)
    raw = _noise(science, rng, sky=sky, level=1.0)
    reference_noise = gaussian_filter(
        _noise(reference, rng, sky=sky, level=sky.reference_noise), sky.resampling
    )
    blur = np.sqrt(max(sky.matched_psf.fwhm**2 - sky.reference_psf.fwhm**2, 0.0)) / 2.3548
    matched_noise = gaussian_filter(reference_noise, blur) if blur > 0.2 else reference_noise
    planes = faults.Planes(
        science=science + raw,
        reference=reference + reference_noise,
        matched=matched + matched_noise,
    )
    faults.saturate(planes, sky.full_well, rng)
    faults.add_fault(kind, planes, sky.psf, rng=rng)
    faults.add_distractions(planes, sky.psf, rng)
    difference = planes.science - planes.matched + planes.difference_extra
    if sky.whitening > 0:
        difference = gaussian_filter(difference, sky.whitening, mode="nearest")
    if sky.ringing > 0:
        smooth = gaussian_filter(difference, 0.6 * sky.psf.fwhm, mode="nearest")
        difference = difference + sky.ringing * (difference - smooth)
    difference = np.where(planes.missing, np.nan, difference).astype(np.float32)
    template = planes.matched if sky.shows_matched else planes.reference
    return planes.science, template, difference, truth


def _noise(image: FloatArray, rng: np.random.Generator, *, sky: Sky, level: float) -> FloatArray:
    """Gaussian noise of sky and photons."""
    variance = level**2 * (1.0 + sky.shot * np.maximum(image, 0.0))
    return np.asarray(np.sqrt(variance) * rng.standard_normal(image.shape, dtype=np.float32))


def _find(
    difference: FloatArray, sky: Sky, rng: np.random.Generator, *, kind: str
) -> tuple[int, int, float] | None:
    """Peak of the smoothed difference near the middle, where it is significant."""
    filled = np.nan_to_num(difference, nan=0.0)
    smooth = gaussian_filter(filled, sky.psf.fwhm / 2.3548)
    outer = np.concatenate([smooth[:14].ravel(), smooth[-14:].ravel()])
    noise = 1.4826 * float(np.median(np.abs(outer - np.median(outer))))
    if not noise > 0:
        return None
    reach = _REACH if kind not in REAL_KINDS else 3
    middle = int(MIDDLE)
    inner = np.abs(smooth[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1])
    dy, dx = np.unravel_index(int(inner.argmax()), inner.shape)
    x, y = middle - reach + int(dx), middle - reach + int(dy)
    snr = float(inner.max()) / noise
    if snr < _MIN_SNR or (kind == "noise" and snr > 7.0):
        return None
    # detectors that fit a position round it differently
    return x, y, snr
