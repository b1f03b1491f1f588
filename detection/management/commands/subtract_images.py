"""Subtract two FITS files and list what changed; needs no database."""

from __future__ import annotations

import json
import resource
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.core.management.base import BaseCommand, CommandError
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError, ImageReadError
from astrid_site.imaging.fits_io import ImageSource, read_image, read_plane, write_image
from astrid_site.imaging.fits_process import reader_usage
from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskArray, MaskPlane
from detection.management.subtraction_frames import bring_together
from observations.algorithms.headers import read_metadata

if TYPE_CHECKING:
    from astrid_site.imaging.psf import PsfField
    from detection.algorithms.measurement import Measurement
    from differencing.algorithms.subtract import Subtraction
    from preprocessing.algorithms.preprocess import Preprocessed

_EXIT_BAD_INPUT = 2
#: From saturated bytes to frames calibrated in janskys [electrons per unit].
_PLAUSIBLE_GAIN = (1e-4, 1e9)


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
        parser.add_argument("--aligned", action="store_true", help="the two share one pixel grid")
        parser.add_argument(
            "--method", choices=("auto", "kernel", "zogy"), default="auto", help="how to subtract"
        )
        parser.add_argument("--threads", type=int, default=1, help="threads of the heavy parts")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run the stages; bad input ends in one line and exit code 2."""
        clock = _StageClock(self.stderr.write)
        try:
            _subtract_files(options, clock)
        except (ImageReadError, AlgorithmError) as error:
            raise CommandError(_one_line(error), returncode=_EXIT_BAD_INPUT) from error
        except OSError as error:
            path = error.filename or options["output"]
            message = f"{path}: {error.strerror or error}"
            raise CommandError(message, returncode=_EXIT_BAD_INPUT) from error


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
        peaks = own.ru_maxrss / 1024.0, readers.peak_mb
        return {
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
            "total_seconds": round(time.perf_counter() - self._start, 4),
            "cpu_seconds": round(own.ru_utime + own.ru_stime + readers.cpu_seconds, 4),
            "peak_memory_mb": round(sum(peaks), 1),
            "peak_memory_self_mb": round(peaks[0], 1),
            "peak_memory_reader_mb": round(peaks[1], 1),
        }


def _subtract_files(options: dict[str, Any], clock: _StageClock) -> None:
    """From two files to the products."""
    output: Path = options["output"]
    output.mkdir(parents=True, exist_ok=True)
    with clock.stage("read"):
        reference_source = _read(options["reference"], options["reference_mask"])
        science_source = _read(options["science"], options["science_mask"])
        given = {
            name: _read_given(name, options, source.image.shape)
            for name, source in (("reference", reference_source), ("science", science_source))
        }
        notes = _odd_about(reference_source, science_source)
    # torch and its relatives take a second to load: only once the files are known to be good
    import torch

    from detection.algorithms.candidates import find_candidates
    from differencing.algorithms.subtract import SubtractionConfig, subtract
    from preprocessing.algorithms.preprocess import preprocess_image

    torch.set_num_threads(max(1, options["threads"]))
    with clock.stage("preprocess"):
        reference, science = (
            _named(name, preprocess_image, source.image, **given[name])
            for name, source in (("reference", reference_source), ("science", science_source))
        )
    with clock.stage("register"):
        frames = bring_together(reference, science, aligned=options["aligned"])
        template, science = frames.template, frames.science
    # only now: that the frames show different parts of the sky is the better reason
    for name, frame in (("reference", reference), ("science", science)):
        _require_psf(frame, name)
    with clock.stage("subtract"):
        subtraction = subtract(
            template,
            science.image,
            stars=science.stars,
            config=SubtractionConfig(method=options["method"], threads=options["threads"]),
        )
    subtraction = frames.judge(subtraction)
    with clock.stage("detect"):
        candidates = find_candidates(subtraction)
    with clock.stage("measure"):
        kept = _measure(subtraction, template, science, candidates)
    with clock.stage("write"):
        _write_products(output, subtraction, science_source, science)
        _write_candidates(output / "candidates.ecsv", kept, science.image)
    notes += frames.doubts
    record = clock.report() | {
        "method": subtraction.method,
        "method_reason": subtraction.method_reason,
        "quality": subtraction.quality,
        "quality_reasons": list(subtraction.quality_reasons),
        "metrics": subtraction.metrics,
        "n_peaks": len(candidates),
        "n_candidates": len(kept),
        "notes": [*notes, *reference.notes, *science.notes],
    }
    for note in notes:
        clock.say(f"warning: {note}")
    (output / "timing.json").write_text(json.dumps(record, indent=1) + "\n")
    clock.say(
        f"{len(kept)} candidates of {len(candidates)} peaks, {subtraction.method}, "
        f"quality {subtraction.quality}: {output}"
    )


def _read(path: Path, mask_path: Path | None) -> ImageSource:
    """An image with what its header says about the detector, and a mask given beside it."""
    source = read_image(path)
    said = read_metadata(source.header, keywords=None, file_name=path.name)
    image = source.image.with_(
        gain=said.gain,
        read_noise=said.read_noise,
        saturation=said.saturation,
        zero_point=said.zero_point,
        exposure_s=said.exposure_s,
    )
    if mask_path is not None:
        image = image.with_(mask=image.mask | _given_mask(mask_path, image.shape))
    return ImageSource(
        image=image,
        header=source.header,
        hdu=source.hdu,
        hdu_name=source.hdu_name,
        warnings=source.warnings,
        wcs_problem=source.wcs_problem,
    )


def _given_mask(path: Path, shape: tuple[int, int]) -> MaskArray:
    """A mask file as planes: whatever is not zero is the user's to reject."""
    plane = _plane_like(path, "mask", shape)
    return np.where(plane != 0, np.uint16(MaskPlane.USER), np.uint16(0)).astype(np.uint16)


def _read_given(
    name: str, options: dict[str, Any], shape: tuple[int, int]
) -> dict[str, NDArray[np.float32] | PsfField | None]:
    """Noise and PSF of one frame as the calibration takes them; None for what was not given."""
    noise_path, psf_path = options[f"{name}_noise"], options[f"{name}_psf"]
    return {
        "given_variance": None if noise_path is None else _given_variance(noise_path, shape),
        "given_psf": None if psf_path is None else _given_psf(psf_path, shape),
    }


def _given_variance(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Variance of a plane of 1-sigma errors; 0 on pixels that were not measured."""
    noise = _plane_like(path, "noise", shape)
    usable = np.isfinite(noise) & (noise > 0)
    if not usable.any():
        raise ImageReadError(
            "the noise is positive nowhere.",
            file_name=path.name,
            code="values",
            remedy="Give the standard deviation of each pixel, in the image's own unit.",
        )
    squares = np.where(usable, noise.astype(np.float64), 0.0) ** 2
    return np.asarray(squares, dtype=np.float32)


def _given_psf(path: Path, shape: tuple[int, int]) -> PsfField:
    """PSF of an image of a point source, the same over the frame."""
    from preprocessing.services import given_psf

    plane = read_plane(path)
    try:
        return given_psf(plane, shape=shape)
    except AlgorithmError as error:
        raise ImageReadError(
            f"{error.message} ({plane.shape[1]} x {plane.shape[0]} pixels).",
            file_name=path.name,
            code="shape",
            remedy="Give an image of at least 5 x 5 pixels with the star in its middle.",
        ) from error


def _plane_like(path: Path, what: str, shape: tuple[int, int]) -> NDArray[np.float32]:
    plane = read_plane(path)
    if plane.shape != shape:
        raise ImageReadError(
            f"the {what} has {plane.shape[1]} x {plane.shape[0]} pixels, the image "
            f"{shape[1]} x {shape[0]}.",
            file_name=path.name,
            code="shape",
            remedy=f"Give a {what} on the image's own pixels.",
        )
    return plane


def _named(
    name: str, calibrate: Callable[..., Preprocessed], *args: Any, **given: Any
) -> Preprocessed:
    """Calibrate one of two frames, and name it where that fails."""
    try:
        return calibrate(*args, **given)
    except AlgorithmError as error:
        raise AlgorithmError(f"{name}: {error.message}", **error.numbers) from error


def _odd_about(reference: ImageSource, science: ImageSource) -> list[str]:
    """What a person should know before believing the signs of the candidates."""
    times = [
        read_metadata(source.header, keywords=None, file_name="").observed_at
        for source in (reference, science)
    ]
    notes = [
        f"{name}: a gain of {gain:.3g} electrons per unit is implausible; the noise may be wrong"
        for name, gain in (("reference", reference.image.gain), ("science", science.image.gain))
        if gain is not None and not _PLAUSIBLE_GAIN[0] <= gain <= _PLAUSIBLE_GAIN[1]
    ]
    if times[0] is not None and times[1] is not None and times[0] > times[1]:
        notes.append(
            "the reference was taken after the science image: what faded since shows as brightening"
        )
    return notes


def _require_psf(frame: Preprocessed, name: str) -> None:
    """Refuse a frame whose stars were too few for a PSF, by name."""
    from preprocessing.algorithms.psf_fit import missing_psf

    if frame.image.psf is None:
        n_stars = frame.metrics["n_psf_stars"]
        error = missing_psf(n_stars if isinstance(n_stars, int) else 0)
        raise AlgorithmError(f"{name}: {error.message}", **error.numbers)


def _measure(
    subtraction: Subtraction, template: Image, science: Preprocessed, candidates: Any
) -> list[Measurement]:
    """Measurements of the candidates that pass every cut."""
    from detection.algorithms.measurement import CutConfig, apply_cuts, measure

    measured = measure(subtraction, template, science.image, candidates, stars=science.stars)
    config = CutConfig()
    return [m for m in measured if all(cut.kept for cut in apply_cuts(m, config))]


def _write_products(
    output: Path, subtraction: Subtraction, source: ImageSource, science: Preprocessed
) -> None:
    """difference.fits, score.fits and difference_psf.fits."""
    image = science.image
    history = [
        f"science minus template by {subtraction.method}: {subtraction.method_reason}",
        f"quality {subtraction.quality} " + "; ".join(subtraction.quality_reasons),
    ]
    difference = image.with_(
        data=subtraction.difference,
        variance=subtraction.variance,
        mask=subtraction.mask,
        psf=subtraction.psf,
    )
    write_image(output / "difference.fits", difference, header=source.header, history=history)
    score = Image(data=subtraction.score, mask=subtraction.mask, wcs=image.wcs, unit="")
    write_image(output / "score.fits", score, header={}, history=["significance [sigma]"])
    ny, nx = image.shape
    central = subtraction.psf.at((nx - 1) / 2.0, (ny - 1) / 2.0)[0]
    psf = Image(data=central, mask=np.zeros(central.shape, np.uint16), psf=subtraction.psf, unit="")
    write_image(
        output / "difference_psf.fits",
        psf,
        header={},
        history=["PSF of the difference at the centre; its field in HDU PSF"],
    )


def _write_candidates(path: Path, kept: list[Measurement], image: Image) -> None:
    """candidates.ecsv: positions 0-based, sky positions masked where there is no WCS."""
    from astropy.table import MaskedColumn, Table

    x = np.array([m.x for m in kept], dtype=np.float64)
    y = np.array([m.y for m in kept], dtype=np.float64)
    ra, dec = np.zeros(len(kept)), np.zeros(len(kept))
    if image.wcs is not None and len(kept):
        ra, dec = image.wcs.all_pix2world(x, y, 0)
    unknown = ~(np.isfinite(ra) & np.isfinite(dec)) | (image.wcs is None)
    table = Table(
        {
            "x": x,
            "y": y,
            "ra": MaskedColumn(np.where(unknown, 0.0, ra), mask=unknown, unit="deg"),
            "dec": MaskedColumn(np.where(unknown, 0.0, dec), mask=unknown, unit="deg"),
            "score": np.array([m.score for m in kept], dtype=np.float64),
            "flux": np.array([m.flux for m in kept], dtype=np.float64),
            "flux_error": np.array([m.flux_error for m in kept], dtype=np.float64),
            "flags": np.array([m.mask_flags for m in kept], dtype=np.int64),
        }
    )
    partial = path.with_name(path.name + ".part")
    table.write(partial, format="ascii.ecsv", overwrite=True)
    partial.replace(path)
