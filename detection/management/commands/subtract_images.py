"""Subtract two FITS files and list what changed; needs no database."""

from __future__ import annotations

import errno
import os
import resource
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from astrid_site.imaging.errors import AlgorithmError, ImageReadError
from astrid_site.imaging.fits_io import ImageSource, read_image
from astrid_site.imaging.fits_process import reader_usage
from astrid_site.imaging.fits_reader_child import own_peak_kib
from astrid_site.imaging.freed_memory import give_back_freed_memory, keep_freed_memory
from astrid_site.imaging.image import Image
from detection.management.subtraction_depth import describe_depth
from detection.management.subtraction_frames import bring_together
from detection.management.subtraction_given import read_given, with_mask
from detection.management.subtraction_notes import all_notes, bands_of, doubts_of, odd_about
from detection.management.subtraction_products import (
    CANDIDATES,
    PRODUCTS,
    RECORD,
    describe_registration,
    describe_run,
    forget_former_run,
    write_candidates,
    write_images,
    write_record,
)
from detection.management.subtraction_second import ask_second_method
from observations.algorithms.headers import read_metadata

if TYPE_CHECKING:
    from detection.algorithms.measurement import Measurement
    from differencing.algorithms.subtract import Subtraction
    from preprocessing.algorithms.preprocess import Preprocessed

_EXIT_BAD_INPUT = 2
_ROLES = ("reference", "science")
_METHODS = ("kernel", "zogy", "alard_lupton")
#: Least significance of a candidate [sigma].
_THRESHOLD = 5.0


class Command(BaseCommand):
    """manage.py subtract_images REFERENCE SCIENCE --output DIR."""

    help = "Subtract a reference from a science image and list the candidates; no database."
    # the command must run where nothing is configured
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Two images, an output folder, and what is known about them."""
        parser.add_argument("reference", type=Path, help="FITS file of the earlier epoch")
        parser.add_argument("science", type=Path, help="FITS file of the epoch to search")
        parser.add_argument("--output", type=Path, required=True, help="folder for the products")
        parser.add_argument("--reference-mask", type=Path, help="FITS plane, non-zero is unusable")
        parser.add_argument("--science-mask", type=Path, help="FITS plane, non-zero is unusable")
        for name in ("reference", "science"):
            parser.add_argument(
                f"--{name}-noise", type=Path, help="FITS plane, 1 sigma of each pixel"
            )
            parser.add_argument(f"--{name}-psf", type=Path, help="FITS image of a point source")
            parser.add_argument(
                f"--{name}-hdu",
                type=_hdu,
                help="which image of a file of several",
            )
        parser.add_argument("--aligned", action="store_true", help="the two share one pixel grid")
        parser.add_argument(
            "--method", choices=("auto", *_METHODS), default="auto", help="how to subtract"
        )
        parser.add_argument(
            "--second-method", choices=_METHODS, help="ask another about every candidate as well"
        )
        parser.add_argument(
            "--threads",
            type=int,
            default=len(os.sched_getaffinity(0)),
            help="threads of the heavy parts; as many as there are processors by default",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run the stages; bad input ends in one line and exit code 2."""
        clock = _StageClock(self.stderr.write)
        if options["threads"] < 1:
            msg = f"--threads: at least 1 is needed, got {options['threads']}"
            raise CommandError(msg, returncode=_EXIT_BAD_INPUT)
        keep_freed_memory()
        try:
            _prepare_output(options)
            with _all_or_nothing(options["output"]):
                _subtract_files(options, clock)
        except (ImageReadError, AlgorithmError) as error:
            raise CommandError(_one_line(error), returncode=_EXIT_BAD_INPUT) from error
        except OSError as error:
            path = error.filename or options["output"]
            raise CommandError(f"{path}: {_why(error)}", returncode=_EXIT_BAD_INPUT) from error


@contextmanager
def _all_or_nothing(output: Path) -> Iterator[None]:
    """Remove what was written if the run does not end well."""
    is_done = False
    try:
        yield
        is_done = True
    finally:
        if not is_done:
            forget_former_run(output)


def _why(error: OSError) -> str:
    """What the system says; numpy has no number for a write that ended short."""
    is_short = error.errno is None and "requested and" in str(error)
    if is_short or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "there is no room to write the products"
    return error.strerror or _one_line(error)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


class _StageClock:
    """Measures the stages and says so as they pass."""

    def __init__(self, write: Any) -> None:
        self.say = write
        self._start = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage."""
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        self.say(f"{name}: {self.seconds[name]:.2f} s")

    def report(self) -> dict[str, Any]:
        """Seconds per stage and peak memory [MB] of this process and of its readers."""
        own, readers = resource.getrusage(resource.RUSAGE_SELF), reader_usage()
        peaks = own_peak_kib() / 1024.0, readers.peak_mb
        return {
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
            "total_seconds": round(time.perf_counter() - self._start, 4),
            "cpu_seconds": round(own.ru_utime + own.ru_stime + readers.cpu_seconds, 4),
            "peak_memory_mb": round(sum(peaks), 1),
            "peak_memory_self_mb": round(peaks[0], 1),
            "peak_memory_reader_mb": round(peaks[1], 1),
        }


def _prepare_output(options: dict[str, Any]) -> None:
    """An output folder without the products of a former run; what is to be read is not touched."""
    output: Path = options["output"]
    output.mkdir(parents=True, exist_ok=True)
    targets = {(output / name).resolve() for name in PRODUCTS}
    for name in ("reference", "science"):
        for key in (name, f"{name}_mask", f"{name}_noise", f"{name}_psf"):
            if options[key] is not None and options[key].resolve() in targets:
                msg = f"{options[key]}: would be overwritten; choose another --output"
                raise CommandError(msg, returncode=_EXIT_BAD_INPUT)
    forget_former_run(output)


def _subtract_files(options: dict[str, Any], clock: _StageClock) -> None:
    """From two files to the products."""
    output: Path = options["output"]
    with clock.stage("read"):
        pair, given, notes = _read_pair(options)
    # torch and its relatives take a second to load: only once the files are known to be good
    from detection.algorithms.candidates import find_candidates
    from differencing.algorithms.subtract import SubtractionConfig, subtract

    _let_libraries_use_one_thread()
    with clock.stage("preprocess"):
        reference, science = _calibrate(pair, given, threads=options["threads"])
    with clock.stage("register"):
        frames = bring_together(
            reference, science, aligned=options["aligned"], threads=options["threads"]
        )
        template, science = frames.template, frames.science
        reference = reference.without_pixels()
        pair["reference"] = replace(pair["reference"], image=reference.image)
    give_back_freed_memory()
    _require_psfs(reference, science)
    with clock.stage("subtract"):
        subtraction = subtract(
            template,
            science.image,
            stars=science.stars,
            config=SubtractionConfig(method=options["method"], threads=options["threads"]),
            in_place=options["second_method"] is None,
        )
    subtraction = frames.judge(subtraction, bands=bands_of(pair))
    with clock.stage("detect"):
        candidates = find_candidates(subtraction, threshold=_THRESHOLD)
    with clock.stage("measure"):
        kept = _measure(subtraction, template, science, candidates)
    opinion = ask_second_method(
        options, subtraction, template, science, kept=kept, threshold=_THRESHOLD
    )
    notes += [*frames.doubts, *doubts_of(reference, science, subtraction, opinion)]
    every_note = all_notes(notes, reference, science)
    with clock.stage("write"):
        write_images(output, subtraction, pair["science"], science)
        depth = describe_depth(subtraction, science.image.zero_point)
        meta = _meta(options, subtraction, science, pair["science"]) | depth
        meta["notes"] = every_note
        write_candidates(output / CANDIDATES, kept, science.image, meta=meta, opinion=opinion)
    numbers: dict[str, Any] = {
        "n_peaks": len(candidates),
        "n_candidates": len(kept),
        "registration": describe_registration(frames.registration, science.image.shape),
        "notes": every_note,
    }
    for note in notes:
        clock.say(f"warning: {note}")
    write_record(output / RECORD, subtraction, clock.report() | depth | numbers)
    clock.say(
        f"{len(kept)} candidates of {len(candidates)} peaks, {subtraction.method}, "
        f"quality {subtraction.quality}: {output}"
    )


def _let_libraries_use_one_thread() -> None:
    """Leave the division of the work to us: each of our threads takes a part of the frame.

    The libraries' own threads wait for each other in loops: with two of each the whole took a
    fifth more processor time. A library that is not loaded yet would not be reached.
    """
    import torch
    from threadpoolctl import threadpool_limits

    import preprocessing.algorithms.preprocess  # noqa: F401

    torch.set_num_threads(1)
    threadpool_limits(limits=1)


def _read_pair(
    options: dict[str, Any],
) -> tuple[dict[str, ImageSource], dict[str, dict[str, Any]], list[str]]:
    """Both images by their role, what was given beside each, and what is odd about them."""
    pair, given, told = {}, {}, []
    for name in _ROLES:
        pair[name], said = with_mask(name, options, _read(options[name], options[f"{name}_hdu"]))
        given[name], more = read_given(name, options, pair[name])
        told += [f"{name}: {note}" for note in (*said, *more)]
    names = (options["reference"].name, options["science"].name)
    return pair, given, odd_about(pair["reference"], pair["science"], names=names) + told


def _hdu(text: str) -> str | int:
    return int(text) if text.isdigit() else text


def _read(path: Path, hdu: str | int | None) -> ImageSource:
    """An image with what its header says about the detector."""
    source = read_image(path, hdu=hdu)
    said = read_metadata(source.header, keywords=None, file_name=path.name)
    image = source.image.with_(
        gain=said.gain,
        read_noise=said.read_noise,
        saturation=said.saturation,
        zero_point=said.zero_point,
        exposure_s=said.exposure_s,
    )
    return replace(source, image=image)


def _calibrate(
    pair: dict[str, ImageSource], given: dict[str, dict[str, Any]], *, threads: int
) -> tuple[Preprocessed, Preprocessed]:
    """Both frames calibrated, at the same time where there are threads for it."""
    from preprocessing.algorithms.preprocess import preprocess_image

    def calibrate(name: str) -> Preprocessed:
        frame = _named(name, preprocess_image, pair[name].image, **given[name], in_place=True)
        # what was read and given beside it has done its work
        pair[name] = replace(pair[name], image=frame.image)
        given[name].clear()
        return frame

    with ThreadPoolExecutor(min(threads, len(_ROLES))) as pool:
        reference, science = pool.map(calibrate, _ROLES)
    return reference, science


def _named(
    name: str, calibrate: Callable[..., Preprocessed], *args: Any, **given: Any
) -> Preprocessed:
    """Calibrate one of two frames, and name it where that fails."""
    try:
        return calibrate(*args, **given)
    except AlgorithmError as error:
        raise AlgorithmError(f"{name}: {error.message}", **error.numbers) from error


def _require_psfs(reference: Preprocessed, science: Preprocessed) -> None:
    """Refuse a frame whose stars were too few for a PSF, by name.

    Only after the registration: that the frames show different sky is the better reason.
    """
    from preprocessing.algorithms.psf_fit import missing_psf

    for name, frame in (("reference", reference), ("science", science)):
        if frame.image.psf is None:
            n_stars = frame.metrics["n_psf_stars"]
            error = missing_psf(n_stars if isinstance(n_stars, int) else 0)
            raise AlgorithmError(f"{name}: {error.message}", **error.numbers)


def _meta(
    options: dict[str, Any], subtraction: Subtraction, science: Preprocessed, source: ImageSource
) -> dict[str, Any]:
    return describe_run(
        subtraction,
        science,
        source,
        reference_file=options["reference"].name,
        science_file=options["science"].name,
        threshold=_THRESHOLD,
    )


def _measure(
    subtraction: Subtraction, template: Image, science: Preprocessed, candidates: Any
) -> list[Measurement]:
    """Measurements of the candidates that pass every cut."""
    from detection.algorithms.cuts import CutConfig, apply_cuts
    from detection.algorithms.measurement import measure

    measured = measure(subtraction, template, science.image, candidates, stars=science.stars)
    config = CutConfig()
    return [m for m in measured if all(cut.kept for cut in apply_cuts(m, config))]
