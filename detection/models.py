"""Detections: measured, scored candidates, the cuts they met and the pixels they lie in."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from astrid_site.core.models import StoredFile, UUIDModel
from differencing.models import DifferenceRun
from observations.models import Observation, ProcessingRun


class DetectionRun(ProcessingRun):
    """The search of one score image."""

    difference_run = models.ForeignKey(
        DifferenceRun, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    cutouts_file = models.ForeignKey(
        StoredFile,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="float32 npy (n, 4, 63, 63): science, template, difference, score.",
    )
    n_candidates = models.PositiveIntegerField(null=True, blank=True)
    n_kept = models.PositiveIntegerField(null=True, blank=True)


class Detection(UUIDModel):
    """One candidate on one difference; kept or not, with every cut's value and margin."""

    run = models.ForeignKey(DetectionRun, on_delete=models.CASCADE, related_name="+")
    observation = models.ForeignKey(Observation, on_delete=models.CASCADE, related_name="+")
    index = models.PositiveIntegerField(help_text="Row in the run's cutouts.")
    x = models.FloatField(help_text="0-based pixel of the science image.")
    y = models.FloatField()
    ra = models.FloatField(null=True, blank=True)
    dec = models.FloatField(null=True, blank=True)
    healpix14 = models.BigIntegerField(null=True, blank=True, db_index=True)
    score = models.FloatField(help_text="Signed matched-filter significance [sigma].")
    flux = models.FloatField(help_text="PSF flux in the difference [science units].")
    flux_error = models.FloatField()
    magnitude = models.FloatField(null=True, blank=True, help_text="AB, of |difference flux|.")
    magnitude_error = models.FloatField(null=True, blank=True)
    fwhm_pix = models.FloatField(null=True, blank=True)
    elongation = models.FloatField(null=True, blank=True)
    mask_flags = models.PositiveIntegerField(default=0)
    features = models.JSONField(default=dict)
    cuts = models.JSONField(default=list, help_text="name, value, limit, margin, kept of each cut.")
    is_kept = models.BooleanField(help_text="Passed every cut.")
    second_opinion = models.JSONField(
        null=True,
        blank=True,
        help_text="method, score, flux_ratio, least_score, agrees of a second method; "
        "null where none was asked.",
    )
    real_bogus = models.FloatField(null=True, blank=True)
    scorer = models.CharField(
        max_length=60, blank=True, help_text="Name and version of the scorer."
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "index"], name="detection_once_per_run"),
            models.CheckConstraint(
                name="detection_score_is_a_probability",
                condition=Q(real_bogus__isnull=True) | Q(real_bogus__gte=0, real_bogus__lte=1),
            ),
            models.CheckConstraint(
                name="detection_score_names_its_scorer",
                condition=Q(real_bogus__isnull=True) | ~Q(scorer=""),
            ),
            models.CheckConstraint(
                name="detection_flux_error_positive", condition=Q(flux_error__gt=0)
            ),
            models.CheckConstraint(
                name="detection_position_on_the_sky",
                condition=Q(ra__isnull=True, dec__isnull=True, healpix14__isnull=True)
                | Q(ra__gte=0, ra__lt=360, dec__gte=-90, dec__lte=90, healpix14__isnull=False),
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["-created_at", "id"], name="detection_newest"),
            models.Index(fields=["is_kept", "-real_bogus", "id"], name="detection_queue"),
        ]

    def __str__(self) -> str:
        return f"{self.observation_id}#{self.index} {self.score:.1f} sigma"
