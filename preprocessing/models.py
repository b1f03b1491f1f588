"""Science images: what preprocessing makes of a raw frame."""

from __future__ import annotations

from django.db import models

from astrid_site.core.models import StoredFile
from observations.models import ProcessingRun


class ScienceImage(ProcessingRun):
    """The run of preprocessing and its product: a calibrated frame with mask, variance and PSF."""

    file = models.ForeignKey(
        StoredFile, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    stars_file = models.ForeignKey(
        StoredFile, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    preview_file = models.ForeignKey(
        StoredFile, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    fwhm_pix = models.FloatField(null=True, blank=True)
    seeing_arcsec = models.FloatField(null=True, blank=True)
    sky_noise = models.FloatField(null=True, blank=True)
    zero_point = models.FloatField(null=True, blank=True)
    limiting_magnitude = models.FloatField(null=True, blank=True)
    n_stars = models.PositiveIntegerField(null=True, blank=True)
