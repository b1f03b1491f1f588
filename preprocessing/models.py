"""Cameras, calibration frames and their masters, and the science images made with them."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from astrid_site.core.models import StoredFile, UUIDModel
from observations.models import ProcessingRun, Survey


class CalibrationKind(models.TextChoices):
    """What a calibration frame shows."""

    BIAS = "bias", "bias"
    DARK = "dark", "dark"
    FLAT = "flat", "flat"


class Camera(UUIDModel):
    """A detector in one way of reading it out: what its frames are calibrated by."""

    survey = models.ForeignKey(Survey, on_delete=models.PROTECT, related_name="+")
    instrument = models.CharField(max_length=80, blank=True)
    detector = models.CharField(max_length=40, blank=True)
    width = models.PositiveIntegerField(help_text="Columns of a raw frame.")
    height = models.PositiveIntegerField(help_text="Rows of a raw frame.")
    binning = models.CharField(max_length=10, default="1x1")
    mode = models.CharField(
        max_length=80, blank=True, help_text="Read-out mode, offset, gain setting of the header."
    )
    overscan_section = models.CharField(
        max_length=40, blank=True, help_text="[x1:x2,y1:y2]; empty: the header's BIASSEC."
    )
    image_section = models.CharField(
        max_length=40, blank=True, help_text="[x1:x2,y1:y2]; empty: the header's TRIMSEC."
    )
    crosstalk = models.JSONField(
        default=dict,
        blank=True,
        help_text='{"sections": ["[1:512,1:1024]", ...], "flips": [[false, false], ...], '
        '"coefficients": [[0, 0.001], ...]}; applied where it is given.',
    )
    use_measured = models.BooleanField(
        default=False,
        help_text="Calibrate with the measured gain, read noise, linearity and saturation "
        "instead of what headers say.",
    )
    gain = models.FloatField(null=True, blank=True, help_text="Measured, e-/ADU.")
    gain_error = models.FloatField(null=True, blank=True)
    stated_gain = models.FloatField(null=True, blank=True, help_text="What headers say, e-/ADU.")
    read_noise = models.FloatField(null=True, blank=True, help_text="Measured, electrons.")
    saturation = models.FloatField(
        null=True, blank=True, help_text="Measured, ADU above the pedestal."
    )
    linearity = models.JSONField(
        default=dict, blank=True, help_text="Measured: quadratic, cubic, max_level, rms."
    )
    measured_at = models.DateTimeField(null=True, blank=True)
    warnings = models.JSONField(
        default=list, blank=True, help_text="What the last build could not use, or found doubtful."
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["survey", "instrument", "detector", "width", "height", "binning", "mode"],
                name="preprocessing_camera_once",
            )
        ]

    def __str__(self) -> str:
        name = " ".join(word for word in (self.instrument, self.detector) if word)
        mode = f", {self.mode}" if self.mode else ""
        return f"{name or 'camera'} {self.width} x {self.height}, binning {self.binning}{mode}"


class CalibrationFrame(UUIDModel):
    """One raw bias, dark or flat, as it was handed over."""

    camera = models.ForeignKey(Camera, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=8, choices=CalibrationKind)
    name = models.CharField(max_length=255, help_text="File name.")
    file = models.ForeignKey(StoredFile, on_delete=models.PROTECT, related_name="+")
    hdu = models.CharField(max_length=40, blank=True)
    band = models.CharField(max_length=30, blank=True)
    exposure_s = models.FloatField(null=True, blank=True)
    temperature_c = models.FloatField(null=True, blank=True)
    observed_at = models.DateTimeField(null=True, blank=True, help_text="Start, UTC.")
    header = models.JSONField(default=dict, blank=True)
    is_simulated = models.BooleanField(default=False)
    problem = models.TextField(blank=True, help_text="Why it is in no master.")
    submitted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["camera", "file"], name="preprocessing_calibrationframe_once"
            )
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["camera", "kind", "observed_at"], name="preprocessing_calframe_when"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class CalibrationMaster(UUIDModel):
    """Many calibration frames as one, with variance and bad pixels."""

    class Verdict(models.TextChoices):
        """Against the last master of its kind."""

        FIRST = "first", "first of its kind"
        PASS = "pass", "like the last"
        CHANGED = "changed", "differs from the last"

    camera = models.ForeignKey(Camera, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=8, choices=CalibrationKind)
    band = models.CharField(max_length=30, blank=True)
    exposure_s = models.FloatField(null=True, blank=True, help_text="Of a dark.")
    temperature_c = models.FloatField(null=True, blank=True, help_text="Median of its frames.")
    observed_from = models.DateTimeField(help_text="Its first frame, UTC.")
    observed_until = models.DateTimeField(help_text="Its last frame, UTC.")
    valid_from = models.DateTimeField(help_text="Used for exposures from then, UTC.")
    valid_until = models.DateTimeField(help_text="Used for exposures until then, UTC.")
    is_active = models.BooleanField(default=True, help_text="Off: never used again.")
    includes_bias = models.BooleanField(default=False, help_text="A dark made without a bias.")
    frames = models.ManyToManyField(CalibrationFrame, related_name="+")
    n_frames = models.PositiveIntegerField()
    n_clipped = models.PositiveBigIntegerField(help_text="Values left out as outliers.")
    n_bad = models.PositiveIntegerField(help_text="Bad pixels.")
    level = models.FloatField(help_text="Median, ADU; of flats the signal of their frames.")
    noise = models.FloatField(help_text="Noise of one frame: ADU, or a fraction for flats.")
    bias = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    dark = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    previous = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    superseded_by = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    verdict = models.CharField(max_length=8, choices=Verdict, default=Verdict.FIRST)
    reasons = models.JSONField(default=list, blank=True, help_text="What differs from the last.")
    numbers = models.JSONField(default=dict, blank=True, help_text="Comparison with the last.")
    file = models.ForeignKey(StoredFile, on_delete=models.PROTECT, related_name="+")
    preview_file = models.ForeignKey(StoredFile, on_delete=models.PROTECT, related_name="+")
    digest = models.CharField(max_length=64, help_text="sha256 of what it was made of, and how.")
    code_version = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["camera", "digest"], name="preprocessing_calibrationmaster_once"
            ),
            models.CheckConstraint(
                name="preprocessing_calibrationmaster_valid_in_order",
                condition=Q(valid_until__gte=models.F("valid_from")),
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["camera", "kind", "observed_from"], name="preprocessing_master_when"
            )
        ]

    def __str__(self) -> str:
        what = f" {self.band}" if self.band else ""
        what += f" {self.exposure_s:g} s" if self.kind == "dark" and self.exposure_s else ""
        return f"{self.kind}{what} {self.observed_from:%Y-%m-%d}"


class ReferenceCatalog(UUIDModel):
    """Stars of known magnitude, against which the frames of a survey are calibrated."""

    survey = models.ForeignKey(Survey, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=100, help_text="Name of the file it was read from.")
    bands = models.JSONField(help_text="Bands with magnitudes.")
    has_color = models.BooleanField(help_text="A colour of its own; else of two bands.")
    n_stars = models.PositiveIntegerField()
    file = models.ForeignKey(StoredFile, on_delete=models.PROTECT, related_name="+")
    is_active = models.BooleanField(default=True, help_text="Off: never used again.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["survey", "file"], name="preprocessing_referencecatalog_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name}, {self.n_stars} stars"


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
    bias_master = models.ForeignKey(
        CalibrationMaster, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    dark_master = models.ForeignKey(
        CalibrationMaster, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    flat_master = models.ForeignKey(
        CalibrationMaster, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    fwhm_pix = models.FloatField(null=True, blank=True)
    seeing_arcsec = models.FloatField(null=True, blank=True)
    sky_noise = models.FloatField(null=True, blank=True)
    zero_point = models.FloatField(null=True, blank=True)
    limiting_magnitude = models.FloatField(null=True, blank=True)
    n_stars = models.PositiveIntegerField(null=True, blank=True)
