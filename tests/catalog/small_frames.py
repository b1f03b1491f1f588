"""Small frames with pixels: blank sky with stars of known flux, its difference, and its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.wcs import WCS

from astrid_site.core.models import FileKind
from astrid_site.core.status import RunStatus
from astrid_site.imaging.image import Image
from astrid_site.imaging.psf import constant_psf
from detection.models import DetectionRun
from differencing.models import DifferenceRun, ReferenceEpoch, ReferenceImage
from observations.models import Observation
from preprocessing.models import ScienceImage
from preprocessing.services import store_image
from tests.observations.factories import make_stored_file

SIZE = 64
FWHM_ARCSEC = 2.0
RA, DEC = 150.0, 2.0
ARCSEC = 1.0 / 3600.0
ZERO_POINT = 25.0

#: x, y, flux
Star = tuple[float, float, float]


def make_wcs(*, shift_pix: float = 0.0, size: int = SIZE) -> WCS:
    """Pixels of one arcsecond around the field's centre, moved along x."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [RA, DEC], [(size + 1) / 2 + shift_pix, (size + 1) / 2]
    wcs.wcs.cdelt = [-ARCSEC, ARCSEC]
    return wcs


def make_image(
    seed: Sequence[int], stars: Sequence[Star] = (), *, size: int = SIZE, noise: float = 1.0
) -> Image:
    """White noise and stars of a Gaussian PSF, with all that photometry needs."""
    rng = np.random.default_rng(list(seed))
    sigma = FWHM_ARCSEC / 2.3548
    rows, columns = np.mgrid[0:size, 0:size]
    data = rng.normal(0.0, noise, (size, size))
    for x, y, flux in stars:
        shape = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
        data += flux * shape / (2 * np.pi * sigma**2)
    rows, columns = np.mgrid[-7:8, -7:8]
    psf = np.exp(-(rows**2 + columns**2) / (2 * sigma**2))
    return Image(
        data=data.astype(np.float32),
        mask=np.zeros((size, size), np.uint16),
        variance=np.full((size, size), noise**2, np.float32),
        wcs=make_wcs(size=size),
        psf=constant_psf((psf / psf.sum()).astype(np.float32), shape=(size, size)),
        zero_point=ZERO_POINT,
    )


def add_science(observation: Observation, image: Image) -> ScienceImage:
    """The calibrated frame of an observation."""
    stored = store_image(
        image, kind=FileKind.SCIENCE, name=f"{observation.pk}-science.fits", header={}
    )
    return ScienceImage.objects.create(
        observation=observation,
        pipeline_version="1",
        status=RunStatus.SUCCEEDED,
        file=stored,
        stars_file=make_stored_file(FileKind.STARS),
    )


def add_difference(
    science: ScienceImage, image: Image, reference: ReferenceImage | None = None
) -> DetectionRun:
    """Its difference, searched."""
    done: dict[str, Any] = {
        "observation": science.observation,
        "pipeline_version": "1",
        "status": RunStatus.SUCCEEDED,
    }
    stored = store_image(
        image, kind=FileKind.DIFFERENCE, name=f"{science.pk}-difference.fits", header={}
    )
    run = DifferenceRun.objects.create(
        **done, file=stored, science_image=science, reference=reference
    )
    return DetectionRun.objects.create(
        **done, difference_run=run, metrics={"psf_fwhm_arcsec": FWHM_ARCSEC}
    )


def make_reference(*epochs: ScienceImage) -> ReferenceImage:
    """A reference made of frames; its pixels are those of the first."""
    first = epochs[0]
    reference = ReferenceImage.objects.create(
        survey=first.observation.survey,
        band=first.observation.band,
        file=first.file,
        stars_file=first.stars_file,
        last_ended_at=max(epoch.observation.ended_at for epoch in epochs),
        epochs_digest="".join(str(epoch.pk)[:8] for epoch in epochs),
    )
    for epoch in epochs:
        ReferenceEpoch.objects.create(reference=reference, science_image=epoch, weight=1.0)
    return reference
