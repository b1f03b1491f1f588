"""The SAAO series: 47 crowded frames without world coordinates, and one event in them."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields
from functools import partial, reduce
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.psf import PsfField
from benchmarks.real_sets_constant import (
    ConstantStars,
    aperture_sum,
    choose_constant,
    sum_within,
)
from benchmarks.real_sets_pairs import Pair, Row, describe, load, picture
from catalog.algorithms.forced_series import (
    EpochDifference,
    ForcedEpoch,
    Position,
    force_flux,
    subtract_reference,
)
from catalog.algorithms.light_curve_chart import Epoch, lay_out_chart
from catalog.algorithms.light_curve_svg import draw_light_curve
from detection.algorithms.candidates import find_candidates
from detection.algorithms.cuts import CutConfig, apply_cuts
from detection.algorithms.measurement import measure
from preprocessing.algorithms.preprocess import Preprocessed, preprocess_image

Values = NDArray[np.float64]

FOLDER = "saao_microlensing_kb13475"
#: The frame that the table's fluxes are above, in whose pixels the event's place is given.
REFERENCE = "AKB13475I0001.fits"
EVENT = Position(252.6, 251.4)
SHOWN = "AKB13475I0094.fits"
#: Two candidates of the same sign this close on the reference's grid are one place.
SAME_PLACE_PIX = 4.0


@dataclass
class Series:
    """What the frames gave.

    ``to_table`` turns a flux on the reference's scale into the table's, see ``scale_to_table``.
    """

    names: list[str] = field(default_factory=list)
    mjd: list[float] = field(default_factory=list)
    table: list[tuple[float, float]] = field(default_factory=list)
    forced: list[ForcedEpoch] = field(default_factory=list)
    aperture: list[float] = field(default_factory=list)
    constant: ConstantStars = field(default_factory=lambda: ConstantStars([]))
    to_table: list[float] = field(default_factory=list)
    rms: list[float] = field(default_factory=list)
    n_other: list[int] = field(default_factory=list)
    places: list[tuple[float, float]] = field(default_factory=list)
    mpix: float = 0.0
    refused: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def join(self, other: Series) -> Series:
        """This series with the frames of another behind its own."""
        for column in fields(self):
            mine, theirs = getattr(self, column.name), getattr(other, column.name)
            if isinstance(mine, list):
                mine.extend(theirs)
        self.constant.join(other.constant)
        self.mpix += other.mpix
        return self


@dataclass(frozen=True)
class Agreement:
    """Fit of table = scale * ours + offset, clipped at 5 robust sigma."""

    scale: float
    offset: float
    pull: float
    scatter: float
    n_epochs: int


def run_saao(data: Path, images: Path) -> list[Row]:
    """The series against its first frame, as the set's table was made."""
    folder = data / FOLDER
    # frames do not wait for each other
    n_processes = len(os.sched_getaffinity(0))
    series = measure_series(
        folder, list(read_table(folder)), images=images, n_processes=n_processes
    )
    draw(series, images / "real-saao-light-curve.svg")
    return [*summary(series), *series.rows]


def short(name: str) -> str:
    """The number of a frame."""
    return name.removeprefix("AKB13475I").removesuffix(".fits")


def measure_series(
    folder: Path, names: Sequence[str], *, images: Path | None = None, n_processes: int = 1
) -> Series:
    """Subtract the reference from every frame and measure the event; one picture if asked for."""
    told = read_table(folder)
    # the table's own frame: it is sharp, and one zero level makes the two comparable
    reference = preprocess_image(load(folder / REFERENCE))
    work = partial(measure_frame, folder, reference=reference, images=images)
    others = {name: told[name] for name in names if name != REFERENCE}
    series = Series(constant=choose_constant(reference.stars, EVENT))
    if n_processes == 1:
        parts = map(work, others, others.values())
        return reduce(Series.join, parts, series)
    with ProcessPoolExecutor(n_processes, mp_context=get_context("fork")) as pool:
        return reduce(Series.join, pool.map(work, others, others.values()), series)


def measure_frame(
    folder: Path,
    name: str,
    told: tuple[float, float, float],
    *,
    reference: Preprocessed,
    images: Path | None,
) -> Series:
    """A series of one frame."""
    row = Row(short(name))
    series = Series(constant=choose_constant(reference.stars, EVENT), rows=[row])
    start = time.perf_counter()
    try:
        science = preprocess_image(load(folder / name))
        made = subtract_reference(reference, science)
        forced = force_flux(made, EVENT)
    except AlgorithmError as error:
        row.verdict, row.answer = "refused", str(error)
        series.refused.append(f"{row.pair}: {error}")
        return series
    pair = search(row, science, made, forced)
    if np.isfinite(forced.flux):
        add_epoch(series, name, told, science=science, made=made, forced=forced)
    else:
        series.refused.append(f"{row.pair}: the event is masked")
    # a difference that failed is searched for nothing
    if made.subtraction.quality != "fail":
        add_places(series, pair, made, forced)
    row.seconds = time.perf_counter() - start
    if images is not None and name == SHOWN:
        place = (forced.position.x, forced.position.y)
        picture(pair, images / "real-saao.png", marks=[place], zoom=place)
    return series


def read_table(folder: Path) -> dict[str, tuple[float, float, float]]:
    """Start [MJD], flux above frame 0001 and its error [adu] of each frame."""
    with (folder / "event_lightcurve_check.csv").open() as stream:
        return {
            row["file"]: (
                float(row["mjd_start"]),
                float(row["event_flux_vs_ref_adu"]),
                abs(float(row["event_flux_vs_ref_adu"]) / float(row["snr"])),
            )
            for row in csv.DictReader(stream)
        }


def search(row: Row, science: Preprocessed, made: EpochDifference, forced: ForcedEpoch) -> Pair:
    """Candidates of one frame, and what the row says of it."""
    peaks = find_candidates(made.subtraction)
    measured = measure(made.subtraction, made.template, science.image, peaks, stars=science.stars)
    kept = [m for m in measured if all(cut.kept for cut in apply_cuts(m, CutConfig()))]
    rms = made.registration.rms_pix
    row.registration = f"{made.registration.method}, {made.registration.n_matched} stars"
    row.registration += "" if rms is None else f", rms {rms:.3f} pix"
    describe(row, made.subtraction, n_peaks=len(peaks), n_kept=len(kept))
    # one remark for each of 47 frames would bury the table
    row.remarks.clear()
    row.answer = f"flux {forced.flux:.0f} ± {forced.flux_error:.0f}"
    return Pair(made.template, science, made.subtraction, measured, kept)


def add_epoch(
    series: Series,
    name: str,
    told: tuple[float, float, float],
    *,
    science: Preprocessed,
    made: EpochDifference,
    forced: ForcedEpoch,
) -> None:
    """The event in one frame, by the PSF and in the table's own aperture."""
    psf = science.image.psf
    if psf is None:
        msg = "science: a subtracted frame has a PSF"
        raise ValueError(msg)
    at = forced.position
    total_ratio = made.subtraction.metrics["flux_ratio"]
    if not isinstance(total_ratio, float):
        msg = "difference: has no sum of its kernel"
        raise TypeError(msg)
    series.names.append(name)
    series.mjd.append(told[0])
    series.table.append(told[1:])
    series.forced.append(forced)
    enclosed = energy_within(psf, at)
    series.to_table.append(scale_to_table(forced, enclosed=enclosed, total_ratio=total_ratio))
    # the difference has been whitened: its PSF is not the frame's
    to_frame = enclosed / energy_within(made.subtraction.psf, at) / total_ratio
    total = aperture_sum(made.flat.data, at)
    series.aperture.append(np.nan if total is None else total * to_frame)
    series.constant.add(made, to_table=to_frame, table_error=told[2])
    series.rms.append(made.registration.rms_pix or np.nan)


def scale_to_table(forced: ForcedEpoch, *, enclosed: float, total_ratio: float) -> float:
    """Sum within the table's aperture, over the ratio of all light, of a forced flux of one.

    The forced flux is on the scale of the stars' PSF fluxes, which holds what a frame's PSF misses
    of its stars' wings and is steady from frame to frame. A sum of pixels knows of no PSF: the
    scale on which it is steady is that of all light, which is the sum of the kernel. Here the two
    differ by up to a tenth, as no star of a crowded frame has wings of its own.
    """
    return enclosed * forced.flux_ratio / total_ratio


def energy_within(psf: PsfField, at: Position) -> float:
    """Share of the PSF's light within the table's aperture."""
    return sum_within(psf.at(at.x, at.y)[0], 0.0, 0.0)


def add_places(series: Series, pair: Pair, made: EpochDifference, forced: ForcedEpoch) -> None:
    """Kept candidates that are not the event, as places on the reference."""
    at = forced.position
    others = [m for m in pair.kept if np.hypot(m.x - at.x, m.y - at.y) > 3.0]
    series.n_other.append(len(others))
    series.mpix += float((made.subtraction.score != 0).sum()) / 1e6
    for m in others:
        x, y = made.registration.to_reference(np.array([m.x]), np.array([m.y]))
        series.places.append((float(x[0]), float(y[0])))


def agree(ours: Values, table: Values, error: Values) -> Agreement:
    """How well one curve follows another after one scale and one offset."""
    design = np.column_stack([ours, np.ones_like(ours)])
    kept = np.ones(len(ours), dtype=bool)
    for _ in range(20):
        weight = kept / error
        scale, offset = np.linalg.lstsq(design * weight[:, None], table * weight, rcond=None)[0]
        left = scale * ours + offset - table
        pull = 1.4826 * float(np.median(np.abs(left / error)))
        kept = np.abs(left / error) < 5.0 * pull
    scatter = 1.4826 * float(np.median(np.abs(left)))
    return Agreement(float(scale), float(offset), pull, scatter, len(ours))


def neighbours(mjd: Values, flux: Values, error: Values) -> tuple[float, int]:
    """Width of the change between frames within 0.02 day, in units of its error, and the pairs."""
    first = np.flatnonzero(np.diff(mjd) < 0.02)
    change = np.diff(flux)[first] / np.hypot(error[first], error[first + 1])
    return float(1.4826 * np.median(np.abs(change))), len(first)


def recurring(places: list[tuple[float, float]]) -> tuple[int, int]:
    """Places found in at least three frames, and candidates that belong to none of them."""
    left, n_places, n_single = list(places), 0, 0
    while left:
        x, y = left[0]
        here = [p for p in left if np.hypot(p[0] - x, p[1] - y) <= SAME_PLACE_PIX]
        left = [p for p in left if p not in here]
        if len(here) >= 3:
            n_places += 1
        else:
            n_single += len(here)
    return n_places, n_single


def summary(series: Series) -> Iterator[Row]:
    """The series in a few lines."""
    mjd = np.array(series.mjd)
    table, error = np.array(series.table).T
    flux = np.array([f.flux for f in series.forced])
    flux_error = np.array([f.flux_error for f in series.forced])
    to_table = np.array(series.to_table)
    n_all = len(series.names) + len(series.refused)
    row = Row("all frames")
    row.answer = f"{len(series.names)} of {n_all} registered by stars alone"
    row.registration = f"stars, median rms {np.nanmedian(series.rms):.3f} pix"
    row.remarks += series.refused
    yield row
    curves = {
        "table's 4-pixel aperture": (np.array(series.aperture), error),
        "PSF flux times the PSF's light in it": (flux * to_table, error),
        "the same, both errors together": (
            flux * to_table,
            np.hypot(error, flux_error * to_table),
        ),
    }
    for name, (ours, sigma) in curves.items():
        found = agree(ours, table, sigma)
        row = Row(f"light curve: {name}")
        row.answer = (
            f"scale {found.scale:.3f}, offset {found.offset:.0f} adu, scatter against the table "
            f"{found.scatter:.0f} adu = {found.pull:.2f} of the errors, {found.n_epochs} epochs"
        )
        yield row
    ours_width, n_pairs = neighbours(mjd, flux, flux_error)
    table_width, _ = neighbours(mjd, table, error)
    row = Row("frames within 30 minutes of each other")
    row.answer = (
        f"change between neighbours in units of its own error: {ours_width:.1f} here, "
        f"{table_width:.1f} in the table ({n_pairs} pairs)"
    )
    yield row
    yield from series.constant.summary()
    n_places, n_single = recurring(series.places)
    row = Row("star field")
    row.answer = (
        f"in the {len(series.n_other)} frames whose difference did not fail, "
        f"{np.mean(series.n_other):.1f} kept candidates a frame besides the event "
        f"(median {np.median(series.n_other):.0f}): {n_places} places that recur in 3 or more "
        f"frames, and {n_single / series.mpix:.1f} single ones per Mpix"
    )
    yield row


def draw(series: Series, path: Path) -> None:
    """Our light curve."""
    epochs = [
        Epoch(key=name, mjd=mjd, band="SAAO I", flux=f.flux, flux_error=f.flux_error)
        for name, mjd, f in zip(series.names, series.mjd, series.forced, strict=True)
        if np.isfinite(f.flux)
    ]
    chart = lay_out_chart(epochs, quantity="flux", width=880, height=320)
    if chart is not None:
        title = "KB13475: difference flux above the frame of 2013-06-27 [adu]"
        path.write_text(draw_light_curve(chart, title=title))
