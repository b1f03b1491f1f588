"""What surveys hand us: surveys, observations, and the base of every run on them."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from astrid_site.core.models import StoredFile, UUIDModel
from astrid_site.core.status import RunStatus


class Survey(UUIDModel):
    """A source of images with its own header words, camera facts and rules."""

    name = models.CharField(max_length=100, unique=True)
    slug = models.SlugField(max_length=100, unique=True)
    description = models.TextField(blank=True)
    mission = models.CharField(
        max_length=20, blank=True, help_text="Band vocabulary, e.g. SDSS; empty: generic."
    )
    keyword_map = models.JSONField(
        default=dict, blank=True, help_text='Header words, e.g. {"exposure_s": ["EXPTIME"]}.'
    )
    image_hdu = models.CharField(
        max_length=20, blank=True, help_text="EXTNAME or index; empty: first 2-D image."
    )
    gain = models.FloatField(null=True, blank=True, help_text="e-/ADU where headers are silent.")
    read_noise = models.FloatField(null=True, blank=True, help_text="Electrons.")
    saturation = models.FloatField(null=True, blank=True, help_text="ADU.")
    min_overlap = models.FloatField(default=0.85)
    reference_min_epochs = models.PositiveSmallIntegerField(default=1)
    reference_max_epochs = models.PositiveSmallIntegerField(default=10)
    reference_min_gain_percent = models.FloatField(
        default=0.5,
        help_text="An epoch is stacked while it lowers the predicted noise of differences by this.",
    )
    reference_rebuild_every = models.PositiveSmallIntegerField(
        default=5,
        help_text="A reference is made anew after so many epochs at the earliest; 0: never.",
    )
    reference_rebuild_percent = models.FloatField(
        default=5.0,
        help_text="It is made anew when the predicted noise of differences falls by this much.",
    )
    reference_guard_days = models.FloatField(
        default=1.0,
        help_text="A reference made anew has no epoch this close before the frame that uses it.",
    )
    detection_threshold = models.FloatField(default=5.0, help_text="Sigma on the score image.")
    method = models.CharField(max_length=12, default="auto")
    is_simulated = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="observations_survey_overlap_is_a_fraction",
                condition=Q(min_overlap__gt=0, min_overlap__lte=1),
            ),
            models.CheckConstraint(
                name="observations_survey_epochs_ordered",
                condition=Q(reference_min_epochs__gte=1)
                & Q(reference_max_epochs__gte=models.F("reference_min_epochs")),
            ),
            models.CheckConstraint(
                name="observations_survey_rebuild_rule_sane",
                condition=Q(reference_min_gain_percent__gte=0, reference_min_gain_percent__lt=100)
                & Q(reference_rebuild_percent__gte=0, reference_rebuild_percent__lt=100)
                & Q(reference_guard_days__gte=0),
            ),
            models.CheckConstraint(
                name="observations_survey_threshold_positive",
                condition=Q(detection_threshold__gt=0),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Observation(UUIDModel):
    """One exposure in one band. What the header does not say is null, never guessed."""

    class Role(models.TextChoices):
        """How the frame takes part in references."""

        AUTO = "auto", "by its date"
        TEMPLATE = "template", "named as reference by a person, whatever its date"
        SCIENCE = "science", "never part of a reference"

    survey = models.ForeignKey(Survey, on_delete=models.PROTECT, related_name="+")
    observation_id = models.CharField(max_length=255)
    target = models.CharField(max_length=120, blank=True, help_text="OBJECT, or the field's name.")
    telescope = models.CharField(max_length=80, blank=True)
    instrument = models.CharField(max_length=80, blank=True)
    detector = models.CharField(max_length=40, blank=True)
    band = models.CharField(max_length=30, blank=True)
    observed_at = models.DateTimeField(null=True, blank=True, help_text="Start, UTC.")
    ended_at = models.DateTimeField(null=True, blank=True)
    mid_mjd = models.FloatField(null=True, blank=True, help_text="Middle of the exposure, MJD UTC.")
    exposure_s = models.FloatField(null=True, blank=True)
    airmass = models.FloatField(null=True, blank=True)
    ra = models.FloatField(null=True, blank=True, help_text="Centre, ICRS degrees.")
    dec = models.FloatField(null=True, blank=True)
    healpix14 = models.BigIntegerField(null=True, blank=True, db_index=True)
    radius_deg = models.FloatField(null=True, blank=True)
    footprint = models.JSONField(default=list, blank=True, help_text="Corners, [[ra, dec], ...].")
    pixel_scale_arcsec = models.FloatField(null=True, blank=True)
    image_width = models.PositiveIntegerField()
    image_height = models.PositiveIntegerField()
    header = models.JSONField(default=dict, blank=True)
    overrides = models.JSONField(
        default=dict, blank=True, help_text="What a sidecar table said instead of the header."
    )
    defects = models.JSONField(default=list, blank=True, help_text="What is wrong with the header.")
    role = models.CharField(max_length=10, choices=Role, default=Role.AUTO)
    raw_file = models.ForeignKey(StoredFile, on_delete=models.PROTECT, related_name="+")
    raw_hdu = models.CharField(max_length=40, blank=True)
    mask_file = models.ForeignKey(
        StoredFile, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    noise_file = models.ForeignKey(
        StoredFile, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    psf_file = models.ForeignKey(
        StoredFile, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    is_simulated = models.BooleanField(default=False)
    submitted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    status = models.CharField(max_length=12, choices=RunStatus, default=RunStatus.PENDING)
    stage = models.CharField(max_length=20, blank=True, help_text="Stage reached last.")
    reason = models.TextField(blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["survey", "observation_id"], name="observations_observation_id_once"
            ),
            models.UniqueConstraint(
                fields=["survey", "raw_file", "raw_hdu"], name="observations_content_once"
            ),
            models.CheckConstraint(
                name="observations_position_on_the_sky",
                condition=Q(ra__isnull=True, dec__isnull=True, healpix14__isnull=True)
                | Q(ra__gte=0, ra__lt=360, dec__gte=-90, dec__lte=90, healpix14__isnull=False),
            ),
            models.CheckConstraint(
                name="observations_exposure_positive",
                condition=Q(exposure_s__isnull=True) | Q(exposure_s__gt=0),
            ),
            models.CheckConstraint(
                name="observations_ends_after_start",
                condition=Q(ended_at__isnull=True)
                | Q(observed_at__isnull=True)
                | Q(ended_at__gte=models.F("observed_at")),
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["status"], name="observations_status"),
            models.Index(fields=["-created_at", "id"], name="observations_newest"),
            models.Index(fields=["survey", "band", "observed_at"], name="observations_epochs"),
        ]

    def __str__(self) -> str:
        return f"{self.survey} {self.observation_id}"


class ProcessingRun(UUIDModel):
    """One stage's run on one observation: what it was given, how it ended, what it measured."""

    observation = models.ForeignKey(Observation, on_delete=models.CASCADE, related_name="+")
    pipeline_version = models.CharField(max_length=64)
    status = models.CharField(max_length=12, choices=RunStatus, default=RunStatus.PENDING)
    reason = models.TextField(blank=True)
    numbers = models.JSONField(default=dict, blank=True, help_text="Numbers behind the reason.")
    parameters = models.JSONField(default=dict, blank=True)
    metrics = models.JSONField(default=dict, blank=True)
    inputs = models.JSONField(default=dict, blank=True, help_text="sha256 of every input.")
    code_version = models.CharField(max_length=64, blank=True)
    log = models.TextField(blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["observation", "pipeline_version"], name="%(app_label)s_%(class)s_once"
            )
        ]

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.observation_id} {self.status}"
