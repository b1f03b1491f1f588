"""Figures of the differencing engine on simulated pairs whose truth is known.

    OMP_NUM_THREADS=1 python -m benchmarks.engine_pairs [--size 1024 --seeds 1 2]
                              [--scenes sparse crowded] [--inputs true raw survey]

``true`` gives the engine the true noise, sky and PSF of frames on one grid; ``raw`` sends turned
and shifted raw frames through calibration, registration and warp first; ``survey`` subtracts the
coadded first two epochs of a simulated survey, with real variables in it, from the later ones.
Every row is of candidates found, measured and cut.

Columns: completeness at S/N 5, 7, 10 and above 7 (of the best possible difference; in a survey,
of the frame alone), share of the last that only the cuts lost, false candidates per Mpix more
than 30 pixels from saturated ones and in all, false peaks before the cuts, chi2 at bright stars,
widths of blank sky, bias of forced fluxes with its error, width of their pulls, and their scatter
in units of the ideal error; CPU seconds and peak memory of the subtraction alone.
"""

from __future__ import annotations

import argparse
import gc
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane, is_bad
from astrid_site.imaging.photometry import cut_psf_stamps, fit_stamp_fluxes, measure_noise_scale
from astrid_site.imaging.simulation import SkyConfig, simulate_frame
from astrid_site.imaging.sky_pair import PairConfig, SimulatedPair, simulate_pair
from detection.algorithms.candidates import find_candidates
from detection.algorithms.measurement import CutConfig, Measurement, apply_cuts, measure
from differencing.algorithms.reference import coadd
from differencing.algorithms.subtract import Subtraction, subtract
from preprocessing.algorithms.preprocess import (
    PreprocessConfig,
    Preprocessed,
    preprocess_image,
)
from preprocessing.algorithms.registration import register
from preprocessing.algorithms.stars import StarList, find_stars
from preprocessing.algorithms.warp import warp

Values = NDArray[np.float64]

SPARSE = PairConfig(star_density_per_mpix=700, transient_density_per_mpix=160)
SCENES = {
    "sparse": SPARSE,
    "crowded": replace(SPARSE, star_density_per_mpix=8000),
    "sharper": replace(SPARSE, reference_fwhm_pix=3.2, science_fwhm_pix=2.4),
    "shallow": replace(SPARSE, flux_ratio=0.3, reference_fwhm_pix=2.3),
}
MATCH_PIX = 2.5
NEAR_TRUTH_PIX = 4.0
SATURATED_PIX = 30.0
BINS = {"5": (4.5, 5.5), "7": (6.3, 7.7), "10": (9.0, 11.0), ">=7": (7.0, np.inf)}
HEADER = (
    f"{'scene':16s} {'c5':>4s} {'c7':>4s} {'c10':>4s} {'c>=7':>5s} {'cut':>5s} "
    f"{'false':>5s} {'all':>5s} {'peaks':>5s} {'chi2':>5s} {'p90':>5s} {'pull':>5s} {'lag1':>6s} "
    f"{'bias%':>6s} {'+-':>4s} {'fpull':>5s} {'/ideal':>6s} {'cpu':>5s} {'MB':>5s} quality"
)


@dataclass(frozen=True)
class Inputs:
    """What goes into one subtraction, and the truth about it."""

    template: Image
    science: Image
    stars: StarList
    truth: Table
    blooded: NDArray[np.bool_]


@dataclass
class Tally:
    """What is counted over the frames of one scene."""

    found: dict[str, list[bool]] = field(default_factory=lambda: {name: [] for name in BINS})
    cut: list[bool] = field(default_factory=list)
    false_away: int = 0
    false: int = 0
    false_peaks: int = 0
    mpix: float = 0.0
    chi2: list[float] = field(default_factory=list)
    p90: list[float] = field(default_factory=list)
    pull: list[float] = field(default_factory=list)
    lag1: list[float] = field(default_factory=list)
    flux: list[Values] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)
    quality: list[str] = field(default_factory=list)


def main() -> None:
    """Print one row for each scene and kind of input."""
    options = parse_options()
    print(HEADER)
    for kind in options.inputs:
        names = ["survey"] if kind == "survey" else options.scenes
        for name in names:
            tally = Tally()
            for seed in options.seeds:
                for inputs in gather(kind, name, seed, options=options):
                    judge(inputs, tally, is_loud=options.verbose)
            print_row(f"{name}/{kind}", tally)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--scenes", nargs="+", default=list(SCENES), choices=SCENES)
    parser.add_argument("--inputs", nargs="+", default=["true", "raw", "survey"])
    parser.add_argument("--verbose", action="store_true", help="name every false candidate")
    return parser.parse_args()


def gather(kind: str, name: str, seed: int, *, options: argparse.Namespace) -> list[Inputs]:
    """Inputs of the subtractions of one scene and seed."""
    size = (options.size, options.size)
    if kind == "survey":
        return survey_inputs(SkyConfig(seed=seed, n_fields=1, n_epochs=5, shape=size))
    config = replace(SCENES[name], seed=seed, shape=size)
    return [true_inputs(config) if kind == "true" else raw_inputs(config)]


def true_inputs(config: PairConfig) -> Inputs:
    """Frames on one grid with true sky, noise and PSF."""
    pair = simulate_pair(config)
    science = pair.calibrated_science()
    return Inputs(
        pair.calibrated_reference(), science, find_stars(science), pair.truth, blooded(pair)
    )


def blooded(pair: SimulatedPair) -> NDArray[np.bool_]:
    """Truly saturated or bled pixels of frames on one grid."""
    return is_bad(pair.science.mask | pair.reference.mask, MaskPlane.SATURATED | MaskPlane.BLEED)


def raw_inputs(config: PairConfig) -> Inputs:
    """Raw frames, turned and shifted against each other, calibrated, registered and warped."""
    config = replace(config, rotation_deg=0.1, shift_pix=(3.4, -2.3), wcs_error_pix=0.3)
    pair = simulate_pair(config)
    early, late = (
        preprocess_image(image.with_(mask=np.zeros_like(image.mask)))
        for image in (pair.reference, pair.science)
    )
    template = aligned(early, late)
    lost = is_bad(late.image.mask | template.mask, MaskPlane.SATURATED | MaskPlane.BLEED)
    return Inputs(template, late.image, late.stars, pair.truth, lost)


def aligned(early: Preprocessed, late: Preprocessed) -> Image:
    """One calibrated frame on the grid of another."""
    registration = register(early.image, early.stars, late.image, science_stars=late.stars)
    return warp(early.image, registration, shape=late.image.shape)


def survey_inputs(config: SkyConfig) -> list[Inputs]:
    """The later epochs of a field against the coadd of its first two."""
    frames = [simulate_frame(config, field=0, epoch=epoch) for epoch in range(config.n_epochs)]
    done = [preprocess_image(f.image.with_(mask=np.zeros_like(f.image.mask))) for f in frames]
    combined = coadd(
        [done[0].image, aligned(done[1], done[0])],
        flux_scales=[1.0, flux_ratio(done[1], done[0])],
    )
    reference = preprocess_image(
        combined.image,
        PreprocessConfig(find_cosmic_rays=False),
        given_variance=combined.image.variance,
    )
    found = []
    for frame, late in zip(frames[2:], done[2:], strict=True):
        template = aligned(reference, late)
        lost = is_bad(late.image.mask | template.mask, MaskPlane.SATURATED | MaskPlane.BLEED)
        truth = frame.truth.copy()
        truth["flux_adu"] = truth["flux_adu"] - truth["reference_flux_adu"]
        truth["snr_difference"] = truth["snr_ideal"]
        found.append(Inputs(template, late.image, late.stars, truth, lost))
    return found


def flux_ratio(early: Preprocessed, late: Preprocessed) -> float:
    """Late over early flux of the same stars."""
    ratio = register(early.image, early.stars, late.image, science_stars=late.stars).flux_ratio
    return 1.0 if ratio is None else ratio


def judge(inputs: Inputs, tally: Tally, *, is_loud: bool) -> None:
    """Subtract, detect, cut, and compare with the truth."""
    reset_peak()
    base, start = resident_mb("VmRSS"), time.process_time()
    result = subtract(inputs.template, inputs.science, stars=inputs.stars)
    tally.cpu_s.append(time.process_time() - start)
    tally.peak_mb.append(resident_mb("VmHWM") - base)
    peaks = find_candidates(result)
    measured = measure(result, inputs.template, inputs.science, peaks, stars=inputs.stars)
    kept = [m for m in measured if all(cut.kept for cut in apply_cuts(m, CutConfig()))]
    for name, numbers in (
        ("chi2_stars_median", tally.chi2),
        ("chi2_stars_p90", tally.p90),
        ("pull_width_propagated", tally.pull),
        ("lag1", tally.lag1),
    ):
        numbers.append(float(result.metrics[name] or 0.0))
    tally.quality.append(result.quality)
    count_found(inputs, result, tally, peaks=positions(measured), kept=positions(kept))
    count_false(inputs, tally, measured=measured, kept=kept, is_loud=is_loud)
    tally.mpix += float((~is_bad(result.mask)).sum()) / 1e6
    tally.flux.append(forced(inputs, result))
    if is_loud:
        shown = {k: v for k, v in result.metrics.items() if isinstance(v, (int, float))}
        print("   " + " ".join(f"{k}={v:.4g}" for k, v in shown.items()))
        print("   ", result.method, result.quality, "; ".join(result.quality_reasons))


def positions(measured: list[Measurement]) -> Values:
    """Places of candidates, (n, 2)."""
    return np.array([[m.x, m.y] for m in measured], dtype=np.float64).reshape(-1, 2)


def distances(places: Values, x: float, y: float) -> Values:
    """Distances of places from a point."""
    return np.asarray(np.hypot(places[:, 0] - x, places[:, 1] - y))


def usable(inputs: Inputs, result: Subtraction) -> NDArray[np.bool_]:
    """True sources that nothing masked touches and that are points."""
    table, bad = inputs.truth, is_bad(result.mask)
    ny, nx = bad.shape
    keep = np.array([kind in ("transient", "supernova") for kind in table["kind"]], dtype=bool)
    for i, (x, y) in enumerate(zip(np.rint(table["x"]), np.rint(table["y"]), strict=True)):
        inside = 8 <= x < nx - 8 and 8 <= y < ny - 8
        box = (slice(int(y) - 3, int(y) + 4), slice(int(x) - 3, int(x) + 4))
        keep[i] &= bool(inside) and not bad[box].any()
    return keep


def count_found(
    inputs: Inputs, result: Subtraction, tally: Tally, *, peaks: Values, kept: Values
) -> None:
    """Completeness of the kept candidates, by true S/N, and what the cuts cost."""
    for row in inputs.truth[usable(inputs, result)]:
        is_found = bool((distances(kept, row["x"], row["y"]) <= MATCH_PIX).any())
        for name, (low, high) in BINS.items():
            if low <= row["snr_difference"] <= high:
                tally.found[name].append(is_found)
        if row["snr_difference"] >= BINS[">=7"][0]:
            is_peak = bool((distances(peaks, row["x"], row["y"]) <= MATCH_PIX).any())
            tally.cut.append(is_peak and not is_found)


def count_false(
    inputs: Inputs,
    tally: Tally,
    *,
    measured: list[Measurement],
    kept: list[Measurement],
    is_loud: bool,
) -> None:
    """Candidates where nothing changed."""
    away = np.full(inputs.science.shape, np.inf)
    if inputs.blooded.any():
        away = distance_transform_edt(~inputs.blooded)
    truth = np.column_stack([inputs.truth["x"], inputs.truth["y"]]).astype(np.float64)
    reach = np.where(np.asarray(inputs.truth["kind"]) == "asteroid", 8.0, NEAR_TRUTH_PIX)
    kept_ids = {id(m) for m in kept}
    for m in measured:
        if (distances(truth, m.x, m.y) <= reach).any():
            continue
        distance = away[round(m.y), round(m.x)]
        tally.false_peaks += 1
        if id(m) not in kept_ids:
            continue
        tally.false += 1
        tally.false_away += bool(distance > SATURATED_PIX)
        if is_loud:
            print(
                f"   false ({m.x:.1f}, {m.y:.1f}) score {m.score:+.1f} ratio {m.science_ratio} "
                f"psf_chi2 {m.psf_chi2:.1f} dipole {m.dipole_ratio:.2f} "
                f"saturated {distance:.0f} pix"
            )


def forced(inputs: Inputs, result: Subtraction) -> Values:
    """True flux, forced flux, its error, and the ideal error; rows (n, 4)."""
    rows = inputs.truth[usable(inputs, result)]
    x, y = (np.asarray(rows[name], dtype=np.float64) for name in ("x", "y"))
    scale = measure_noise_scale(result.difference, result.variance, result.psf, mask=result.mask)
    fit = fit_stamp_fluxes(
        cut_psf_stamps(result.difference, result.variance, result.psf, mask=result.mask, x=x, y=y),
        noise_scale=scale,
    )
    true = np.asarray(rows["flux_adu"], dtype=np.float64)
    ideal = np.abs(true) / np.maximum(np.asarray(rows["snr_difference"], np.float64), 1e-9)
    table = np.column_stack([true, fit.flux, fit.flux_error, ideal])
    return table[np.isfinite(table).all(axis=1)]


def print_row(name: str, tally: Tally) -> None:
    """One line of figures."""
    share = {n: np.mean(v) if v else np.nan for n, v in tally.found.items()}
    true, flux, error, ideal = np.concatenate(tally.flux).T
    pulls = (flux - true) / error
    weight = true / error**2
    bias = (weight * flux).sum() / (weight * true).sum() - 1.0
    faint = (true / np.maximum(ideal, 1e-9) <= 20) & (ideal > 0)
    print(
        f"{name:16s} {share['5']:4.2f} {share['7']:4.2f} {share['10']:4.2f} {share['>=7']:5.3f} "
        f"{np.mean(tally.cut):5.3f} {tally.false_away / tally.mpix:5.2f} "
        f"{tally.false / tally.mpix:5.2f} {tally.false_peaks / tally.mpix:5.1f} "
        f"{np.mean(tally.chi2):5.2f} {np.mean(tally.p90):5.2f} {np.mean(tally.pull):5.3f} "
        f"{max(tally.lag1, key=abs):+6.3f} {100 * bias:+6.2f} "
        f"{100 * (weight * true).sum() ** -0.5:4.2f} {width(pulls):5.2f} "
        f"{width(((flux - true) / np.maximum(ideal, 1e-9))[faint]):6.2f} "
        f"{np.mean(tally.cpu_s):5.1f} {max(tally.peak_mb):5.0f} {' '.join(tally.quality)}",
        flush=True,
    )


def width(values: Values) -> float:
    """Half of the central 68 %."""
    if len(values) < 2:
        return float("nan")
    low, high = np.percentile(values, [15.87, 84.13])
    return float((high - low) / 2.0)


def reset_peak() -> None:
    """Let the kernel count the peak of resident memory anew."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")


def resident_mb(name: str) -> float:
    """A memory figure of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return float(line.split()[1]) / 1024
    msg = f"the kernel does not tell {name}"
    raise RuntimeError(msg)


if __name__ == "__main__":
    main()
