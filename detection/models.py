"""Detections: measured, scored candidates, the cuts they met and the pixels they lie in."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

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


class ScoringModel(UUIDModel):
    """One set of weights that gives real-bogus scores, and the part it plays."""

    class Family(models.TextChoices):
        """How a score is made."""

        NETWORK = "network", "network on cutouts"
        FEATURES = "features", "features measured"
        COMBINED = "combined", "features and cutouts"

    class Role(models.TextChoices):
        """What the scores of a model are used for."""

        CHAMPION = "champion", "champion"
        CHALLENGER = "challenger", "challenger"
        SHADOW = "shadow", "shadow"
        RETIRED = "retired", "retired"

    family = models.CharField(max_length=10, choices=Family)
    name = models.CharField(max_length=40)
    version = models.CharField(max_length=20)
    sha256 = models.CharField(max_length=64, unique=True, help_text="Of the weights.")
    role = models.CharField(max_length=10, choices=Role, default=Role.SHADOW)
    role_since = models.DateTimeField(default=timezone.now)
    is_shipped = models.BooleanField(
        default=False, help_text="Came with AstrID; else a person brought it."
    )
    file = models.ForeignKey(
        StoredFile,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The weights, kept when they were first used.",
    )
    record = models.JSONField(default=dict, help_text="How the weights were trained.")
    report = models.JSONField(default=dict, blank=True, help_text="Figures on held-out samples.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["role"],
                condition=Q(role__in=["champion", "challenger"]),
                name="detection_one_champion_one_challenger",
            ),
            models.CheckConstraint(
                name="detection_model_sha256_is_hex", condition=Q(sha256__regex=r"^[0-9a-f]{64}$")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


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
    real_bogus = models.FloatField(
        null=True, blank=True, help_text="Score of the champion; null where it gives none."
    )
    real_bogus_error = models.FloatField(null=True, blank=True)
    scorer = models.CharField(
        max_length=60, blank=True, help_text="Name and version of the scorer."
    )
    model_scores = models.JSONField(
        default=list,
        blank=True,
        help_text="model, name, version, score, score_error, reason of every model asked; "
        "the one shown first.",
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
                name="detection_score_error_has_a_score",
                condition=Q(real_bogus_error__isnull=True)
                | Q(real_bogus__isnull=False, real_bogus_error__gte=0),
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

    @property
    def other_scores(self) -> list[dict[str, Any]]:
        """What the models say whose score is not the one shown."""
        return [said for said in self.model_scores[1:] if said["score"] is not None]

    @property
    def score_problem(self) -> str:
        """Why the champion gave no score; empty where it gave one."""
        if self.real_bogus is not None:
            return ""
        said = self.model_scores[0]["reason"] if self.model_scores else ""
        return str(said) or "it was found before a model was in service"


class DataSet(UUIDModel):
    """Labelled triplets to train on, listed one by one in a manifest that its digest names.

    A row without a digest is asked for and not built yet.
    """

    name = models.CharField(max_length=60)
    version = models.PositiveIntegerField(
        null=True, blank=True, help_text="Counts from 1 within the name; empty until it is built."
    )
    digest = models.CharField(
        max_length=64, blank=True, help_text="SHA-256 of all that the manifest says of its samples."
    )
    parameters = models.JSONField(default=dict, help_text="What was asked for.")
    counts = models.JSONField(
        default=dict, blank=True, help_text="Samples by split and class, reasons of rejection."
    )
    changes = models.JSONField(
        default=dict, blank=True, help_text="Difference to the version before; empty for the first."
    )
    file = models.ForeignKey(
        StoredFile,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="ZIP of the manifest and the cutouts.",
    )
    mosaic_file = models.ForeignKey(
        StoredFile, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    code_version = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["name", "version"], name="detection_dataset_version_once"
            ),
            models.UniqueConstraint(
                fields=["name", "digest"],
                condition=~Q(digest=""),
                name="detection_dataset_digest_once",
            ),
            models.CheckConstraint(
                name="detection_dataset_is_built_or_not",
                condition=Q(digest="", version__isnull=True, file__isnull=True)
                | Q(digest__regex=r"^[0-9a-f]{64}$", version__gte=1, file__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}" if self.version else f"{self.name}, not built yet"


class TrainingRun(UUIDModel):
    """One training of a network on a data set; its job in the ledger says how far it is."""

    class EnergySource(models.TextChoices):
        """How the energy is known."""

        MEASURED = "measured", "measured"
        ESTIMATED = "estimated", "estimated"
        UNKNOWN = "", "not known"

    dataset = models.ForeignKey(DataSet, on_delete=models.PROTECT, related_name="+")
    start = models.ForeignKey(
        ScoringModel,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The network it goes on from.",
    )
    parameters = models.JSONField(default=dict)
    history = models.JSONField(
        default=list, blank=True, help_text="member, epoch, loss, validation_aucpr of each epoch."
    )
    seconds = models.FloatField(
        default=0.0, help_text="Time spent training, all attempts together."
    )
    energy_j = models.FloatField(null=True, blank=True)
    energy_source = models.CharField(max_length=10, choices=EnergySource, blank=True)
    model = models.ForeignKey(
        ScoringModel,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="What came of it.",
    )
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    code_version = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="detection_training_energy_names_its_source",
                condition=Q(energy_j__isnull=True, energy_source="")
                | Q(energy_j__gte=0, energy_source__in=["measured", "estimated"]),
            ),
            models.CheckConstraint(
                name="detection_training_seconds_not_negative", condition=Q(seconds__gte=0)
            ),
        ]

    def __str__(self) -> str:
        return f"training on {self.dataset_id}"


class CanarySet(UUIDModel):
    """Candidates whose truth is known, kept by their content; the newest set is the one in use."""

    file = models.OneToOneField(
        StoredFile,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="NPZ of cutouts, features, truth.",
    )
    n_real = models.PositiveIntegerField()
    n_bogus = models.PositiveIntegerField()
    recipe = models.JSONField(default=dict, help_text="How they were made.")

    def __str__(self) -> str:
        return f"canaries {self.file.sha256[:12]}"


class CanaryResult(UUIDModel):
    """What one model said of the canaries at one time; written once."""

    class Occasion(models.TextChoices):
        """Why it was asked."""

        REGISTRATION = "registration", "came into service"
        PART = "part", "its part changed"
        ROUND = "round", "regular round"

    model = models.ForeignKey(ScoringModel, on_delete=models.PROTECT, related_name="+")
    canary_set = models.ForeignKey(CanarySet, on_delete=models.PROTECT, related_name="+")
    occasion = models.CharField(max_length=12, choices=Occasion)
    role = models.CharField(max_length=10, choices=ScoringModel.Role, help_text="At that time.")
    cut = models.FloatField(help_text="Scores from here on count as real.")
    scores = models.JSONField(help_text="Of each canary in the order of the set; null for none.")
    figures = models.JSONField(
        default=dict, help_text="completeness, false_alarms: value, low, high; n_scored; roc_auc."
    )
    ms_per_candidate = models.FloatField(null=True, blank=True)
    problem = models.TextField(blank=True, help_text="Why it could not be asked.")
    harm = models.TextField(
        blank=True, help_text="What it does worse than it may; empty if nothing."
    )

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["model", "-created_at"], name="detection_canary_newest")
        ]

    def __str__(self) -> str:
        return f"{self.created_at:%Y-%m-%d %H:%M} {self.harm or self.problem or 'no harm'}"
