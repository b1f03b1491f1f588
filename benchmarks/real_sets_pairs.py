"""The real pairs: what is subtracted from what, and what is known about the answer."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astrid_site.imaging.display import shared_limits
from astrid_site.imaging.errors import AlgorithmError
from astrid_site.imaging.fits_io import read_image, read_plane
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.psf import constant_psf
from benchmarks.real_sets_pictures import Panel, pair_panels, write_picture
from benchmarks.real_sets_scatter import find_regions
from catalog.algorithms.forced_series import NamedFrame, build_series_reference
from detection.algorithms.candidates import find_candidates
from detection.algorithms.cuts import CutConfig, apply_cuts
from detection.algorithms.measurement import Measurement, measure
from differencing.algorithms.subtract import Subtraction, subtract
from observations.algorithms.headers import read_metadata
from preprocessing.algorithms.preprocess import Preprocessed, preprocess_image
from preprocessing.algorithms.psf_fit import missing_psf
from preprocessing.algorithms.registration import register
from preprocessing.algorithms.warp import warp

FloatArray = NDArray[np.float32]

#: Half width of the part of a given PSF that is used [pix].
PSF_HALF = 30
#: A significance map of the NIRCam pair that another program made, which came with the set.
OTHER_MAP = (
    "jw02561001002-02561-o001_t003_nircam_clear-f200w_i2d_stamp.crossConvd.sfftdiff"
    ".DeCorrelated.SNR.fits"
)
#: A candidate this close to a known place [pix] is the known source.
MATCH_PIX = 3.0


@dataclass
class Row:
    """One line of a set's table."""

    pair: str
    registration: str = "-"
    method: str = "-"
    verdict: str = "-"
    noise: str = "-"
    peaks: int = 0
    kept: int = 0
    answer: str = ""
    is_right: bool = True
    seconds: float = 0.0
    remarks: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """A finished subtraction with its measured candidates."""

    template: Image
    science: Preprocessed
    subtraction: Subtraction
    measured: list[Measurement]
    kept: list[Measurement]

    def near(self, x: float, y: float) -> Measurement | None:
        """The strongest peak at a known place, kept or not."""
        found = [m for m in self.measured if np.hypot(m.x - x, m.y - y) <= MATCH_PIX]
        return max(found, key=lambda m: abs(m.score), default=None)


def peak_memory_mb() -> float:
    """Peak of this process so far [MB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def load(path: Path) -> Image:
    """An image with what its header says about the detector."""
    source = read_image(path)
    said = read_metadata(source.header, keywords=None, file_name=path.name)
    return source.image.with_(
        gain=said.gain,
        read_noise=said.read_noise,
        saturation=said.saturation,
        zero_point=said.zero_point,
        exposure_s=said.exposure_s,
    )


def difference(
    reference: Preprocessed, science: Preprocessed, row: Row, *, is_aligned: bool = False
) -> Pair | None:
    """Register, warp, subtract, find and measure; a refusal fills the row and gives None."""
    start = time.perf_counter()
    try:
        found = register(
            reference.image,
            reference.stars,
            science.image,
            science_stars=science.stars,
            aligned=is_aligned,
        )
        rms = "" if found.rms_pix is None else f", rms {found.rms_pix:.3f} pix"
        row.registration = f"{found.method}, {found.n_matched} stars{rms}"
        template = reference.image
        if not is_aligned:
            template = warp(reference.image, found, shape=science.image.shape)
        for name, frame in (("reference", reference), ("science", science)):
            if frame.image.psf is None:
                missing = missing_psf(int(frame.metrics["n_psf_stars"] or 0))
                raise AlgorithmError(f"{name}: {missing.message}", **missing.numbers)
        made = subtract(template, science.image, stars=science.stars)
    except AlgorithmError as error:
        row.verdict, row.seconds = "refused", time.perf_counter() - start
        row.remarks.append(str(error))
        return None
    peaks = find_candidates(made)
    measured = measure(made, template, science.image, peaks, stars=science.stars)
    kept = [m for m in measured if all(cut.kept for cut in apply_cuts(m, CutConfig()))]
    describe(row, made, n_peaks=len(peaks), n_kept=len(kept))
    row.seconds = time.perf_counter() - start
    return Pair(template, science, made, measured, kept)


def describe(row: Row, made: Subtraction, *, n_peaks: int, n_kept: int) -> None:
    """What the engine says about its own work."""
    width, lag = made.metrics["pull_width_propagated"], made.metrics["lag1"]
    after = made.metrics["pull_width"]
    row.method, row.verdict = made.method, made.quality
    row.noise = f"{width:.2f} → {after:.2f}, lag-1 {lag:+.2f}" if after is not None else "-"
    row.peaks, row.kept = n_peaks, n_kept
    row.remarks += [made.method_reason, *made.quality_reasons]


def picture(
    pair: Pair,
    path: Path,
    *,
    marks: Sequence[tuple[float, float]] = (),
    zoom: tuple[float, float] | None = None,
) -> None:
    """The four images of a pair."""
    hidden = (pair.subtraction.mask & np.uint16(0x23F)) != 0
    made = pair.subtraction
    panels = pair_panels(
        pair.science.image.data,
        pair.template.data,
        np.where(hidden, np.nan, made.difference).astype(np.float32),
        np.where(hidden, np.nan, made.score).astype(np.float32),
    )
    write_picture(path, panels, marks=marks, zoom=zoom)


def answer_known(row: Row, pair: Pair, x: float, y: float, *, sign: int, must_keep: bool) -> None:
    """Whether the known source is where it is known to be."""
    found = pair.near(x, y)
    if found is None or found.sign != sign:
        row.answer, row.is_right = f"known source at ({x:g}, {y:g}) NOT found", False
        return
    is_kept = any(m is found for m in pair.kept)
    row.answer = (
        f"known source found: {found.score:+.1f} σ (flux S/N {found.snr:.0f}), "
        f"{np.hypot(found.x - x, found.y - y):.1f} pix off"
    )
    if not is_kept:
        failed = [cut.name for cut in apply_cuts(found, CutConfig()) if not cut.kept]
        row.answer += f", flagged by {', '.join(failed)}"
        row.is_right = not must_keep
    others = row.kept - is_kept
    row.answer += f"; {others} other candidates"


def answer_null(row: Row, pair: Pair, *, allowed: int) -> None:
    """Whether a pair without changes stays quiet."""
    mpix = pair.subtraction.difference.size / 1e6
    row.is_right = row.kept <= allowed
    row.answer = (
        f"nothing is known to change: {row.kept} candidates ({row.kept / mpix:.1f} per Mpix)"
    )


def run_decam(data: Path, images: Path) -> list[Row]:
    """Five frames of the night with the transient, and one without, against the other night."""
    folder = data / "decam_2018_transient" / "input_data"
    nights = {
        night: [
            NamedFrame(f"{night}{c}", preprocess_image(load(folder / f"DEC-{night}{c}.mini.fits")))
            for c in "abcde"
        ]
        for night in ("OBS04", "OBS18")
    }
    rows: list[Row] = []
    quiet = nights["OBS18"]
    jobs = [(frame, quiet, True) for frame in nights["OBS04"]] + [(quiet[-1], quiet[:-1], False)]
    for science, epochs, is_there in jobs:
        reference = build_series_reference(epochs[0], epochs[1:])
        row = Row(f"{science.name} − {len(reference.names)} frames of OBS18")
        row.remarks += reference.notes
        pair = difference(reference.frame, science.frame, row)
        rows.append(row)
        if pair is None:
            row.is_right = False
        elif is_there:
            answer_known(row, pair, 127.9, 127.5, sign=1, must_keep=True)
            if science.name == "OBS04a":
                place = (127.9, 127.5)
                picture(pair, images / "real-decam.png", marks=[place], zoom=place)
        else:
            answer_null(row, pair, allowed=1)
    return rows


def run_nircam(data: Path, images: Path) -> list[Row]:
    """The later epoch minus the earlier one, with the PSF and noise that came with them."""
    folder = data / "jwst_nircam_a2744"
    stems = (
        "jw01324001001-01324-o001_t001_nircam_clear-f200w_i2d_stamp",
        "jw02561001002-02561-o001_t003_nircam_clear-f200w_i2d_stamp",
    )
    masked = read_plane(folder / "auxiliary" / f"{stems[1]}.mask4sfft.fits") != 0
    row = Row("2022-11-02 − 2022-06-29, F200W")
    row.remarks.append(f"the set's own fitting mask leaves out {masked.mean():.0%} of the frame")
    early, late = (_with_companions(folder, stem) for stem in stems)
    pair = difference(early, late, row, is_aligned=True)
    if pair is None:
        row.is_right = False
        return [row]
    # on a galaxy whose core leaves a residual: its shape may be flagged, its place not missed
    answer_known(row, pair, 233, 646, sign=-1, must_keep=False)
    lesser = [(260, 736, 1), (317, 13, -1), (282, 625, 1)]
    scores = [(x, y, pair.near(x, y)) for x, y, _ in lesser]
    row.remarks.append(
        "lesser suspects: "
        + ", ".join(
            f"({x}, {y}) {m.score:+.1f} σ" if m else f"({x}, {y}) none" for x, y, m in scores
        )
    )
    picture(pair, images / "real-nircam.png", marks=[(233, 646)], zoom=(233, 646))
    return [compare_scatter(early, pair, read_plane(folder / "4check" / OTHER_MAP)), row]


def compare_scatter(early: Preprocessed, pair: Pair, other: FloatArray) -> Row:
    """How well the galaxies cancel, in our difference and in the map that came with the set."""
    planes = [(i.data, i.variance) for i in (early.image, pair.science.image)]
    first, second = (
        np.divide(data, np.sqrt(variance), out=np.zeros_like(data), where=variance > 0)
        for data, variance in planes
        if variance is not None
    )
    made = pair.subtraction
    # the other map is 0 beyond what it was made of
    usable = (made.mask == 0) & (made.variance > 0) & (other != 0)
    regions = find_regions(first, second, usable=usable)
    significance = np.where(usable, made.difference / np.sqrt(made.variance), np.nan)
    ours, theirs = regions.ratio(significance), regions.ratio(other)
    row = Row("scatter where both epochs show more than 10 sigma, over that of blank sky")
    row.answer = f"{ours:.3f} here, {theirs:.3f} in the map that came with the set"
    row.figures = {"ours": ours, "theirs": theirs}
    row.is_right = ours < theirs
    return row


def _with_companions(folder: Path, stem: str) -> Preprocessed:
    """A frame with its noise plane and its PSF."""
    image = load(folder / "input_data" / f"{stem}.fits")
    noise = read_plane(folder / "auxiliary" / f"{stem}.noise.fits").astype(np.float64)
    usable = np.isfinite(noise) & (noise > 0)
    model = read_plane(folder / "auxiliary" / f"{stem}.WebbPSF.fits")
    row, column = np.unravel_index(int(model.argmax()), model.shape)
    cut = np.s_[row - PSF_HALF : row + PSF_HALF + 1, column - PSF_HALF : column + PSF_HALF + 1]
    psf = constant_psf(model[cut], shape=image.shape)
    variance = np.where(usable, noise**2, 0.0).astype(np.float32)
    return preprocess_image(image, given_psf=psf, given_variance=variance)


def run_eso085(data: Path, images: Path) -> list[Row]:
    """Two frames 74 seconds apart: nothing may be found."""
    folder = data / "eso085_same_night_pair"
    early, late = (preprocess_image(load(folder / f"aligned_eso085-030-00{i}.fit")) for i in (4, 5))
    row = Row("06:27:38 − 06:26:24")
    pair = difference(early, late, row)
    if pair is None:
        row.is_right = False
    else:
        answer_null(row, pair, allowed=2)
        picture(pair, images / "real-eso085.png")
    return [row]


def run_spiral(data: Path, images: Path) -> list[Row]:
    """One galaxy across surveys: other pixels, other parity, and a WCS that is wrong."""
    folder = data / "spiral_3surveys"
    rows = []
    for band in "griz":
        frames = {s: preprocess_image(load(folder / f"{s}_{band}.fits")) for s in ("PS1", "DES")}
        row = Row(f"DES {band} − PS1 {band}")
        pair = difference(frames["PS1"], frames["DES"], row)
        rows.append(row)
        if pair is not None:
            answer_null(row, pair, allowed=1)
            if band == "r":
                picture(pair, images / "real-spiral.png")
        else:
            row.answer = "registered, and not subtracted: too few stars for a PSF"
            if band == "r":
                _unsubtracted_picture(frames["PS1"], frames["DES"], images / "real-spiral.png")
        wrong = Row(f"SDSS {band} − PS1 {band}")
        try:
            sdss = preprocess_image(load(folder / f"SDSS_{band}.fits"))
        except AlgorithmError as error:
            wrong.verdict, wrong.answer = "refused", str(error)
        else:
            wrong.is_right = difference(frames["PS1"], sdss, wrong) is None
            wrong.answer = "the wrong WCS was noticed" if wrong.is_right else "WCS BELIEVED"
        rows.append(wrong)
    return rows


def _unsubtracted_picture(reference: Preprocessed, science: Preprocessed, path: Path) -> None:
    """Both frames on the science grid, each on its own scale."""
    found = register(reference.image, reference.stars, science.image, science_stars=science.stars)
    template = warp(reference.image, found, shape=science.image.shape)
    panels = [
        Panel("science (DES r)", science.image.data, shared_limits([science.image.data]), "asinh"),
        Panel(
            "reference (PS1 r) on its grid", template.data, shared_limits([template.data]), "asinh"
        ),
    ]
    write_picture(path, panels)


def run_singles(data: Path, images: Path) -> list[Row]:
    """Frames without a partner: read, masked and measured."""
    folder = data / "single_frames_dev"
    rows = []
    names = ("ystar_satellite_streak.fits", "ntt_emmi_na36.fits", "panoptes_solved.fits.fz")
    for name in names:
        start = time.perf_counter()
        row = Row(name)
        rows.append(row)
        try:
            done = preprocess_image(load(folder / name))
        except AlgorithmError as error:
            row.verdict, row.answer, row.is_right = "refused", str(error), False
            continue
        planes = {p.name: float(((done.image.mask & p) != 0).mean()) for p in _shown_planes()}
        shares = ", ".join(f"{n} {100 * v:.2f} %" for n, v in planes.items() if v > 0)
        width = done.metrics["fwhm_pix"]
        row.answer = (
            f"{len(done.stars)} sources, FWHM {width:.2f} pix" if width else "no PSF"
        ) + f"; masked: {shares or 'nothing'}"
        row.remarks += done.notes
        row.seconds = time.perf_counter() - start
        if name.startswith("ystar"):
            _single_picture(done, images / "real-singles.png")
    return rows


def _shown_planes() -> Iterator[MaskPlane]:
    yield from MaskPlane


def _single_picture(done: Preprocessed, path: Path) -> None:
    """A frame and the same frame with its masked pixels marked."""
    limits = shared_limits([done.image.data])
    shown = np.where(done.image.mask != 0, np.nan, done.image.data).astype(np.float32)
    write_picture(
        path,
        [
            Panel("science", done.image.data, limits, "zscale"),
            Panel("masked pixels", shown, limits, "zscale"),
        ],
    )
