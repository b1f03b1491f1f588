"""Measure one position in every frame of a series; needs no database and no world coordinates."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.core.management.base import BaseCommand, CommandError

from astrid_site.imaging.errors import AlgorithmError, ImageReadError
from astrid_site.imaging.fits_io import read_image
from catalog.management.series_products import SeriesCurve, SeriesRow, write_chart, write_table
from observations.algorithms.headers import ObservationMetadata, read_metadata

if TYPE_CHECKING:
    from catalog.algorithms.forced_series import (
        EpochDifference,
        NamedFrame,
        Position,
        ReferenceFlux,
        SeriesReference,
    )
    from preprocessing.algorithms.preprocess import Preprocessed

_EXIT_BAD_INPUT = 2
_SUFFIXES = (".fits", ".fit", ".fts", ".fits.fz", ".fits.gz", ".fit.gz")
#: Calibrated pixels kept between the passes over the frames.
_KEPT_BYTES = 600_000_000


class Command(BaseCommand):
    """manage.py forced_light_curve FRAMES... --pixel X Y --frame NAME --output DIR."""

    help = "Forced photometry of one position in every frame of a series; no database."
    # the command must run where nothing is configured
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Frames, a position, an output folder, and how to make the reference."""
        parser.add_argument("frames", nargs="+", help="FITS files, or folders of them")
        parser.add_argument("--output", type=Path, required=True, help="folder for the products")
        place = parser.add_mutually_exclusive_group(required=True)
        place.add_argument(
            "--pixel", nargs=2, type=float, metavar=("X", "Y"), help="0-based, in --frame"
        )
        place.add_argument("--sky", nargs=2, type=float, metavar=("RA", "DEC"), help="degrees")
        parser.add_argument("--frame", help="file name of the frame that --pixel counts in")
        parser.add_argument(
            "--reference", nargs="+", metavar="NAME", help="frames of the reference, best first"
        )
        parser.add_argument(
            "--reference-epochs",
            type=int,
            default=1,
            help="most frames to stack where --reference is not given",
        )
        parser.add_argument("--zero-point", type=float, help="AB magnitude of one data unit")
        parser.add_argument("--threads", type=int, default=1, help="threads of the heavy parts")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run the series; bad input ends in one line and exit code 2."""
        if options["threads"] < 1:
            msg = f"--threads: at least 1 is needed, got {options['threads']}"
            raise CommandError(msg, returncode=_EXIT_BAD_INPUT)
        try:
            _measure_series(options, self.stderr.write)
        except (ImageReadError, AlgorithmError) as error:
            message = " ".join(str(error).split())
            raise CommandError(message, returncode=_EXIT_BAD_INPUT) from error
        except OSError as error:
            path = error.filename or options["output"]
            message = f"{path}: {error.strerror or error}"
            raise CommandError(message, returncode=_EXIT_BAD_INPUT) from error


@dataclass
class _Frames:
    """The frames of the series, calibrated when they are asked for; the latest are kept."""

    paths: dict[str, Path]
    facts: dict[str, ObservationMetadata] = field(default_factory=dict)
    kept: OrderedDict[str, Preprocessed] = field(default_factory=OrderedDict)

    def load(self, name: str) -> NamedFrame:
        """One calibrated frame."""
        from catalog.algorithms.forced_series import NamedFrame

        frame = self.kept.pop(name, None) or self._calibrate(name)
        self.kept[name] = frame
        pixels = sum(part.image.data.size for part in self.kept.values())
        while len(self.kept) > 1 and pixels * 16 > _KEPT_BYTES:
            pixels -= self.kept.popitem(last=False)[1].image.data.size
        return NamedFrame(name, frame)

    def _calibrate(self, name: str) -> Preprocessed:
        from preprocessing.algorithms.preprocess import preprocess_image

        source = read_image(self.paths[name])
        said = read_metadata(source.header, keywords=None, file_name=name)
        self.facts[name] = said
        return preprocess_image(
            source.image.with_(
                gain=said.gain,
                read_noise=said.read_noise,
                saturation=said.saturation,
                zero_point=said.zero_point,
                exposure_s=said.exposure_s,
            )
        )


def _measure_series(options: dict[str, Any], say: Any) -> None:
    """From the files to the light curve."""
    frames = _Frames(_find_files(options["frames"]))
    output: Path = options["output"]
    output.mkdir(parents=True, exist_ok=True)
    for name in [options["frame"], *(options["reference"] or ())]:
        if name is not None and name not in frames.paths:
            msg = f"{name} is not among the {len(frames.paths)} frames"
            raise AlgorithmError(msg, n_frames=len(frames.paths))
    # torch and its relatives take a second to load: only once the arguments are known to be good
    import torch

    torch.set_num_threads(options["threads"])
    place, common = _place(frames, options)
    rows = {name: SeriesRow(name) for name in frames.paths}
    reference = _make_reference(frames, common, rows, options)
    say(f"reference: {', '.join(reference.names)}")
    target = _target_on(reference, common, place)
    flux = _reference_flux(reference, target)
    for name in frames.paths:
        rows[name] = _measure_frame(frames, name, reference, target=target)
        say(_spoken(rows[name]))
    zero_point = options["zero_point"]
    if zero_point is None:
        zero_point = reference.frame.image.zero_point
    ordered = sorted(rows.values(), key=lambda row: (np.isnan(row.mjd), row.mjd, row.frame))
    curve = SeriesCurve(ordered, reference, target, flux, zero_point)
    write_table(output / "light_curve.ecsv", curve)
    write_chart(output / "light_curve.svg", curve)


def _find_files(given: Sequence[str]) -> dict[str, Path]:
    """The FITS files named, or in the folders named, by their file names."""
    found: dict[str, Path] = {}
    for word in given:
        path = Path(word)
        inside = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        for file in inside:
            if path.is_dir() and not file.name.lower().endswith(_SUFFIXES):
                continue
            if file.name in found:
                msg = f"two frames are called {file.name}: {found[file.name].parent}, {file.parent}"
                raise AlgorithmError(msg)
            found[file.name] = file
    if len(found) < 2:
        msg = f"a light curve needs at least two frames, {len(found)} found"
        raise AlgorithmError(msg, n_frames=len(found), n_required=2)
    return found


def _place(frames: _Frames, options: dict[str, Any]) -> tuple[Position, NamedFrame]:
    """The position in pixels, and the frame whose pixels these are."""
    from catalog.algorithms.forced_series import Position

    if options["pixel"] is not None:
        if options["frame"] is None:
            msg = "--pixel needs --frame: the frame whose pixels are meant"
            raise AlgorithmError(msg)
        x, y = options["pixel"]
        return Position(x, y), frames.load(options["frame"])
    ra, dec = options["sky"]
    for name in _first_choice(frames, options["frame"]):
        try:
            found = frames.load(name)
        except (ImageReadError, AlgorithmError):
            # it gets its row, with the reason, when its turn comes
            continue
        image = found.frame.image
        if image.wcs is None:
            continue
        x, y = (float(v) for v in image.wcs.all_world2pix(ra, dec, 0, quiet=True))
        if 0 <= x <= image.shape[1] - 1 and 0 <= y <= image.shape[0] - 1:
            return Position(x, y), found
    msg = f"no frame has world coordinates that hold RA {ra}, Dec {dec}; give --pixel and --frame"
    raise AlgorithmError(msg, ra=ra, dec=dec)


def _first_choice(frames: _Frames, name: str | None) -> Iterator[str]:
    yield from frames.paths if name is None else [name]


def _make_reference(
    frames: _Frames, common: NamedFrame, rows: dict[str, SeriesRow], options: dict[str, Any]
) -> SeriesReference:
    """The reference named by the user, or of the epochs with the least predicted noise."""
    from catalog.algorithms.forced_series import build_series_reference, choose_epochs, rate_epoch

    names = options["reference"]
    if names is None:
        rated = []
        for name in frames.paths:
            try:
                rated.append(rate_epoch(frames.load(name), common.frame))
            except (ImageReadError, AlgorithmError) as error:
                rows[name].remark = str(error)
        if not rated:
            reasons = "; ".join(sorted({row.remark for row in rows.values()}))
            msg = f"no frame can be the reference: {reasons}"
            raise AlgorithmError(msg, n_frames=len(rows))
        names = choose_epochs(rated, max_epochs=options["reference_epochs"])
    best, *others = names
    return build_series_reference(frames.load(best), (frames.load(name) for name in others))


def _target_on(reference: SeriesReference, common: NamedFrame, place: Position) -> Position:
    """The position on the reference's grid."""
    from catalog.algorithms.forced_series import Position
    from preprocessing.algorithms.registration import register

    if common.name == reference.names[0]:
        return place
    here, there = reference.frame, common.frame
    found = register(here.image, here.stars, there.image, science_stars=there.stars)
    x, y = found.to_reference(np.array([place.x]), np.array([place.y]))
    return Position(float(x[0]), float(y[0]))


def _reference_flux(reference: SeriesReference, target: Position) -> ReferenceFlux:
    from catalog.algorithms.forced_series import measure_reference

    flux = measure_reference(reference.frame, target)
    if flux is None:
        msg = f"the reference is masked at ({target.x:.1f}, {target.y:.1f}); name another one"
        raise AlgorithmError(msg, x=target.x, y=target.y)
    return flux


def _measure_frame(
    frames: _Frames, name: str, reference: SeriesReference, *, target: Position
) -> SeriesRow:
    """One epoch; a frame that cannot be used becomes a row that says why."""
    from catalog.algorithms.forced_series import force_flux, subtract_reference

    row = SeriesRow(name)
    try:
        science = frames.load(name)
        row.difference = subtract_reference(reference.frame, science.frame)
        row.epoch = force_flux(row.difference, target)
        if np.isnan(row.epoch.flux):
            row.remark = "the position is masked"
        elif reference.names == (name,):
            row.remark = "this frame is the reference: its difference is zero by construction"
    except (ImageReadError, AlgorithmError) as error:
        row.remark = " ".join(str(error).split())
    row.facts = frames.facts.get(name)
    if row.difference is not None:
        # the pixels have served: what is written is their summary
        row.difference = _without_pixels(row.difference)
    return row


def _without_pixels(difference: EpochDifference) -> EpochDifference:
    empty = np.zeros((0, 0), np.float32)
    made = replace(
        difference.subtraction,
        difference=empty,
        variance=empty,
        score=empty,
        mask=np.zeros((0, 0), np.uint16),
    )
    template = difference.template.with_(data=empty, variance=None, mask=made.mask)
    return replace(difference, subtraction=made, template=template)


def _spoken(row: SeriesRow) -> str:
    if row.epoch is None or np.isnan(row.epoch.flux):
        return f"{row.frame}: no flux: {row.remark}"
    return f"{row.frame}: difference flux {row.epoch.flux:.6g} +- {row.epoch.flux_error:.3g}"
