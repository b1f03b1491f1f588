"""The printed finder chart of one object, from the frame with the best seeing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid_site.core.errors import ApplicationError
from astrid_site.core.templatetags.astro import dec_dms, degrees, number, ra_hms, utc
from astrid_site.pages.astro_object import finder_detection
from catalog import selectors
from catalog.algorithms.finder_sheet import (
    FinderSheet,
    OffsetStar,
    Picture,
    draw_finder_sheet,
    north_up,
    offset_stars,
)
from catalog.models import AstroObject
from differencing.models import DifferenceRun
from preprocessing.models import ScienceImage
from preprocessing.services import load_image, load_stars

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from astrid_site.imaging.image import Image

DEFAULT_SIZE_ARCSEC = 180.0


def finder_pdf(
    astro_object: AstroObject, *, size_arcsec: float = DEFAULT_SIZE_ARCSEC
) -> bytes | None:
    """One page with the object on the science frame and the reference; None without a frame."""
    detection = finder_detection(selectors.members(astro_object))
    if detection is None:
        return None
    rows = ScienceImage.objects.filter(observation_id=detection.observation_id, file__isnull=False)
    image = rows.select_related("file", "stars_file", "observation__survey").latest("created_at")
    runs = DifferenceRun.objects.filter(science_image=image, template_file__isnull=False)
    run = runs.select_related("template_file").order_by("-created_at").first()
    ra, dec = astro_object.ra, astro_object.dec
    science = load_image(image.file) if image.file else None
    if science is None or science.wcs is None:
        return None
    pictures = [_picture("science", science, ra, dec, size_arcsec=size_arcsec)]
    if run is not None and run.template_file is not None:
        template = load_image(run.template_file)
        if template.wcs is not None:
            pictures.append(_picture("reference", template, ra, dec, size_arcsec=size_arcsec))
    sheet = FinderSheet(
        name=astro_object.name,
        coordinates=(
            f"{ra_hms(ra)}  {dec_dms(dec)}  ICRS",
            f"{degrees(ra)}  {degrees(dec)} deg",
        ),
        size_arcsec=size_arcsec,
        pictures=tuple(pictures),
        stars=_stars(image, science.wcs, ra, dec, size_arcsec=size_arcsec),
        lines=_lines(astro_object, image),
    )
    return draw_finder_sheet(sheet)


def _picture(title: str, image: Image, ra: float, dec: float, *, size_arcsec: float) -> Picture:
    wcs: Any = image.wcs
    data: NDArray[Any] = np.asarray(image.data)
    return Picture(title, north_up(data, wcs, ra=ra, dec=dec, size_arcsec=size_arcsec))


def _stars(
    image: ScienceImage, wcs: WCS, ra: float, dec: float, *, size_arcsec: float
) -> tuple[OffsetStar, ...]:
    """Stars of the frame in the chart; none where no list of them is kept."""
    if image.stars_file is None:
        return ()
    try:
        stars = load_stars(image.stars_file)
    except ApplicationError:
        # the list went with the garbage; the chart leads by its picture alone
        return ()
    stars = stars.select(stars.is_star & (stars.flux > 0))
    star_ra, star_dec = wcs.all_pix2world(stars.x, stars.y, 0)
    zero_point = image.zero_point
    magnitudes = [
        None if zero_point is None else float(zero_point - 2.5 * np.log10(flux))
        for flux in stars.flux
    ]
    return offset_stars(
        ra,
        dec,
        star_ra=star_ra % 360.0,
        star_dec=star_dec,
        magnitudes=magnitudes,
        size_arcsec=size_arcsec,
    )


def _lines(astro_object: AstroObject, image: ScienceImage) -> tuple[tuple[str, str], ...]:
    """What is printed below the chart."""
    frame, told = image.observation, selectors.statements_of(astro_object)
    brightest = astro_object.brightest_magnitude
    lines = [
        ("Frame", f"{frame.survey.name} {frame.band}, {utc(frame.observed_at)} UTC"),
        ("State", f"{astro_object.get_state_display()} {astro_object.classification}".strip()),
        ("Brightest difference", "–" if brightest is None else f"{number(brightest, 2)} mag (AB)"),
        ("Last detected", f"{utc(astro_object.last_detected_at)} UTC"),
    ]
    if told.aliases:
        lines.append(("Also named", ", ".join(row.text for row in told.aliases)))
    if told.redshift and told.redshift.number is not None:
        lines.append(("Redshift", f"{told.redshift.number:g}"))
    if astro_object.is_simulated:
        lines.append(("Sky", "SIMULATED: there is nothing to be pointed at"))
    return tuple(lines)
