"""Objects: detections associated over time, with their light curves."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from astrid_site.core.models import StoredFile, UUIDModel
from detection.models import Detection, DetectionRun
from differencing.models import DifferenceRun
from observations.models import Observation, ProcessingRun, Survey
from preprocessing.models import ScienceImage


class AstroObject(UUIDModel):
    """Something at one place of the sky that was detected at least once."""

    class State(models.TextChoices):
        """What people have decided so far."""

        CANDIDATE = "candidate", "candidate"
        CONFIRMED = "confirmed", "confirmed"
        REJECTED = "rejected", "rejected"

    name = models.CharField(max_length=40, unique=True, help_text="AstrID JHHMMSS.ss+DDMMSS.s")
    ra = models.FloatField()
    dec = models.FloatField()
    healpix14 = models.BigIntegerField(db_index=True)
    forced_ra = models.FloatField(
        null=True,
        blank=True,
        help_text="Where its light curve is measured; follows ra and dec in noticeable steps.",
    )
    forced_dec = models.FloatField(null=True, blank=True)
    state = models.CharField(max_length=12, choices=State, default=State.CANDIDATE)
    classification = models.CharField(max_length=30, blank=True)
    n_detections = models.PositiveIntegerField(default=0)
    first_detected_at = models.DateTimeField(null=True, blank=True)
    last_detected_at = models.DateTimeField(null=True, blank=True)
    peak_score = models.FloatField(default=0.0, help_text="Largest |score| of its detections.")
    best_real_bogus = models.FloatField(null=True, blank=True)
    brightest_magnitude = models.FloatField(null=True, blank=True)
    is_simulated = models.BooleanField(default=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="catalog_object_on_the_sky",
                condition=Q(ra__gte=0, ra__lt=360, dec__gte=-90, dec__lte=90),
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["-last_detected_at", "id"], name="catalog_newest"),
            models.Index(fields=["-created_at", "id"], name="catalog_made_last"),
            models.Index(fields=["state", "-best_real_bogus", "id"], name="catalog_state"),
            models.Index(fields=["brightest_magnitude"], name="catalog_brightest"),
            models.Index(fields=["classification"], name="catalog_classification"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def forced_position(self) -> tuple[float, float]:
        """Where its light curve is measured, ICRS degrees."""
        if self.forced_ra is None or self.forced_dec is None:
            return self.ra, self.dec
        return self.forced_ra, self.forced_dec


class ObjectDetection(models.Model):
    """Which detection belongs to which object."""

    astro_object = models.ForeignKey(AstroObject, on_delete=models.CASCADE, related_name="members")
    detection = models.OneToOneField(Detection, on_delete=models.CASCADE, related_name="+")
    separation_arcsec = models.FloatField()

    def __str__(self) -> str:
        return f"{self.astro_object_id} <- {self.detection_id}"


#: What a point of a light curve says, beside whose it is and what it was measured on.
MEASURED_FIELDS = (
    "mjd",
    "band",
    "ra",
    "dec",
    "flux",
    "flux_error",
    "zero_point",
    "magnitude",
    "magnitude_error",
    "limiting_magnitude",
    "flags",
)


class LightCurvePoint(UUIDModel):
    """Forced photometry of one object on one frame; an upper limit where it is faint.

    The difference flux is what the object gained or lost against the reference, the total flux is
    all light of the PSF's shape at its place: host and neighbours included.
    """

    class Kind(models.TextChoices):
        """On which image the flux was measured; the two are never mixed."""

        DIFFERENCE = "difference", "difference flux"
        TOTAL = "total", "total flux"

    astro_object = models.ForeignKey(
        AstroObject, on_delete=models.CASCADE, related_name="light_curve"
    )
    kind = models.CharField(
        max_length=12,
        choices=Kind,
        default=Kind.DIFFERENCE,
        help_text="difference: on science minus template; total: on the science image itself.",
    )
    science_image = models.ForeignKey(ScienceImage, on_delete=models.CASCADE, related_name="+")
    difference_run = models.ForeignKey(
        DifferenceRun,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="Of a difference flux.",
    )
    observation = models.ForeignKey(Observation, on_delete=models.CASCADE, related_name="+")
    mjd = models.FloatField(null=True, blank=True, help_text="Middle of the exposure, UTC.")
    band = models.CharField(max_length=30, blank=True)
    ra = models.FloatField(null=True, blank=True, help_text="Where it was measured.")
    dec = models.FloatField(null=True, blank=True)
    flux = models.FloatField(
        null=True, help_text="Of its kind [science units]; null: see the flags."
    )
    flux_error = models.FloatField(null=True)
    zero_point = models.FloatField(null=True)
    magnitude = models.FloatField(null=True, help_text="Of a flux of its kind.")
    magnitude_error = models.FloatField(null=True)
    limiting_magnitude = models.FloatField(null=True, help_text="5 sigma.")
    flags = models.JSONField(default=list)

    class Meta:
        constraints: ClassVar = [
            # a science image belongs to one observation and one version of the pipeline
            models.UniqueConstraint(
                fields=["astro_object", "science_image", "kind"], name="catalog_point_once"
            ),
            models.CheckConstraint(
                name="catalog_point_difference_has_its_run",
                condition=Q(kind="difference", difference_run__isnull=False)
                | Q(kind="total", difference_run__isnull=True),
            ),
            models.CheckConstraint(
                name="catalog_point_has_its_error",
                condition=Q(flux__isnull=True) | Q(flux_error__gt=0),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.astro_object_id} {self.kind} {self.mjd}"


class AssociationRun(ProcessingRun):
    """Joining one observation's detections to objects."""

    detection_run = models.ForeignKey(
        DetectionRun, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )


class PhotometryRun(ProcessingRun):
    """Forced photometry of every known object in one observation's frame."""


class ObjectStatement(UUIDModel):
    """What a person says of an object: written once; it is withdrawn by another statement.

    The latest statement of a kind that nobody withdrew holds; aliases all hold.
    """

    class Kind(models.TextChoices):
        """What is stated."""

        ALIAS = "alias", "name elsewhere"
        HOST = "host", "host galaxy"
        REDSHIFT = "redshift", "redshift"
        CLASSIFICATION = "classification", "classification"
        NOTE = "note", "note"

    astro_object = models.ForeignKey(
        AstroObject, on_delete=models.PROTECT, related_name="statements"
    )
    kind = models.CharField(max_length=16, choices=Kind)
    text = models.CharField(max_length=300, blank=True, help_text="The name, type or words.")
    number = models.FloatField(null=True, blank=True, help_text="Of a redshift.")
    error = models.FloatField(null=True, blank=True)
    source = models.CharField(max_length=300, blank=True, help_text="Where it is known from.")
    said_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    withdraws = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="withdrawn_by"
    )

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="catalog_statement_redshift_is_a_number",
                condition=Q(withdraws__isnull=False)
                | Q(kind="redshift", number__gt=-0.01, number__lt=20)
                | ~Q(kind="redshift") & ~Q(text=""),
            ),
            models.CheckConstraint(
                name="catalog_statement_error_positive",
                condition=Q(error__isnull=True) | Q(error__gt=0),
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["astro_object", "created_at"], name="catalog_statement_of"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.text or self.number}"


class SavedSearch(UUIDModel):
    """Conditions somebody wants to find again; others see those that are shared."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=80)
    parameters = models.JSONField(default=dict, help_text="As in a query string.")
    is_public = models.BooleanField(default=False, help_text="Others see it too.")

    class Meta:
        verbose_name_plural = "saved searches"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "name"], name="catalog_search_name_once")
        ]

    def __str__(self) -> str:
        return self.name


class ForcedRequest(UUIDModel):
    """Places whose fluxes somebody asked for, and what every frame that covers them says.

    ``points`` are those of a light curve, each with the number of its place; how far the work is
    stands in its job.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=80, blank=True)
    survey = models.ForeignKey(
        Survey, null=True, blank=True, on_delete=models.CASCADE, related_name="+",
        help_text="Only its frames; empty: all.",
    )  # fmt: skip
    places = models.JSONField(help_text="Pairs of RA and Dec [ICRS degrees].")
    points = models.JSONField(default=list, blank=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["-created_at", "id"], name="catalog_forced_new")]

    def __str__(self) -> str:
        return self.name or f"{len(self.places)} place{'s' if len(self.places) != 1 else ''}"


class ContextList(UUIDModel):
    """A list of known things of the sky, held here: what is already known of a place."""

    class Kind(models.TextChoices):
        """What the list is of."""

        STAR = "star", "stars"
        GALAXY = "galaxy", "galaxies"
        VARIABLE = "variable", "variable stars"
        AGN = "agn", "active galaxies"

    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=10, choices=Kind)
    file = models.ForeignKey(
        StoredFile,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="npy rows sorted by place, as catalog.algorithms.context_table makes them.",
    )
    epoch = models.FloatField(help_text="Of its positions [Julian year].")
    match_arcsec = models.FloatField(help_text="What is nearer than this is the same thing.")
    n_rows = models.PositiveIntegerField()
    fastest_mas_yr = models.FloatField(default=0.0, help_text="Largest proper motion.")
    cells = models.JSONField(
        default=list, help_text="HEALPix cells of order 6 with rows, and the first row of each."
    )
    is_whole_sky = models.BooleanField(
        default=False, help_text="It covers places without any of its rows near, too."
    )
    is_active = models.BooleanField(default=True, help_text="Off: asked no more.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["kind", "file"], name="catalog_context_list_once"),
            models.CheckConstraint(
                name="catalog_context_match_positive", condition=Q(match_arcsec__gt=0)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}, {self.n_rows} {self.get_kind_display()}"
