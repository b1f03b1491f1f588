"""The subtraction command on a good pair of files, run and refused."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from django.core.management import CommandError, call_command

from astrid_site.imaging.image import Image
from astrid_site.imaging.sky_pair import SimulatedPair

SHAPE = (256, 256)


@dataclass(frozen=True)
class Files:
    """A good pair on disk, and a place for bad ones."""

    folder: Path
    pair: SimulatedPair

    @property
    def reference(self) -> Path:
        return self.folder / "reference.fits"

    @property
    def science(self) -> Path:
        return self.folder / "science.fits"

    def write(self, path: Path, data: np.ndarray, **cards: Any) -> Path:
        """Pixels under the science frame's header, some of its cards changed."""
        header = header_of(self.pair.science)
        for name, value in cards.items():
            header[name.replace("_", "-")] = value
        fits.PrimaryHDU(data, header).writeto(path)
        return path


def header_of(image: Image) -> fits.Header:
    assert image.wcs is not None
    header = image.wcs.to_header()
    header.update(GAIN=image.gain, SATURATE=image.saturation, EXPTIME=image.exposure_s)
    return header


@dataclass(frozen=True)
class Run:
    """How the command ended."""

    said: list[str]
    record: dict[str, Any]
    output: Path

    @property
    def warnings(self) -> str:
        return " ".join(line for line in self.said if line.startswith("warning: "))


def run(reference: Path, science: Path, output: Path, *options: object) -> Run:
    """A run that must end well, whatever it says."""
    stderr = io.StringIO()
    arguments = [str(part) for part in (reference, science, "--output", output, *options)]
    call_command("subtract_images", *arguments, stderr=stderr)
    record = json.loads((output / "timing.json").read_text())
    return Run(stderr.getvalue().splitlines(), record, output)


def refuse(reference: Path, science: Path, output: Path, *options: object) -> str:
    """The one line with which a run must end; nothing may be left that looks like a product."""
    arguments = [str(part) for part in (reference, science, "--output", output, *options)]
    with pytest.raises(CommandError) as caught:
        call_command("subtract_images", *arguments, stderr=io.StringIO())
    assert caught.value.returncode == 2
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    assert 10 < len(said) < 400
    if output.is_dir():
        assert [path.name for path in output.iterdir() if path.is_file()] == []
    return said
