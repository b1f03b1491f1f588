"""Human verdicts, appended and never changed."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from astrid_site.core.models import UUIDModel
from detection.models import Detection


class Verdict(UUIDModel):
    """What one person said of one detection. A change of mind or an undo is a new row."""

    class Label(models.TextChoices):
        """The answers of the vetting page, in the order of their digit keys."""

        REAL = "real", "real"
        BOGUS = "bogus", "bogus"
        UNSURE = "unsure", "unsure"
        VARIABLE = "variable", "variable star or AGN"
        MOVING = "moving", "minor planet"
        WITHDRAWN = "withdrawn", "withdrawn"

    class Reason(models.TextChoices):
        """Why a candidate is bogus."""

        NONE = "", "-"
        DIPOLE = "dipole", "dipole"
        WING = "wing", "wing of a bright star"
        COSMIC_RAY = "cosmic_ray", "cosmic ray"
        HOT_PIXEL = "hot_pixel", "hot pixel"
        TRAIL = "trail", "satellite trail"
        EDGE = "edge", "edge"
        BAD_REFERENCE = "bad_reference", "bad reference"
        GHOST = "ghost", "ghost"

    detection = models.ForeignKey(Detection, on_delete=models.PROTECT, related_name="+")
    curator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    round = models.PositiveSmallIntegerField(default=1)
    sequence = models.PositiveSmallIntegerField(
        default=1, help_text="1 is the first answer; the highest one counts."
    )
    label = models.CharField(max_length=12, choices=Label)
    reason = models.CharField(max_length=16, choices=Reason, blank=True)
    comment = models.TextField(blank=True)
    seconds = models.FloatField(null=True, blank=True, help_text="Time taken to decide.")
    score_shown = models.FloatField(null=True, blank=True)
    scorer = models.CharField(max_length=60, blank=True)
    code_version = models.CharField(max_length=64, blank=True)
    decision = models.UUIDField(
        null=True,
        blank=True,
        editable=False,
        help_text="Drawn where the decision was taken: sent again, it is stored once.",
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["detection", "curator", "round", "sequence"], name="curation_verdict_once"
            ),
            models.UniqueConstraint(
                fields=["curator", "decision"],
                condition=Q(decision__isnull=False),
                name="curation_decision_once",
            ),
            models.CheckConstraint(
                name="curation_seconds_not_negative",
                condition=Q(seconds__isnull=True) | Q(seconds__gte=0),
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["curator", "-created_at"], name="curation_by_curator")
        ]

    def __str__(self) -> str:
        return f"{self.label} by {self.curator_id}"


class Assignment(models.Model):
    """Who has which object to decide: as many people at once as are wanted, and no more.

    Whoever decides keeps it; whoever only looks has it for a while.
    """

    unit = models.UUIDField(help_text="The object, or the candidate that belongs to none.")
    curator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    until = models.DateTimeField(
        null=True, blank=True, help_text="When it is free again; empty once it is decided."
    )
    seen_at = models.DateTimeField(help_text="When the curator's page was last heard of.")
    is_open = models.BooleanField(default=False, help_text="On the curator's screen just now.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["unit", "curator"], name="curation_assigned_once")
        ]
        indexes: ClassVar = [models.Index(fields=["curator", "until"], name="curation_my_assigned")]

    def __str__(self) -> str:
        return f"{self.unit} held by {self.curator_id}"
