"""Acceptance figures of the whole pipeline on a simulated survey.

    python benchmarks/survey.py [--fields 3 --epochs 6 --size 1024 --seed 1] [--keep DIR]

Runs ingest and every stage in this process, in a data folder of its own, and compares the result
with the truth: completeness, false candidates, bias and pulls of the forced fluxes. Exit code 1
if a figure misses its limit.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SURVEY = "Simulated survey"
MATCH_PIX = 2.0
#: Candidates this near to saturated pixels are a matter of masks, not of the subtraction.
SATURATED_PIX = 30.0
LIMITS = {"completeness": 0.95, "false_per_mpix": 1.0, "bias": 0.02, "pull_width": 0.1}


def main() -> int:
    """Simulate, process, judge."""
    options = parse_options()
    folder = Path(options.keep or tempfile.mkdtemp(prefix="astrid-survey-"))
    os.environ["ASTRID_DATA_DIR"] = str(folder / "data")
    os.environ["DATABASE_URL"] = f"sqlite:///{folder / 'data' / 'astrid.sqlite3'}"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "astrid_site.settings")
    os.environ.setdefault("ASTRID_LOG_LEVEL", "ERROR")
    sys.path.insert(0, str(ROOT))
    try:
        process(options, folder)
        return judge(folder / "survey")
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", help="folder for data and results, kept and reused")
    return parser.parse_args()


def process(options: argparse.Namespace, folder: Path) -> None:
    """Write the survey, take it in, run every stage."""
    import django

    (folder / "data").mkdir(parents=True, exist_ok=True)
    django.setup()
    from django.core.management import call_command

    from astrid_site.core import tasking

    # nobody listens: this process works the ledger off by itself
    tasking.ring = lambda *args, **kwargs: None  # type: ignore[assignment]
    call_command("migrate", verbosity=0)
    survey = folder / "survey"
    sizes = [f"--{name}={getattr(options, name)}" for name in ("fields", "epochs", "size", "seed")]
    call_command("simulate_survey", str(survey), *sizes, verbosity=0)
    call_command("ingest", str(survey), "--survey", SURVEY, verbosity=0)
    start = time.monotonic()
    call_command("run_pipeline")
    print(f"pipeline: {time.monotonic() - start:.0f} s")
    print_runs()


def print_runs() -> None:
    """How every frame ended."""
    from observations.models import Observation

    for row in Observation.objects.order_by("target", "observed_at"):
        print(f"  {row.observation_id:24s} {row.status:10s} {row.stage:11s} {row.reason[:100]}")


@dataclass
class Tally:
    """What is counted over all frames."""

    found: int = 0
    expected: int = 0
    ideal_found: int = 0
    ideal_expected: int = 0
    false: int = 0
    false_near_saturated: int = 0
    mpix: float = 0.0


def judge(folder: Path) -> int:
    """Compare with the truth and print the figures."""
    from astropy.table import Table

    from differencing.models import DifferenceRun

    truth = Table.read(folder / "truth.ecsv", format="ascii.ecsv")
    tally = Tally()
    runs = DifferenceRun.objects.filter(status="succeeded").select_related(
        "observation", "observation__raw_file", "file", "science_image__file", "template_file"
    )
    for run in runs:
        judge_frame(run, truth[truth["file"] == run.observation.raw_file.name], tally)
    pulls, flux_ratios = forced_fluxes(truth)
    return report(tally, pulls, flux_ratios)


def judge_frame(run: Any, truth: Any, tally: Tally) -> None:
    """Match one frame's kept candidates with what was put there."""
    from scipy.ndimage import distance_transform_edt

    from astrid_site.imaging.masks import MaskPlane, is_bad
    from detection.models import Detection
    from preprocessing.services import load_image

    difference = load_image(run.file)
    science, template = load_image(run.science_image.file), load_image(run.template_file)
    saturated = is_bad(science.mask | template.mask, MaskPlane.SATURATED | MaskPlane.BLEED)
    from_saturated = (
        distance_transform_edt(~saturated) if saturated.any() else np.full(science.shape, 1e9)
    )
    tally.mpix += float((~is_bad(difference.mask)).sum()) / 1e6
    rows = list(Detection.objects.filter(observation=run.observation, is_kept=True))
    xy = np.array([[row.x, row.y] for row in rows]).reshape(-1, 2)
    used = np.zeros(len(rows), dtype=bool)
    # nothing excuses a candidate on a satellite's trail
    for entry in truth[np.asarray(truth["kind"]) != "trail"]:
        near = np.hypot(xy[:, 0] - entry["x"], xy[:, 1] - entry["y"]) if len(rows) else np.zeros(0)
        reach = 6.0 if entry["kind"] == "asteroid" else 4.0
        used |= near <= reach
        if entry["kind"] == "supernova" and not entry["masked"]:
            count_supernova(entry, bool((near <= MATCH_PIX).any()), difference, tally)
    for row, is_used in zip(rows, used, strict=True):
        if is_used:
            continue
        is_near = from_saturated[round(row.y), round(row.x)] <= SATURATED_PIX
        tally.false += not is_near
        tally.false_near_saturated += is_near
        print(
            f"  false: {run.observation.observation_id} x={row.x:.1f} y={row.y:.1f} "
            f"score={row.score:.1f} rb={row.real_bogus} near_saturated={is_near}"
        )


def count_supernova(entry: Any, is_found: bool, difference: Any, tally: Tally) -> None:
    """One supernova epoch under both definitions of its S/N."""
    if entry["snr_ideal"] >= 7:
        tally.ideal_expected += 1
        tally.ideal_found += is_found
    snr = true_snr(entry, difference)
    if snr is not None and snr >= 7:
        tally.expected += 1
        tally.found += is_found
        if not is_found:
            print(
                f"  missed: {entry['file']} {entry['object_id']} S/N {snr:.1f} "
                f"(in the frame alone {entry['snr_ideal']:.1f}) "
                f"at {entry['x']:.1f}, {entry['y']:.1f}"
            )


def true_snr(entry: Any, difference: Any) -> float | None:
    """True flux over the error of a perfect PSF fit here, reference noise included."""
    from astrid_site.imaging.photometry import cut_psf_stamps

    x, y = np.array([float(entry["x"])]), np.array([float(entry["y"])])
    stamp = cut_psf_stamps(
        difference.data, difference.variance, difference.psf, mask=difference.mask, x=x, y=y
    )
    if stamp.good[0].mean() < 0.5:
        return None
    flux = float(entry["flux_adu"] - entry["reference_flux_adu"])
    weight = np.where(stamp.good[0], stamp.psf[0] ** 2 / stamp.variance[0], 0.0).sum()
    return flux * float(np.sqrt(weight))


def forced_fluxes(truth: Any) -> tuple[np.ndarray, dict[str, tuple[float, float]]]:
    """Pulls of every forced flux of every supernova, and each object's mean flux ratio."""
    from astrid_site.imaging.healpix import separation_arcsec
    from catalog.models import AstroObject
    from catalog.selectors import light_curve

    pulls, ratios = [], {}
    supernovae = truth[truth["kind"] == "supernova"]
    for row in AstroObject.objects.all():
        apart = separation_arcsec(row.ra, row.dec, supernovae["ra"], supernovae["dec"])
        near = supernovae[apart < 2.0]
        if len(near) == 0:
            continue
        measured, expected, errors = [], [], []
        for point in light_curve(row, kind="difference"):
            entry = near[near["file"] == point.observation.raw_file.name]
            if len(entry) != 1 or point.flux is None or bool(entry["masked"][0]):
                continue
            measured.append(point.flux)
            errors.append(point.flux_error)
            expected.append(float(entry["flux_adu"][0] - entry["reference_flux_adu"][0]))
        m, t, e = np.array(measured), np.array(expected), np.array(errors)
        pulls += list((m - t) / e)
        if (t / e).max(initial=0.0) > 7:
            weight = t / e**2
            slope = float((weight * m).sum() / (weight * t).sum())
            ratios[f"{near['object_id'][0]}"] = (slope, float((weight * t).sum() ** -0.5))
    return np.array(pulls), ratios


def report(tally: Tally, pulls: np.ndarray, ratios: dict[str, tuple[float, float]]) -> int:
    """Print the figures against their limits."""
    slopes = np.array([slope for slope, _ in ratios.values()])
    errors = np.array([error for _, error in ratios.values()])
    bias = float((slopes / errors**2).sum() / (errors**-2).sum()) - 1.0
    bias_error = float((errors**-2).sum() ** -0.5)
    width = float((np.percentile(pulls, 84.13) - np.percentile(pulls, 15.87)) / 2.0)
    completeness = tally.found / max(tally.expected, 1)
    false = tally.false / max(tally.mpix, 1e-9)
    print(
        f"completeness, S/N >= 7 in the difference: {tally.found}/{tally.expected}"
        f" = {completeness:.3f}"
    )
    print(f"completeness, S/N >= 7 in the frame alone: {tally.ideal_found}/{tally.ideal_expected}")
    print(
        f"false candidates per Mpix away from saturated stars: {false:.2f} on {tally.mpix:.1f} Mpix"
    )
    print(f"  (near saturated stars: {tally.false_near_saturated})")
    for name, (slope, error) in sorted(ratios.items()):
        print(f"  {name}: flux ratio {slope:.3f} +- {error:.3f}")
    print(f"forced flux bias: {bias:+.4f} +- {bias_error:.4f}")
    print(
        f"pulls: mean {pulls.mean():+.2f}, width {width:.2f}, std {pulls.std():.2f}, n {len(pulls)}"
    )
    is_good = (
        completeness >= LIMITS["completeness"]
        and false <= LIMITS["false_per_mpix"]
        and abs(bias) <= LIMITS["bias"]
        and abs(width - 1.0) <= LIMITS["pull_width"]
    )
    print("all figures within their limits" if is_good else "A FIGURE IS OUT OF ITS LIMIT")
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
