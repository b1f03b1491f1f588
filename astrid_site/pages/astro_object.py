"""What the page of one object shows: finder chart, light curve, every epoch, every verdict."""

from __future__ import annotations

import io
from dataclasses import dataclass
from uuid import UUID

from django.urls import reverse

from astrid_site.core.models import StoredFile
from astrid_site.core.storage import read_range
from astrid_site.pages import pictures
from astrid_site.pages.view_files import tiles_of
from catalog import pages as catalog_pages
from catalog import selectors
from catalog.algorithms.band_peaks import BandPeak
from catalog.algorithms.common_scale import ScaledFlux
from catalog.models import AstroObject, LightCurvePoint, ObjectDetection
from curation.models import Consensus, Verdict
from curation.selectors import consensus_of, verdict_history
from detection import pages as detection_pages
from detection import selectors as detection_selectors
from detection.models import Detection
from differencing.models import DifferenceRun
from preprocessing.models import ScienceImage

FINDER_SIZE = 301
#: Forced photometry is a detection from here on [sigma]; the limits of points are drawn at it.
DETECTABLE = 5.0
#: Epochs shown before all are asked for.
MAX_EPOCHS = 24
#: More than the header of any of our products takes.
_HEADER_BYTES = 100 * 2880


@dataclass(frozen=True)
class EpochView:
    """One epoch of the film strip."""

    point: LightCurvePoint
    detection: Detection | None
    cutouts: detection_pages.CutoutView
    flux: ScaledFlux | None

    @property
    def significance(self) -> float | None:
        """Forced flux over its error [sigma]; None where nothing was measured."""
        if self.point.flux is None or not self.point.flux_error:
            return None
        return self.point.flux / self.point.flux_error

    @property
    def is_below_limit(self) -> bool:
        """Whether the forced flux, gained or lost, is too faint to be a detection."""
        return self.significance is not None and abs(self.significance) < DETECTABLE


@dataclass(frozen=True)
class AstroObjectPage:
    """Everything on the page."""

    astro_object: AstroObject
    members: list[ObjectDetection]
    table: catalog_pages.EpochTable
    light_curve: catalog_pages.LightCurve
    finder: detection_pages.CutoutView | None
    finder_detection: Detection | None
    epochs: list[EpochView]
    n_epochs: int
    verdicts: list[Verdict]
    consensus: Consensus | None
    best: Detection | None
    peaks: list[BandPeak]
    discovery: Detection | None

    @property
    def surveys(self) -> list[str]:
        """Names of the surveys on whose frames it was detected."""
        return sorted({member.detection.observation.survey.name for member in self.members})


def astro_object_page(astro_object: AstroObject, *, all_epochs: bool = False) -> AstroObjectPage:
    """Gather the page."""
    page = selectors.object_page(astro_object)
    chosen = finder_detection(page.members)
    # only a subtracted epoch has four images to show
    points = [p for p in reversed(page.light_curve) if p.difference_run_id is not None]
    shown = points if all_epochs else points[:MAX_EPOCHS]
    fluxes = catalog_pages.scale_fluxes(page.light_curve)
    peaks = catalog_pages.fit_peaks(page.light_curve)
    found = {member.detection.observation_id: member.detection for member in page.members}
    return AstroObjectPage(
        astro_object=astro_object,
        members=page.members,
        table=catalog_pages.epoch_table(page.light_curve),
        light_curve=catalog_pages.chart_points(page.light_curve, peaks=peaks),
        finder=_finder_view(astro_object, chosen) if chosen else None,
        finder_detection=chosen,
        epochs=[
            _epoch(point, found.get(point.observation_id), flux=fluxes.get(point.pk))
            for point in shown
        ],
        n_epochs=len(points),
        verdicts=list(verdict_history(astro_object)),
        consensus=consensus_of(astro_object.pk),
        best=max((m.detection for m in page.members), key=lambda d: abs(d.score), default=None),
        peaks=peaks,
        # the members come latest exposure first
        discovery=page.members[-1].detection if page.members else None,
    )


def finder_detection(members: list[ObjectDetection]) -> Detection | None:
    """The detection in the frame with the best seeing, among those whose image is kept."""
    seeing = dict(
        ScienceImage.objects.filter(
            observation__in=[m.detection.observation_id for m in members], file__isnull=False
        ).values_list("observation_id", "fwhm_pix")
    )
    usable = [m.detection for m in members if m.detection.observation_id in seeing]
    return min(usable, key=lambda d: seeing[d.observation_id] or float("inf"), default=None)


def _finder_view(astro_object: AstroObject, detection: Detection) -> detection_pages.CutoutView:
    region = _finder_region(detection)
    frame = detection.observation
    place = detection_pages.Place(frame, detection.x, detection.y, detection.ra, detection.dec)
    address = reverse("catalog:finder", args=[astro_object.pk])
    return detection_pages.view_place(
        place, strip=address, size=region.size, middle=(region.x, region.y)
    )


def _finder_region(detection: Detection) -> pictures.Region:
    """A square with the object in it, moved so that it does not run off the frame."""
    ny, nx = detection_selectors.frame_shape(detection)
    size = min(FINDER_SIZE, nx, ny)
    size -= 1 - size % 2
    half = size // 2
    x = min(max(round(detection.x), half), nx - 1 - half)
    y = min(max(round(detection.y), half), ny - 1 - half)
    return pictures.Region(x, y, size)


def _epoch(
    point: LightCurvePoint, detection: Detection | None, *, flux: ScaledFlux | None
) -> EpochView:
    """One epoch: a detection's own cutouts, else the same place cut from that night's frames."""
    if detection is not None:
        return EpochView(point, detection, detection_pages.view_cutouts(detection), flux)
    owner = point.astro_object
    place = detection_pages.Place(point.observation, 0.0, 0.0, owner.ra, owner.dec)
    panels = tuple(
        detection_pages.Panel(name, label, i * detection_pages.SIZE, f"{label}, no detection")
        for i, (name, label) in enumerate(detection_pages.PANELS.items())
    )
    address = reverse("catalog:epoch", args=[owner.pk, point.difference_run_id])
    view = detection_pages.view_place(
        place, strip=address, size=detection_pages.SIZE, panels=panels
    )
    return EpochView(point, None, view, flux)


def finder_png(astro_object: AstroObject, *, stretch: str) -> bytes | None:
    """The surroundings of an object in the frame with the best seeing; None without a frame."""
    detection = finder_detection(selectors.members(astro_object))
    if detection is None:
        return None
    images = ScienceImage.objects.filter(
        observation_id=detection.observation_id, file__isnull=False
    )
    image = images.select_related("file", "preview_file").order_by("-created_at").first()
    if image is None:
        return None
    file = pictures.PanelFile(tiles_of(image), image.file)
    region = _finder_region(detection)
    return pictures.region_png(file, panel="science", stretch=stretch, region=region)


def epoch_png(astro_object: AstroObject, run_id: UUID, *, stretch: str) -> bytes | None:
    """An object's place on one night's four images; None where they are not kept."""
    runs = DifferenceRun.objects.select_related(
        "template_file", "file", "score_file", "preview_file"
    )
    runs = runs.select_related("science_image__file", "science_image__preview_file")
    run = runs.filter(pk=run_id).first()
    if run is None or run.file is None:
        return None
    x, y = _locate(run.file, ra=astro_object.ra, dec=astro_object.dec)
    image, tiles = run.science_image, tiles_of(run)
    files = {
        "science": pictures.PanelFile(
            tiles_of(image) if image else None, image.file if image else None
        ),
        "template": pictures.PanelFile(tiles, run.template_file),
        "difference": pictures.PanelFile(tiles, run.file),
        "score": pictures.PanelFile(tiles, run.score_file),
    }
    return pictures.epoch_strip(files, x=x, y=y, stretch=stretch)


def _locate(stored: StoredFile, *, ra: float, dec: float) -> tuple[float, float]:
    """Pixel position [0-based] of a sky position on one of our own products."""
    from astropy.io import fits
    from astropy.wcs import WCS

    # the header comes first, and is all that is read
    header = fits.Header.fromfile(io.BytesIO(read_range(stored, start=0, length=_HEADER_BYTES)))
    x, y = WCS(header).all_world2pix(ra, dec, 0)
    return float(x), float(y)
