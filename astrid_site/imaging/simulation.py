"""Simulated star fields with known truth: single frames, pairs and whole surveys.

Everything here is drawn from a seed by the ``sky_*`` modules beside this one. They know nothing
of the code that measures images, so that their truth can judge it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack
from astropy.wcs import WCS

from astrid_site.imaging.image import Image
from astrid_site.imaging.masks import MaskPlane
from astrid_site.imaging.psf import PsfField
from astrid_site.imaging.sky_detector import draw_bad_columns, expose
from astrid_site.imaging.sky_files import (
    HeaderValue,
    frame_header,
    readme,
    write_frame,
    write_text,
)
from astrid_site.imaging.sky_pair import PairConfig, SimulatedPair, simulate_pair
from astrid_site.imaging.sky_psf import Float32, Float64
from astrid_site.imaging.sky_scene import add_galaxies, add_stars, sky_surface
from astrid_site.imaging.sky_survey import (
    Field,
    Night,
    SkyConfig,
    draw_field,
    draw_night,
    field_name,
)
from astrid_site.imaging.sky_trails import add_trails, draw_trails, trail_rows
from astrid_site.imaging.sky_truth import Event, add_event, events_of, truth_table

__all__ = [
    "PairConfig",
    "SimulatedFrame",
    "SimulatedPair",
    "SkyConfig",
    "simulate_frame",
    "simulate_pair",
    "write_survey",
]

#: Raised whenever the same configuration gives other pixels.
SIMULATION_VERSION = 1
IDENTITY_FILE = "simulation.json"
TRUTH_FILE = "truth.ecsv"


@dataclass(frozen=True)
class SimulatedFrame:
    """One exposure of a simulated survey, and the truth about it.

    Attributes
    ----------
    field, epoch : str, int
        Name of the field and number of the epoch from 0.
    file_name : str
        Name of the frame's file in a survey folder.
    image : Image
        Counts with sky [adu], true mask (saturated, bleed, cosmic rays, bad columns, satellite
        trails), header WCS and header zero point; no variance, no PSF.
    header : dict
        FITS cards of the frame, WCS included.
    psf_truth : PsfField
        True PSF.
    variance_truth, sky_truth : NDArray[float32], shape (ny, nx)
        True variance [adu^2], source noise included, and true sky level [adu].
    zero_point_truth : float
        True AB zero point; the header's is off by its error.
    truth : astropy.table.Table
        One row per supernova, variable, asteroid and satellite inside the frame; see
        ``write_survey``.
    seeing_arcsec : float
        Moffat FWHM at the centre of the frame.
    """

    field: str
    epoch: int
    file_name: str
    image: Image
    header: dict[str, HeaderValue]
    psf_truth: PsfField
    variance_truth: Float32
    sky_truth: Float32
    zero_point_truth: float
    truth: Table
    seeing_arcsec: float


def simulate_frame(config: SkyConfig, *, field: int, epoch: int) -> SimulatedFrame:
    """Expose one epoch of one field.

    Parameters
    ----------
    config : SkyConfig
        The survey.
    field, epoch : int
        Numbers from 0.

    Returns
    -------
    SimulatedFrame
        The same for the same arguments, whichever frames are made before.
    """
    scenery = draw_field(config, field)
    night = draw_night(config, field_index=field, epoch=epoch)
    events = events_of(config, scenery, field_index=field, epoch=epoch)
    sky, scene = _draw_scene(config, night, scenery, events)
    sky_sigma = float(np.sqrt(config.camera.variance_of(np.array([night.sky_adu]))[0]))
    trails = draw_trails(config, night, sky_sigma=sky_sigma, field_index=field, epoch=epoch)
    trail_light = add_trails(scene, night.psf, trails)
    rng = np.random.default_rng([config.seed, 21, field, epoch])
    # one camera: its bad columns are the same in every exposure
    bad_columns = draw_bad_columns(
        np.random.default_rng([config.seed, 22]), config.camera, shape=config.shape
    )
    exposure = expose(
        # rounding in the galaxies' transforms must not push the sky below zero
        np.maximum(scene, 0.0),
        config.camera,
        exposure_s=night.exposure_s,
        bad_columns=bad_columns,
        rng=rng,
    )
    exposure.mask[trail_light > np.sqrt(exposure.variance)] |= np.uint16(MaskPlane.TRAIL)
    header = frame_header(config, scenery, night, epoch=epoch, rng=rng)
    file_name = _file_name(config, field=field, epoch=epoch)
    truth = truth_table(
        config,
        events,
        scenery,
        field_index=field,
        epoch=epoch,
        exposure=exposure,
        file_name=file_name,
    )
    if config.satellites_per_frame > 0:
        truth = trail_rows(truth, trails, night, scenery, epoch=epoch, file_name=file_name)
    return SimulatedFrame(
        field=scenery.name,
        epoch=epoch,
        file_name=file_name,
        image=Image(
            data=exposure.data,
            mask=exposure.mask,
            wcs=_header_wcs(header, config.shape),
            gain=config.camera.gain,
            read_noise=config.camera.read_noise,
            saturation=config.camera.saturation,
            zero_point=float(header["MAGZP"]),
            exposure_s=night.exposure_s,
        ),
        header=header,
        psf_truth=night.psf.to_psf_field(),
        variance_truth=exposure.variance,
        sky_truth=sky.astype(np.float32),
        zero_point_truth=night.zero_point,
        truth=truth,
        seeing_arcsec=night.psf.fwhm_pix * config.pixel_scale_arcsec,
    )


def _draw_scene(
    config: SkyConfig, night: Night, scenery: Field, events: tuple[Event, ...]
) -> tuple[Float64, Float64]:
    """The sky of an exposure, and the sky with all that shines but satellites."""
    sky = sky_surface(
        config.shape, level=night.sky_adu, gradient=night.sky_gradient, bowl=night.sky_bowl
    )
    scene = sky.copy()
    add_stars(scene, night.psf, scenery.sky, where=night.where, zero_point=night.zero_point)
    add_galaxies(scene, night.psf, scenery.sky, where=night.where, zero_point=night.zero_point)
    for event in events:
        add_event(scene, event, night)
    return sky, scene


def _file_name(config: SkyConfig, *, field: int, epoch: int) -> str:
    return f"{field_name(field).lower()}-e{epoch:02d}-{config.band}.fits"


def _header_wcs(header: Mapping[str, HeaderValue], shape: tuple[int, int]) -> WCS:
    cards = ("CTYPE", "CUNIT", "CRVAL", "CRPIX", "CD", "RADESYS", "WCSAXES")
    wcs = WCS({key: value for key, value in header.items() if key.startswith(cards)})
    wcs.array_shape = shape
    return wcs


def write_survey(
    config: SkyConfig, directory: Path, *, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write the exposures of a survey, their truth table and a README that says what they are.

    Parameters
    ----------
    config : SkyConfig
        The survey.
    directory : Path
        Made if absent. A folder that holds the same survey already is completed; the same
        configuration always gives the same bytes.
    progress : callable, optional
        Called with (frames done, frames in all).

    Returns
    -------
    Path
        The truth table, ``truth.ecsv``; columns as ``truth_table`` gives them. It is written
        last: where it lies, the survey is whole.

    Raises
    ------
    FileExistsError
        If the folder holds anything but this survey.
    """
    identity = _identity(config)
    _claim(directory, identity)
    truth_path = directory / TRUTH_FILE
    total = config.n_fields * config.n_epochs
    names = [
        _file_name(config, field=field, epoch=epoch)
        for field in range(config.n_fields)
        for epoch in range(config.n_epochs)
    ]
    if all((directory / name).exists() for name in (TRUTH_FILE, *names)):
        if progress:
            progress(total, total)
        return truth_path
    write_text(directory / "README.txt", readme(config))
    tables = []
    for number in range(total):
        field, epoch = divmod(number, config.n_epochs)
        frame = simulate_frame(config, field=field, epoch=epoch)
        write_frame(directory / frame.file_name, frame.image.data, frame.header)
        tables.append(frame.truth)
        if progress:
            progress(number + 1, total)
    truth = vstack(tables, metadata_conflicts="silent")
    truth.meta = {"comments": ["SIMULATED by AstrID; see README.txt"]}
    part = truth_path.with_name("truth.part.ecsv")
    truth.write(part, format="ascii.ecsv", overwrite=True)
    part.replace(truth_path)
    return truth_path


def _identity(config: SkyConfig) -> str:
    settings = asdict(config)
    if not config.satellites_per_frame:
        # surveys made before there were satellites are the same as surveys without them
        settings = {key: value for key, value in settings.items() if "satellite" not in key}
    content = {"simulation_version": SIMULATION_VERSION, **settings}
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _claim(directory: Path, identity: str) -> None:
    """Make the folder ours, or refuse one that holds something else."""
    directory.mkdir(parents=True, exist_ok=True)
    identity_path = directory / IDENTITY_FILE
    if identity_path.exists():
        if identity_path.read_text(encoding="utf-8") != identity:
            msg = f"{directory} holds another simulated survey; choose another folder"
            raise FileExistsError(msg)
        return
    if any(directory.iterdir()):
        msg = f"{directory} holds other data; choose an empty folder"
        raise FileExistsError(msg)
    write_text(identity_path, identity)
