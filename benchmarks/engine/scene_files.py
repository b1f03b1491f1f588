"""A scene on disk: the four FITS files that every contestant reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from benchmarks.engine.detector import GAIN, READ_NOISE, SATURATION_ADU, Frame
from benchmarks.engine.regimes import Epoch
from benchmarks.engine.scene import Scene
from benchmarks.engine.sky import PixelMap

_MJD = {"reference": 60300.25, "science": 60330.25}


@dataclass(frozen=True)
class SceneFiles:
    """Where the frames and their masks lie (mask: 0 good, 1 bad)."""

    reference: Path
    science: Path
    reference_mask: Path
    science_mask: Path


def write_scene(scene: Scene, folder: Path) -> SceneFiles:
    """Write both frames and masks; the WCS in each header is off by its astrometric error."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    for name, frame, epoch, where, error in (
        (
            "reference",
            scene.reference,
            scene.regime.reference,
            scene.geometry.reference,
            scene.header_error_pix[0],
        ),
        (
            "science",
            scene.science,
            scene.regime.science,
            scene.geometry.science,
            scene.header_error_pix[1],
        ),
    ):
        path, mask = folder / f"{name}.fits", folder / f"{name}_mask.fits"
        header = _header(name, epoch, PixelMap(where.matrix, where.origin + np.array(error)))
        fits.PrimaryHDU(frame.data, header=header).writeto(path, overwrite=True)
        _write_mask(mask, frame)
        paths |= {name: path, f"{name}_mask": mask}
    return SceneFiles(**paths)


def _header(name: str, epoch: Epoch, believed: PixelMap) -> fits.Header:
    header = believed.wcs().to_header()
    header["OBJECT"] = "seeded scene"
    header["FILTER"] = "r"
    header["EXPTIME"] = epoch.exposure_s
    header["MJD-OBS"] = _MJD[name]
    header["GAIN"] = GAIN
    header["RDNOISE"] = READ_NOISE
    header["SATURATE"] = SATURATION_ADU
    header["SEEING"] = epoch.fwhm_arcsec
    header["BUNIT"] = "adu"
    return header


def _write_mask(path: Path, frame: Frame) -> None:
    fits.PrimaryHDU(frame.bad.astype(np.uint8)).writeto(path, overwrite=True)
