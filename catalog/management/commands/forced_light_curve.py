"""Measure positions in every frame of a series; needs no database and no world coordinates."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.core.management.base import BaseCommand, CommandError
from numpy.typing import NDArray

from astrid_site.imaging.errors import AlgorithmError, ImageReadError, NoWorkError
from astrid_site.imaging.fits_io import read_image
from catalog.management.positions_file import PositionList, read_positions
from catalog.management.series_products import SeriesCurve, SeriesRow, write_chart, write_table
from observations.algorithms.headers import ObservationMetadata, read_metadata

if TYPE_CHECKING:
    from catalog.algorithms.forced_series import (
        EpochDifference,
        NamedFrame,
        Position,
        SeriesReference,
    )
    from preprocessing.algorithms.preprocess import Preprocessed

_EXIT_BAD_INPUT = 2
_SUFFIXES = (".fits", ".fit", ".fts", ".fits.fz", ".fits.gz", ".fit.gz")
#: Calibrated pixels kept between the passes over the frames.
_KEPT_BYTES = 600_000_000


class Command(BaseCommand):
    """manage.py forced_light_curve FRAMES... --positions FILE --output DIR."""

    help = "Forced photometry of given positions in every frame of a series; no database."
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
        place.add_argument(
            "--positions",
            type=Path,
            metavar="FILE",
            help="ECSV or CSV with columns ra, dec [degrees] or x, y [in --frame], and maybe name",
        )
        parser.add_argument("--frame", help="file name of the frame that pixels count in")
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
    wanted = _wanted(options)
    common, places = _places(frames, wanted, options["frame"])
    reference = _make_reference(frames, common, options)
    say(f"reference: {', '.join(reference.names)}")
    curves = _start_curves(
        reference,
        zip(wanted.names, _targets_on(reference, common, places), strict=True),
        zero_point=options["zero_point"],
    )
    for name in frames.paths:
        measured = _measure_frame(frames, name, reference, curves=curves)
        for curve, row in zip(curves, measured, strict=True):
            curve.rows.append(row)
        say(_spoken(measured))
    for curve in curves:
        curve.rows.sort(key=lambda row: (np.isnan(row.mjd), row.mjd, row.frame))
    write_table(output / "light_curve.ecsv", curves)
    if options["positions"] is None:
        write_chart(output / "light_curve.svg", curves[0])


def _wanted(options: dict[str, Any]) -> PositionList:
    """The positions that were asked for, of which a single one has no name."""
    if options["positions"] is not None:
        found = read_positions(options["positions"])
    else:
        place = options["pixel"] or options["sky"]
        found = PositionList(("",), np.array([place], np.float64), is_sky=options["pixel"] is None)
    if not found.is_sky and options["frame"] is None:
        msg = "positions in pixels need --frame: the frame whose pixels are meant"
        raise AlgorithmError(msg)
    return found


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


def _places(
    frames: _Frames, wanted: PositionList, frame: str | None
) -> tuple[NamedFrame, NDArray[np.float64]]:
    """A frame that holds at least one of the positions, and all of them in its pixels."""
    if not wanted.is_sky and frame is not None:
        return frames.load(frame), wanted.places
    for name in _first_choice(frames, frame):
        try:
            found = frames.load(name)
        except (ImageReadError, AlgorithmError):
            # it gets its row, with the reason, when its turn comes
            continue
        image = found.frame.image
        if image.wcs is None:
            continue
        places = np.column_stack(image.wcs.all_world2pix(*wanted.places.T, 0, quiet=True))
        inside = (places >= 0) & (places <= np.array(image.shape[::-1]) - 1)
        if inside.all(axis=1).any():
            return found, places
    many = len(wanted.places) > 1
    ra, dec = wanted.places[0]
    what = f"one of the {len(wanted.places)} positions" if many else f"RA {ra:g}, Dec {dec:g}"
    msg = f"no frame has world coordinates that hold {what}; give pixels and --frame"
    raise AlgorithmError(msg, ra=float(ra), dec=float(dec))


def _first_choice(frames: _Frames, name: str | None) -> Iterator[str]:
    yield from frames.paths if name is None else [name]


def _make_reference(
    frames: _Frames, common: NamedFrame, options: dict[str, Any]
) -> SeriesReference:
    """The reference named by the user, or of the epochs with the least predicted noise."""
    from catalog.algorithms.forced_series import build_series_reference, choose_epochs, rate_epoch

    names = options["reference"]
    if names is None:
        rated, reasons = [], set()
        for name in frames.paths:
            try:
                rated.append(rate_epoch(frames.load(name), common.frame))
            except (ImageReadError, AlgorithmError) as error:
                reasons.add(str(error))
        if not rated:
            msg = f"no frame can be the reference: {'; '.join(sorted(reasons))}"
            raise AlgorithmError(msg, n_frames=len(frames.paths))
        names = choose_epochs(rated, max_epochs=options["reference_epochs"])
    best, *others = names
    return build_series_reference(frames.load(best), (frames.load(name) for name in others))


def _targets_on(
    reference: SeriesReference, common: NamedFrame, places: NDArray[np.float64]
) -> list[Position]:
    """Positions of a frame on the reference's grid; NaN where they have none."""
    from catalog.algorithms.forced_series import Position
    from preprocessing.algorithms.registration import register

    x, y = places.T
    if common.name != reference.names[0]:
        here, there = reference.frame, common.frame
        found = register(here.image, here.stars, there.image, science_stars=there.stars)
        x, y = found.to_reference(x, y)
    return [Position(float(a), float(b)) for a, b in zip(x, y, strict=True)]


def _start_curves(
    reference: SeriesReference,
    targets: Iterable[tuple[str, Position]],
    *,
    zero_point: float | None,
) -> list[SeriesCurve]:
    """A curve without epochs for each position; a single one has to be on the reference."""
    from catalog.algorithms.reference_flux import measure_references

    named = list(targets)
    fluxes = measure_references(reference.frame, [target for _, target in named])
    if len(named) == 1 and fluxes[0] is None:
        target = named[0][1]
        msg = f"the reference is masked at ({target.x:.1f}, {target.y:.1f}); name another one"
        raise AlgorithmError(msg, x=target.x, y=target.y)
    if zero_point is None:
        zero_point = reference.frame.image.zero_point
    return [
        SeriesCurve(name, [], reference, target, flux, zero_point)
        for (name, target), flux in zip(named, fluxes, strict=True)
    ]


def _measure_frame(
    frames: _Frames, name: str, reference: SeriesReference, *, curves: Sequence[SeriesCurve]
) -> list[SeriesRow]:
    """One epoch of every curve; a frame that cannot be used becomes rows that say why."""
    from catalog.algorithms.forced_series import subtract_reference

    rows = [SeriesRow(name) for _ in curves]
    try:
        if reference.names == (name,):
            for curve, row in zip(curves, rows, strict=True):
                _read_reference(curve, row)
        else:
            science = frames.load(name).frame
            difference = subtract_reference(reference.frame, science)
            for curve, row in zip(curves, rows, strict=True):
                _force(curve, row, difference)
            if name in reference.names:
                _doubt_differences(rows, science)
            # the pixels have served: what is written is their summary
            summary = _without_pixels(difference)
            for row in rows:
                row.difference = summary
    except (ImageReadError, AlgorithmError) as error:
        for row in rows:
            row.remark = " ".join(str(error).split())
    for row in rows:
        row.facts = frames.facts.get(name)
    return rows


def _read_reference(curve: SeriesCurve, row: SeriesRow) -> None:
    """The reference's own epoch: it has a flux, and no difference."""
    from catalog.algorithms.forced_series import ForcedEpoch

    if curve.reference_flux is None:
        row.remark = "the reference does not show the position"
        return
    flags = curve.reference_flux.flags
    nan = float("nan")
    row.epoch = ForcedEpoch(curve.target, 0.0, nan, 1.0, 0.0, nan, nan, flags)
    row.own_error = curve.reference_flux.flux_error
    row.remark = "this frame is the reference: it has no difference"


def _force(curve: SeriesCurve, row: SeriesRow, difference: EpochDifference) -> None:
    """Measure one position on one difference."""
    from catalog.algorithms.forced_series import force_flux

    if curve.reference_flux is None:
        row.remark = "the reference does not show the position"
        return
    try:
        row.epoch = force_flux(difference, curve.target)
    except NoWorkError as error:
        row.remark = error.message
        return
    if np.isnan(row.epoch.flux):
        row.remark = "the position is masked"


def _doubt_differences(rows: Sequence[SeriesRow], science: Preprocessed) -> None:
    """An epoch of a stack: its difference holds itself, and its noise is that of the frame."""
    from catalog.algorithms.reference_flux import measure_references

    measured = [(row, row.epoch) for row in rows if row.epoch and np.isfinite(row.epoch.flux)]
    own = measure_references(science, [epoch.position for _, epoch in measured])
    for (row, epoch), found in zip(measured, own, strict=True):
        row.own_error = found.flux_error / epoch.flux_ratio if found else float("nan")
        row.remark = "this frame is part of the reference: its difference holds itself"


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


def _spoken(rows: Sequence[SeriesRow]) -> str:
    """What is told of a frame: its flux, or how many of the positions have one."""
    if len(rows) > 1:
        n_fluxes = sum(row.epoch is not None and np.isfinite(row.epoch.flux) for row in rows)
        return f"{rows[0].frame}: {n_fluxes} of {len(rows)} positions measured"
    row = rows[0]
    if row.epoch is None or np.isnan(row.epoch.flux):
        return f"{row.frame}: no flux: {row.remark}"
    if row.own_error is not None:
        return f"{row.frame}: {row.remark}"
    return f"{row.frame}: difference flux {row.epoch.flux:.6g} +- {row.epoch.flux_error:.3g}"
