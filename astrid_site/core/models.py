"""Rows every app shares: stored files, the job ledger, the event log and the audit trail."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from astrid_site.core.reasons import Trouble
from astrid_site.core.status import JobState


class UUIDModel(models.Model):
    """Base of every domain row: a random key and the time it was written (UTC)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        abstract = True


class FileKind(models.TextChoices):
    """What the bytes of a stored file are."""

    RAW = "raw", "raw frame"
    COMPANION = "companion", "given mask, noise or PSF"
    SCIENCE = "science", "science image"
    STARS = "stars", "star list"
    REFERENCE = "reference", "reference image"
    MASTER = "master", "calibration master"
    DIFFERENCE = "difference", "difference image"
    SCORE = "score", "score image"
    CUTOUTS = "cutouts", "cutouts"
    PREVIEW = "preview", "preview picture"
    WEIGHTS = "weights", "weights of a model"
    DATASET = "dataset", "data set of labelled cutouts"


class StoredFile(UUIDModel):
    """Bytes kept under the sha256 of their content; the same bytes are kept once."""

    sha256 = models.CharField(max_length=64, unique=True)
    size = models.PositiveBigIntegerField()
    kind = models.CharField(max_length=16, choices=FileKind)
    media_type = models.CharField(max_length=100)
    name = models.CharField(max_length=255, help_text="Name offered when the file is downloaded.")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="core_stored_file_sha256_is_hex", condition=Q(sha256__regex=r"^[0-9a-f]{64}$")
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.sha256[:10]})"

    @property
    def key(self) -> str:
        """Where the bytes lie in the object store."""
        return f"sha256/{self.sha256[:2]}/{self.sha256}"


class Job(UUIDModel):
    """One piece of work. The row is the work: messages only say that there is some."""

    kind = models.CharField(max_length=40)
    subject_id = models.UUIDField(help_text="The observation or object worked on.")
    config_version = models.CharField(max_length=64)
    queue = models.CharField(max_length=16, default="cpu")
    priority = models.SmallIntegerField(default=0, help_text="Higher runs first.")
    state = models.CharField(max_length=12, choices=JobState, default=JobState.QUEUED)
    attempts = models.PositiveSmallIntegerField(default=0)
    crashes = models.PositiveSmallIntegerField(
        default=0, help_text="Attempts that ended with the death of their worker."
    )
    token = models.UUIDField(null=True, blank=True, help_text="Fencing token of the current claim.")
    lease_until = models.DateTimeField(null=True, blank=True)
    next_at = models.DateTimeField(default=timezone.now, help_text="Not to be claimed before.")
    rung_at = models.DateTimeField(null=True, blank=True, help_text="When a worker was last told.")
    worker = models.CharField(max_length=120, blank=True)
    progress = models.FloatField(default=0.0)
    message = models.CharField(max_length=300, blank=True)
    cause = models.TextField(blank=True, help_text="Why it failed, was skipped or waits.")
    trouble = models.CharField(max_length=20, choices=Trouble, blank=True)
    detail = models.TextField(
        blank=True, help_text="Raw text of the last error, for those who look after the program."
    )
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["kind", "subject_id", "config_version"], name="core_job_once"
            ),
            models.CheckConstraint(
                name="core_job_running_is_leased",
                condition=~Q(state=JobState.RUNNING)
                | Q(token__isnull=False, lease_until__isnull=False),
            ),
            models.CheckConstraint(
                name="core_job_progress_is_a_fraction",
                condition=Q(progress__gte=0.0, progress__lte=1.0),
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["state", "next_at"], name="core_job_due"),
            models.Index(fields=["subject_id"], name="core_job_subject"),
            models.Index(fields=["-created_at", "id"], name="core_job_newest"),
            models.Index(
                F("priority").desc(),
                "created_at",
                name="core_job_queue",
                condition=Q(state="queued"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_id} {self.state}"


class Event(models.Model):
    """One line of the replayable log that feeds every live page.

    ``sequence`` is given by the one publisher after the commit, so that a reader who asks for
    everything after N never misses a row whose transaction ended late.
    """

    id = models.BigAutoField(primary_key=True)
    sequence = models.BigIntegerField(null=True, unique=True, editable=False)
    kind = models.CharField(max_length=40)
    subject_id = models.UUIDField(null=True)
    payload = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["id"], name="core_event_unpublished", condition=Q(sequence__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.kind}"


class AuditEntry(models.Model):
    """Who did what to which row; written once, never changed."""

    id = models.BigAutoField(primary_key=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    action = models.CharField(max_length=60)
    subject_type = models.CharField(max_length=60)
    subject_id = models.CharField(max_length=64)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    address = models.GenericIPAddressField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "audit entries"
        indexes: ClassVar = [
            models.Index(fields=["subject_type", "subject_id"], name="core_audit_subject")
        ]

    def __str__(self) -> str:
        return f"{self.created_at:%Y-%m-%d %H:%M:%S} {self.action}"


class Heartbeat(models.Model):
    """Last sign of life of one long-running process."""

    name = models.CharField(max_length=120, primary_key=True)
    kind = models.CharField(max_length=20)
    seen_at = models.DateTimeField()
    detail = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.name} {self.seen_at:%H:%M:%S}"


class IdempotencyKey(UUIDModel):
    """What a client was answered, so that a repeated request gets the same answer."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=200)
    body_sha256 = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    answer = models.JSONField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "key"], name="core_idempotency_once")
        ]

    def __str__(self) -> str:
        return self.key
