"""Why a candidate may be bogus: a dipole fit, the history of its detector pixel, likely causes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from astrid_site.core.ranged import open_ranged
from astrid_site.core.status import RunStatus
from astrid_site.core.storage import ChecksumError
from astrid_site.imaging.healpix import separation_arcsec
from detection.models import Detection, DetectionRun
from detection.selectors import frame_shape
from observations.models import Observation

if TYPE_CHECKING:
    from detection.algorithms.causes import PixelHistory
    from detection.algorithms.dipole_fit import DipoleFit

#: Frames of the camera that are looked at, the latest first.
MAX_FRAMES = 200
#: A frame that points so many pixels away sees another part of the sky on the same pixel.
_ELSEWHERE_PIX = 5.0
_WINDOW = 65
#: Less than this is not told.
_LEAST_TOLD = 0.15


@dataclass(frozen=True)
class Diagnosis:
    """What a candidate may be besides a source.

    Attributes
    ----------
    causes : dict
        Relative likelihood of each cause and of a point source, the likeliest first.
    history : PixelHistory
        Of its detector pixel.
    dipole : DipoleFit or None
        None where it was not asked for, or no pixels are kept.
    """

    causes: dict[str, float]
    history: PixelHistory
    dipole: DipoleFit | None

    @property
    def words(self) -> str:
        """The same in one line; empty where nothing is worth telling."""
        said = [f"{name} {share:.0%}" for name, share in self.told]
        if self.history.n_hits:
            said.append(
                f"{self.history.n_hits} of {self.history.n_frames} other frames have one at its "
                f"detector pixel, {self.history.expected:.2g} expected"
            )
        return "; ".join(said)

    @property
    def told(self) -> list[tuple[str, float]]:
        """Causes worth telling, in words, the likeliest first; none for a plain point source."""
        return [
            (name.replace("_", " "), share)
            for name, share in self.causes.items()
            if share >= _LEAST_TOLD and name != "point_source"
        ]


@dataclass(frozen=True)
class _Pixels:
    """What the stored difference says of a candidate."""

    dipole: DipoleFit | None = None
    fwhm_pix: float | None = None
    shape: tuple[int, int] | None = field(default=None)


def diagnose(detection: Detection) -> Diagnosis:
    """Every cause, with a dipole fitted to the stored difference: a tenth of a second."""
    return _diagnose(detection, _read_pixels(detection))


def glance(detection: Detection) -> Diagnosis:
    """The same from what is recorded alone, for pages that show many candidates."""
    return _diagnose(detection, _Pixels())


def _diagnose(detection: Detection, pixels: _Pixels) -> Diagnosis:
    from detection.algorithms.causes import Evidence, likely_causes

    history = pixel_history(detection)
    fit = pixels.dipole
    strongest = max(fit.positive, fit.negative) if fit else 0.0
    evidence = Evidence(
        features=detection.features,
        likelihood_ratio=fit.likelihood_ratio if fit else None,
        lobe_share=min(fit.positive, fit.negative) / strongest if fit and strongest > 0 else None,
        edge_fwhm=_edge_fwhm(detection, pixels),
        history=history,
    )
    return Diagnosis(likely_causes(evidence), history, fit)


def _edge_fwhm(detection: Detection, pixels: _Pixels) -> float:
    """Distance to the edge of the frame in widths of the PSF."""
    ny, nx = pixels.shape or frame_shape(detection)
    x, y = detection.x, detection.y
    width = pixels.fwhm_pix or detection.run.metrics.get("psf_fwhm_pix") or 3.0
    return float(min(x, y, nx - 1 - x, ny - 1 - y)) / float(width)


def _read_pixels(detection: Detection) -> _Pixels:
    """The dipole fit at a candidate; nothing where its difference is not kept."""
    from astrid_site.imaging.masks import is_bad
    from astrid_site.imaging.product_window import open_product
    from detection.algorithms.dipole_fit import fit_dipole

    run = detection.run.difference_run
    if run is None or run.file is None:
        return _Pixels()
    try:
        with open_ranged(run.file) as file, open_product(file) as product:
            window, psf = product.window(detection.x, detection.y, size=_WINDOW), product.psf
            shape = product.shape
    except (ChecksumError, OSError):
        return _Pixels()
    if psf is None or window.variance is None:
        return _Pixels(shape=shape)
    fit = fit_dipole(
        window.data,
        window.variance,
        psf.at(detection.x, detection.y)[0],
        good=~is_bad(window.mask),
        x=detection.x - window.left,
        y=detection.y - window.bottom,
        fwhm_pix=psf.fwhm_pix,
    )
    return _Pixels(fit, psf.fwhm_pix, shape)


def pixel_history(detection: Detection) -> PixelHistory:
    """Candidates at the same detector pixel in other frames of the camera that look elsewhere."""
    from detection.algorithms.causes import SAME_PIXEL, PixelHistory

    runs = _elsewhere(detection.observation)
    if not runs:
        return PixelHistory(0, 0, 0.0)
    found = Detection.objects.filter(run__in=runs)
    x, y = detection.x, detection.y
    here = found.filter(
        x__range=(x - SAME_PIXEL, x + SAME_PIXEL), y__range=(y - SAME_PIXEL, y + SAME_PIXEL)
    )
    ny, nx = frame_shape(detection)
    density = found.count() / (len(runs) * nx * ny)
    expected = len(runs) * density * (2 * SAME_PIXEL) ** 2
    return PixelHistory(len(runs), here.values("run").distinct().count(), expected)


def _elsewhere(observation: Observation) -> list[DetectionRun]:
    """Searched frames of the same camera whose pixels see other places of the sky."""
    scale = observation.pixel_scale_arcsec
    if observation.ra is None or observation.dec is None or not scale:
        return []
    runs = DetectionRun.objects.filter(
        status=RunStatus.SUCCEEDED,
        observation__survey=observation.survey_id,
        observation__instrument=observation.instrument,
        observation__detector=observation.detector,
        observation__image_width=observation.image_width,
        observation__image_height=observation.image_height,
        observation__ra__isnull=False,
    ).exclude(observation=observation.pk)
    latest = list(
        runs.select_related("observation")
        .only("pk", "observation__ra", "observation__dec")
        .order_by("-created_at", "pk")[:MAX_FRAMES]
    )
    if not latest:
        return []
    places = np.array([(run.observation.ra, run.observation.dec) for run in latest], dtype=float)
    apart = separation_arcsec(observation.ra, observation.dec, places[:, 0], places[:, 1])
    far = apart > _ELSEWHERE_PIX * scale
    return [run for run, is_far in zip(latest, far, strict=True) if is_far]
