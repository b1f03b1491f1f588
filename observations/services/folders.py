"""Which files of a folder are frames, and what its tables say of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from astrid_site.core.errors import ApplicationError
from observations.models import Survey
from observations.services.ingest import IngestResult
from observations.services.overrides import SIDECAR_NAME, Overrides, read_sidecar
from observations.services.surveys import get_or_create_survey, get_or_draft_survey

_IMAGES = {".fits", ".fit", ".fts", ".img"}
_PACKED = {".gz", ".bz2", ".fz"}
#: How pipelines end the names of the planes they leave beside a frame.
_COMPANION = re.compile(
    r"(.+)[._-](noise|mask\w*|msk|wht|weights?|(?:webb)?psf|rms|err|error|var|variance|ivar|unc"
    r"|sigma|dq|flags?)",
    re.IGNORECASE,
)
#: What the simulator leaves beside its frames.
_SIMULATION_NAME = "simulation.json"


@dataclass(frozen=True)
class Candidate:
    """A file to take in."""

    path: Path
    overrides: Overrides = field(default_factory=Overrides)
    companion_of: str = ""
    """Name of the frame whose companion it seems to be, by its own name; empty for a frame."""

    @property
    def folder_name(self) -> str:
        """Name of the folder it lies in."""
        return self.path.resolve().parent.name or "images"


def gather(paths: Iterable[Path], *, sidecar: Path | None = None) -> list[Candidate]:
    """Files named by a person, and the images in folders at any depth, in order of their names.

    A file that is named is taken whatever it is called: its content decides later. In folders
    only image names count. Companions named in a table are no frames themselves. A table
    applies to the folder it lies in and all below; a table that is named applies to all.

    Raises
    ------
    ApplicationError
        If a path does not exist, or a table is bad or names a file that is not there.
    """
    found: dict[Path, None] = {}
    tables = [sidecar] if sidecar else []
    for path in paths:
        if path.is_dir():
            found |= dict.fromkeys(sorted(p for p in path.rglob("*") if _is_image(p)))
            if sidecar is None:
                tables += sorted(path.rglob(SIDECAR_NAME))
        elif path.is_file():
            found[path] = None
            beside = path.parent / SIDECAR_NAME
            if sidecar is None and beside.is_file() and beside not in tables:
                tables.append(beside)
        else:
            msg = f"{path}: no such file or folder"
            raise ApplicationError(msg)
    return _apply(list(found), tables, is_named=sidecar is not None)


def arrange(
    names: Sequence[str], *, sidecar: Path | None = None, sidecar_name: str = SIDECAR_NAME
) -> list[Candidate]:
    """Files that were handed in together, by name alone: what of them are frames, as in a folder.

    Raises
    ------
    ApplicationError
        If two have one name, or the table is bad or names a file that is not among them.
    """
    if twice := sorted({name for name in names if names.count(name) > 1}):
        msg = f"two files are called {twice[0]}; hand them in one after the other"
        raise ApplicationError(msg)
    told = read_sidecar(sidecar, name=sidecar_name, beside=set(names)) if sidecar else {}
    if missing := sorted(set(told) - set(names)):
        msg = f"{sidecar_name}: no file {missing[0]}"
        raise ApplicationError(msg)
    companions = {path.name for row in told.values() for path in row.companions.values()}
    frames = [Path(name) for name in names if name not in companions]
    return [
        Candidate(path, told[path.name])
        if path.name in told
        else Candidate(path, companion_of=_likely_frame(path, frames))
        for path in frames
    ]


def held_back(candidate: Candidate) -> IngestResult:
    """The answer to a file that seems to be the companion of another one."""
    name = candidate.path.name
    reason = (
        f"{name}: looks like a companion of {candidate.companion_of}; name it in the sidecar's "
        "noise, mask or psf column (or give it a row of its own if it is a frame)"
    )
    return IngestResult(None, "refused", reason, "looks_like_companion", name)


def find_ignored(paths: Iterable[Path], *, sidecar: Path | None = None) -> list[Path]:
    """Files in folders that do not count as frames because of their names."""
    below = {p for path in paths if path.is_dir() for p in path.rglob("*") if p.is_file()}
    tables = [sidecar] if sidecar else [p for p in below if p.name == SIDECAR_NAME]
    told = {table.resolve() for table in tables}
    for table in tables:
        for row in read_sidecar(table).values():
            told |= {path.resolve() for path in row.companions.values()}
    return sorted(p for p in below if not _is_image(p) and p.resolve() not in told)


def _is_image(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if not path.is_file() or not suffixes or path.name.startswith("."):
        return False
    last = suffixes[-1]
    return last in _IMAGES or (last in _PACKED and len(suffixes) > 1 and suffixes[-2] in _IMAGES)


def _apply(files: Sequence[Path], tables: Sequence[Path], *, is_named: bool) -> list[Candidate]:
    told: dict[Path, Overrides] = {}
    companions: set[Path] = set()
    for table in tables:
        for name, overrides in read_sidecar(table).items():
            for path in _named_files(name, table, files, is_named=is_named):
                told[path] = overrides
            companions |= {path.resolve() for path in overrides.companions.values()}
    frames = [path for path in files if path.resolve() not in companions]
    return [
        Candidate(path, told[path])
        if path in told
        else Candidate(path, companion_of=_likely_frame(path, frames))
        for path in frames
    ]


def _likely_frame(path: Path, files: Sequence[Path]) -> str:
    """The frame beside a file that is named like one of its companions; empty if there is none."""
    match = _COMPANION.fullmatch(_stem(path))
    if match is None:
        return ""
    own = re.compile(re.escape(match[1]) + r"([._-].*)?")
    return next(
        (
            other.name
            for other in files
            if other.parent == path.parent
            and own.fullmatch(_stem(other))
            and not _COMPANION.fullmatch(_stem(other))
        ),
        "",
    )


def _stem(path: Path) -> str:
    """A file's name without the suffixes of an image."""
    name = path
    while name.suffix.lower() in _IMAGES | _PACKED:
        name = name.with_suffix("")
    return name.name


def _named_files(name: str, table: Path, files: Sequence[Path], *, is_named: bool) -> list[Path]:
    """Files a row means: by path relative to the table, else by bare name below it."""
    exact = (table.parent / name).resolve()
    by_path = [path for path in files if path.resolve() == exact]
    if by_path:
        return by_path
    root = table.parent.resolve()
    by_name = [
        path for path in files if path.name == name and (is_named or root in path.resolve().parents)
    ]
    if not by_name and not exact.is_file():
        msg = f"{table.name}: no file {name}"
        raise ApplicationError(msg)
    if len(by_name) > 1:
        msg = f"{table.name}: {len(by_name)} files are called {name}; give their paths"
        raise ApplicationError(msg)
    return by_name


def survey_for(name: str, folder: Path, *, dry_run: bool = False) -> Survey:
    """The survey of a name; a simulated folder tells how many template epochs it has.

    A dry run stores none: a survey that is not there yet is only drafted.
    """
    take = get_or_draft_survey if dry_run else get_or_create_survey
    beside = folder / _SIMULATION_NAME
    if not beside.is_file():
        return take(name)
    try:
        n_templates = int(json.loads(beside.read_text(encoding="utf-8"))["n_template_epochs"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{beside.name}: does not describe a simulated survey: {error}"
        raise ApplicationError(msg) from error
    return take(
        name,
        is_simulated=True,
        description="Simulated sky: no photon in it was ever observed.",
        reference_min_epochs=max(n_templates, 1),
        reference_max_epochs=max(n_templates, 10),
    )
