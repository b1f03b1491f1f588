"""References, and the differences made with them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from astrid_site.core.models import StoredFile, UUIDModel
from observations.models import ProcessingRun, Survey
from preprocessing.models import ScienceImage


class ReferenceImage(UUIDModel):
    """The deep static image of one field in one band, made of earlier epochs."""

    survey = models.ForeignKey(Survey, on_delete=models.PROTECT, related_name="+")
    band = models.CharField(max_length=30, blank=True)
    target = models.CharField(max_length=120, blank=True)
    file = models.ForeignKey(StoredFile, on_delete=models.PROTECT, related_name="+")
    stars_file = models.ForeignKey(StoredFile, on_delete=models.PROTECT, related_name="+")
    preview_file = models.ForeignKey(
        StoredFile, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    ra = models.FloatField(null=True, blank=True)
    dec = models.FloatField(null=True, blank=True)
    healpix14 = models.BigIntegerField(null=True, blank=True, db_index=True)
    radius_deg = models.FloatField(null=True, blank=True)
    footprint = models.JSONField(default=list, blank=True)
    last_ended_at = models.DateTimeField(
        null=True, blank=True, help_text="End of its latest epoch; science must start after it."
    )
    is_pinned = models.BooleanField(
        default=False, help_text="Its epochs were named by a person, so their dates do not matter."
    )
    is_active = models.BooleanField(default=True)
    version = models.PositiveSmallIntegerField(
        default=1, help_text="Counts the references of one field; those before it are kept."
    )
    former = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    reason = models.TextField(blank=True, help_text="Why it was made.")
    coverage_file = models.ForeignKey(
        StoredFile, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    coverage_preview_file = models.ForeignKey(
        StoredFile, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    epochs_digest = models.CharField(
        max_length=64,
        help_text="sha256 over the hashes of the epochs that it was to be made of, and of those "
        "of the version before it.",
    )
    metrics = models.JSONField(default=dict, blank=True)
    code_version = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["survey", "band", "epochs_digest"], name="differencing_reference_once"
            )
        ]

    def __str__(self) -> str:
        return f"reference {self.survey} {self.target} {self.band}"


class ReferenceEpoch(models.Model):
    """One science image that went into a reference."""

    reference = models.ForeignKey(ReferenceImage, on_delete=models.CASCADE, related_name="epochs")
    science_image = models.ForeignKey(ScienceImage, on_delete=models.PROTECT, related_name="+")
    weight = models.FloatField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["reference", "science_image"], name="differencing_epoch_once"
            ),
            models.CheckConstraint(
                name="differencing_epoch_weight_positive", condition=Q(weight__gt=0)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reference_id} <- {self.science_image_id}"


class ReferenceRun(ProcessingRun):
    """The search for a reference, or the making of one, for one observation."""

    reference = models.ForeignKey(
        ReferenceImage, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )


class DifferenceRun(ProcessingRun):
    """Science minus template, with its score image and the verdict on its quality."""

    class Quality(models.TextChoices):
        """What the difference is good for."""

        PASS = "pass", "pass"
        DOWNGRADE = "downgrade", "downgrade"
        FAIL = "fail", "fail"

    reference = models.ForeignKey(
        ReferenceImage, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    science_image = models.ForeignKey(
        ScienceImage, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    file = models.ForeignKey(
        StoredFile, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    template_file = models.ForeignKey(
        StoredFile, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    score_file = models.ForeignKey(
        StoredFile, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    preview_file = models.ForeignKey(
        StoredFile, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    method = models.CharField(max_length=20, blank=True)
    method_reason = models.TextField(blank=True)
    quality = models.CharField(max_length=10, choices=Quality, blank=True)
    quality_reasons = models.JSONField(default=list, blank=True)
