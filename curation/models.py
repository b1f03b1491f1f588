"""Human verdicts, appended and never changed."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from astrid_site.core.models import UUIDModel
from curation.algorithms.consensus import Standing
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

    class Tier(models.TextChoices):
        """How much an answer weighs."""

        VOTE = "vote", "vote"
        EXPERT = "expert", "expert's word"

    detection = models.ForeignKey(Detection, on_delete=models.PROTECT, related_name="+")
    curator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    round = models.PositiveSmallIntegerField(default=1)
    sequence = models.PositiveSmallIntegerField(
        default=1, help_text="1 is the first answer; the highest one counts."
    )
    label = models.CharField(max_length=12, choices=Label)
    tier = models.CharField(
        max_length=8,
        choices=Tier,
        default=Tier.VOTE,
        help_text="Whether it is one answer of several or settles the matter.",
    )
    rating = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="An expert's: how interesting, 1 to 5."
    )
    reason = models.CharField(max_length=16, choices=Reason, blank=True)
    comment = models.TextField(blank=True)
    seconds = models.FloatField(null=True, blank=True, help_text="Time taken to decide.")
    score_shown = models.FloatField(null=True, blank=True)
    score_hidden = models.BooleanField(
        null=True, blank=True, help_text="Whether the model's score was kept from them."
    )
    scorer = models.CharField(max_length=60, blank=True)
    code_version = models.CharField(max_length=64, blank=True)
    decision = models.UUIDField(
        null=True,
        blank=True,
        editable=False,
        help_text="Drawn where the decision was taken: sent again, it is stored once.",
    )
    batch = models.UUIDField(
        null=True,
        blank=True,
        editable=False,
        help_text="Of verdicts given at once on a page of many.",
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
            models.CheckConstraint(
                name="curation_rating_is_an_experts",
                condition=Q(rating__isnull=True) | Q(rating__range=(1, 5), tier="expert"),
            ),
        ]
        permissions: ClassVar = [("settle_verdict", "Can settle what people disagree about")]
        indexes: ClassVar = [
            models.Index(fields=["curator", "-created_at"], name="curation_by_curator"),
            models.Index(fields=["batch"], name="curation_batch"),
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


class Snooze(UUIDModel):
    """An object that one person wants to see again only when something has happened."""

    unit = models.UUIDField(help_text="The object, or the candidate that belongs to none.")
    curator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    until = models.DateTimeField(null=True, blank=True, help_text="Not before.")
    n_detections = models.PositiveIntegerField(
        null=True, blank=True, help_text="Until it has more detections than these."
    )
    magnitude = models.FloatField(
        null=True, blank=True, help_text="Until it was brighter than this (AB, of the difference)."
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["unit", "curator"], name="curation_snoozed_once"),
            models.CheckConstraint(
                name="curation_snooze_ends",
                condition=Q(until__isnull=False)
                | Q(n_detections__isnull=False)
                | Q(magnitude__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.unit} put off by {self.curator_id}"


class SpotCheck(UUIDModel):
    """One of many that a person called bogus at once, shown to them again by itself.

    What they say then measures how often something slips through a page of many.
    """

    detection = models.ForeignKey(Detection, on_delete=models.CASCADE, related_name="+")
    curator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    batch = models.UUIDField(help_text="The page of many it was on.")
    answered_at = models.DateTimeField(null=True, blank=True)
    label = models.CharField(
        max_length=12, choices=Verdict.Label, blank=True, help_text="What they said then."
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["curator", "detection", "batch"], name="curation_checked_once"
            ),
            models.CheckConstraint(
                name="curation_check_is_answered_or_not",
                condition=Q(answered_at__isnull=True, label="")
                | (Q(answered_at__isnull=False) & ~Q(label="")),
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["curator", "answered_at"], name="curation_my_checks")
        ]

    def __str__(self) -> str:
        return f"{self.detection_id} by {self.curator_id}: {self.label or 'open'}"


class ConsensusRule(UUIDModel):
    """When answers are a consensus and enough people were asked. The newest row counts."""

    votes_needed = models.PositiveSmallIntegerField(
        default=1, help_text="Answers other than unsure before there is a consensus."
    )
    agreement = models.FloatField(
        default=0.6, help_text="Share of them that must be the same, above 0.5."
    )
    at_most = models.PositiveSmallIntegerField(default=3, help_text="People asked at most.")
    enough_real = models.PositiveSmallIntegerField(
        default=3, help_text="So many who say real, and nobody else is asked."
    )
    enough_bogus = models.PositiveSmallIntegerField(
        default=3, help_text="So many who say bogus, and nobody else is asked."
    )
    expert_settles = models.BooleanField(
        default=True, help_text="An expert's word stands above all other answers."
    )
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="curation_rule_can_be",
                condition=Q(agreement__gt=0.5, agreement__lte=1.0)
                & Q(votes_needed__gte=1, votes_needed__lte=F("at_most"))
                & Q(enough_real__gte=1, enough_real__lte=F("at_most"))
                & Q(enough_bogus__gte=1, enough_bogus__lte=F("at_most")),
            )
        ]

    def __str__(self) -> str:
        return f"{self.agreement:.0%} of at least {self.votes_needed}, at most {self.at_most}"


class Consensus(UUIDModel):
    """What the answers about one object come to; derived, and made anew with every answer."""

    unit = models.UUIDField(
        unique=True, help_text="The object, or the candidate that belongs to none."
    )
    label = models.CharField(max_length=12, choices=Verdict.Label, blank=True)
    standing = models.CharField(max_length=8, choices=[(s.value, s.value) for s in Standing])
    n_people = models.PositiveSmallIntegerField()
    n_agreeing = models.PositiveSmallIntegerField()
    is_retired = models.BooleanField(help_text="Nobody else is asked.")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "consensus"
        indexes: ClassVar = [
            models.Index(fields=["standing", "-changed_at", "id"], name="curation_standing"),
        ]

    def __str__(self) -> str:
        return f"{self.unit}: {self.standing} {self.label}"
