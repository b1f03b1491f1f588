"""Headers and files of a simulated survey."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.time import Time

from astrid_site.imaging.sky_geometry import PlaneMap, tan_wcs
from astrid_site.imaging.sky_psf import Float32
from astrid_site.imaging.sky_survey import Field, Night, SkyConfig

HeaderValue = str | int | float | bool

README_TEXT = """\
SIMULATED SKY - no photon in these files was ever observed.

Made by AstrID's sky simulator (manage.py simulate_survey). Every header says SIMULATE = T.

{n_frames} exposures: {n_fields} fields, {n_epochs} epochs each, {nx} x {ny} pixels of \
{scale:g} arcsec, band {band}, seed {seed}.
The first {n_templates} epochs of each field precede every explosion, are deeper than the others
and hold no asteroids: a reference made from them is clean.

*.fits            exposures as a camera would give them, bias-subtracted and flat-fielded:
                  16-bit counts with sky, cosmic rays, saturated and bleeding stars; pixels of
                  known bad columns are BLANK.
truth.ecsv        what was put in: one row per supernova, variable star and asteroid per exposure.
                  mjd is the middle of the exposure; x, y are 0-based pixel centres; ra, dec are
                  true positions (ICRS degrees); flux_adu is the flux in that exposure and
                  reference_flux_adu its mean over the template epochs on the same flux scale;
                  snr_ideal is what a perfect matched filter would measure in that exposure alone,
                  snr_difference what it would measure of the flux change in the best difference
                  against the template epochs;
                  masked says that the centre pixel carries no usable flux.
simulation.json   the settings; the same settings give the same bytes.

Deliberate errors, as real headers have them: the WCS of every exposure is off by
{east:+.2f} arcsec east and {north:+.2f} arcsec north, and by {wcs_error:g} pixel at random; the
zero point MAGZP by {zero_point_error:g} mag at random (MAGZPERR).
"""

SATELLITES_TEXT = """
Satellites cross the exposures, {n:g} on average. Each has a row of kind "trail" in truth.ecsv: x, y
are the middle of what the frame shows of it, x_start, y_start, x_end, y_end its ends there, and
flux_adu all of its light on the frame.
"""


def frame_header(
    config: SkyConfig, scenery: Field, night: Night, *, epoch: int, rng: np.random.Generator
) -> dict[str, HeaderValue]:
    """FITS cards of one exposure, with the errors that real headers have."""
    start = Time(night.mjd, format="mjd", scale="utc")
    header: dict[str, HeaderValue] = {
        "SIMULATE": True,
        "ORIGIN": "AstrID simulator",
        "TELESCOP": "AstrID Simulated 1.0m",
        "INSTRUME": "SIMCAM",
        "OBJECT": scenery.name,
        "OBSID": f"SIM{config.seed:04d}-{scenery.name[4:]}-E{epoch:02d}-{config.band}",
        "FILTER": config.band,
        "DATE-OBS": str(start.isot),
        "MJD-OBS": round(night.mjd, 8),
        "TIMESYS": "UTC",
        "EXPTIME": night.exposure_s,
        "AIRMASS": round(night.airmass, 3),
        "GAIN": config.camera.gain,
        "RDNOISE": config.camera.read_noise,
        "SATURATE": round(config.camera.saturation, 1),
        "PIXSCALE": config.pixel_scale_arcsec,
        "BUNIT": "adu",
        "MAGZP": round(night.zero_point + rng.normal(0.0, config.zero_point_error_mag), 4),
        "MAGZPERR": config.zero_point_error_mag,
        "MAGSYS": "AB",
    }
    wcs = tan_wcs(_believed_map(config, night, rng), centre=scenery.centre)
    ra, dec = wcs.wcs.crval
    matrix = wcs.wcs.cd
    header |= {
        "WCSAXES": 2,
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "CRVAL1": float(ra),
        "CRVAL2": float(dec),
        "CRPIX1": float(wcs.wcs.crpix[0]),
        "CRPIX2": float(wcs.wcs.crpix[1]),
        "CD1_1": float(matrix[0, 0]),
        "CD1_2": float(matrix[0, 1]),
        "CD2_1": float(matrix[1, 0]),
        "CD2_2": float(matrix[1, 1]),
        "RADESYS": "ICRS",
    }
    return header


def _believed_map(config: SkyConfig, night: Night, rng: np.random.Generator) -> PlaneMap:
    """The map that the header gives: everything seems to lie at ``wcs_offset_arcsec``."""
    offset = night.where.matrix @ np.array(config.wcs_offset_arcsec)
    error = rng.normal(0.0, config.wcs_error_pix, 2) - offset
    x, y = night.where.origin
    return PlaneMap(night.where.matrix, (x + float(error[0]), y + float(error[1])))


def write_frame(path: Path, data: Float32, header: Mapping[str, HeaderValue]) -> None:
    """Write counts as 16-bit FITS (BZERO 32768), whole or not at all."""
    # by hand: astropy writes no BLANK beside unsigned integers
    stored = (data.astype(np.int32) - 32768).astype(np.int16)
    hdu = fits.PrimaryHDU(stored)
    hdu.header["BSCALE"], hdu.header["BZERO"] = 1, 32768
    hdu.header["BLANK"] = (-32768, "known bad columns")
    for keyword, value in header.items():
        hdu.header[keyword] = value
    hdu.header["COMMENT"] = "Simulated by AstrID: no photon in this file was ever observed."
    part = path.with_name(path.name + ".part")
    hdu.writeto(part, overwrite=True)
    part.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def readme(config: SkyConfig) -> str:
    """What a survey folder says about itself."""
    text = README_TEXT.format(
        n_frames=config.n_fields * config.n_epochs,
        n_fields=config.n_fields,
        n_epochs=config.n_epochs,
        nx=config.shape[1],
        ny=config.shape[0],
        scale=config.pixel_scale_arcsec,
        band=config.band,
        seed=config.seed,
        n_templates=config.n_template_epochs,
        east=config.wcs_offset_arcsec[0],
        north=config.wcs_offset_arcsec[1],
        wcs_error=config.wcs_error_pix,
        zero_point_error=config.zero_point_error_mag,
    )
    if config.satellites_per_frame:
        text += SATELLITES_TEXT.format(n=config.satellites_per_frame)
    return text
