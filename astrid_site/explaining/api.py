"""REST: why a place shows what it shows, frame by frame."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from astrid_site.core.fields import FiniteFloatField, StrictQuery, read_query
from astrid_site.core.permissions import person
from astrid_site.explaining.frames import (
    DEFAULT_DAYS,
    MAX_FRAMES,
    Question,
    explain_position,
)
from detection.algorithms.place_facts import Ending
from observations.api import SurveyField

#: Whoever may see these may ask; what people said is told to those who may see verdicts.
PERMISSION = "detection.view_detection"
VERDICTS = "curation.view_verdict"
MAX_DAYS = 40_000.0


class ExplainQuery(StrictQuery):
    """A place, and the frames that are asked about it."""

    ra = FiniteFloatField(min_value=0.0, max_value=360.0, help_text="ICRS degrees.")
    dec = FiniteFloatField(min_value=-90.0, max_value=90.0, help_text="ICRS degrees.")
    mjd = FiniteFloatField(
        required=False,
        min_value=0.0,
        max_value=200_000.0,
        help_text="Frames taken near this time [MJD UTC]; without it all of them.",
    )
    days = FiniteFloatField(
        min_value=0.0, max_value=MAX_DAYS, default=DEFAULT_DAYS, help_text="How near."
    )
    survey = SurveyField(required=False, help_text="Name or slug: frames of one survey.")
    limit = serializers.IntegerField(min_value=1, max_value=MAX_FRAMES, default=MAX_FRAMES)


class StepOutput(serializers.Serializer[Any]):
    """One stage of the way of a place."""

    name = serializers.CharField()
    title = serializers.CharField()
    state = serializers.ChoiceField(choices=["passed", "stopped", "not reached"])
    words = serializers.CharField(help_text="What the stage saw.")


class ReadingOutput(serializers.Serializer[Any]):
    """What the pixels of the difference say at the place."""

    peak_score = serializers.FloatField(
        allow_null=True, help_text="Largest |score| within one FWHM, signed [sigma]."
    )
    peak_offset_pix = serializers.FloatField(allow_null=True)
    planes = serializers.ListField(child=serializers.CharField(), help_text="Mask planes there.")
    masked_share = serializers.FloatField(help_text="Of the PSF's squared weight.")
    usable_pix = serializers.FloatField(
        allow_null=True, help_text="Distance to the nearest usable pixel."
    )
    flux = serializers.FloatField(allow_null=True, help_text="Forced [science units].")
    flux_error = serializers.FloatField(allow_null=True)
    limiting_magnitude = serializers.FloatField(allow_null=True, help_text="5 sigma, AB.")
    fwhm_pix = serializers.FloatField()


class DipoleOutput(serializers.Serializer[Any]):
    """Two sources of opposite sign fitted to the difference."""

    dx = serializers.FloatField(help_text="From the negative to the positive lobe [pix].")
    dy = serializers.FloatField()
    positive = serializers.FloatField(help_text="Flux [science units].")
    negative = serializers.FloatField()
    likelihood_ratio = serializers.FloatField(
        help_text="2 ln of the dipole's likelihood over that of one source."
    )


class PixelHistoryOutput(serializers.Serializer[Any]):
    """Candidates at the same detector pixel in frames that look elsewhere."""

    n_frames = serializers.IntegerField()
    n_hits = serializers.IntegerField()
    expected = serializers.FloatField(help_text="Hits by accident.")
    hot_probability = serializers.FloatField(allow_null=True)


class DiagnosisOutput(serializers.Serializer[Any]):
    """What a doubtful candidate may be."""

    causes = serializers.DictField(
        child=serializers.FloatField(),
        help_text="Relative likelihoods of a model set by hand, point_source among them.",
    )
    history = PixelHistoryOutput()
    dipole = DipoleOutput(allow_null=True)


class FrameAnswerOutput(serializers.Serializer[Any]):
    """How the way of the place on one frame ended."""

    observation = serializers.UUIDField(source="observation.pk")
    observation_id = serializers.CharField(source="observation.observation_id")
    survey = serializers.CharField(source="observation.survey.name")
    band = serializers.CharField(source="observation.band")
    mjd = serializers.FloatField(source="observation.mid_mjd", allow_null=True)
    is_simulated = serializers.BooleanField(source="observation.is_simulated")
    x = serializers.FloatField(source="place.position.x", allow_null=True)
    y = serializers.FloatField(source="place.position.y", allow_null=True)
    beyond_pix = serializers.FloatField(
        source="place.position.beyond_pix", allow_null=True, help_text="0 inside the frame."
    )
    ending = serializers.ChoiceField(
        source="explanation.ending", choices=[ending.value for ending in Ending]
    )
    sentence = serializers.CharField(source="explanation.sentence")
    change = serializers.CharField(
        source="explanation.change", help_text="The smallest that would have carried it further."
    )
    cut = serializers.CharField(source="explanation.cut", help_text="The worst cut it failed.")
    steps = StepOutput(source="explanation.steps", many=True)
    reading = ReadingOutput(source="place.reading", allow_null=True)
    diagnosis = DiagnosisOutput(allow_null=True)
    candidate = serializers.UUIDField(
        source="place.detection.pk", allow_null=True, default=None, help_text="The one stored."
    )
    object = serializers.UUIDField(
        source="place.astro_object.pk", allow_null=True, default=None, help_text="That it is of."
    )


class PositionAnswerOutput(serializers.Serializer[Any]):
    """The answers of all frames."""

    ra = serializers.FloatField(source="question.ra")
    dec = serializers.FloatField(source="question.dec")
    mjd = serializers.FloatField(source="question.mjd", allow_null=True)
    summary = serializers.CharField()
    note = serializers.CharField(help_text="What must be said of the choice of frames.")
    n_beyond = serializers.IntegerField(help_text="Further frames that were not read.")
    frames = FrameAnswerOutput(many=True)


class ExplainPosition(APIView):
    """Why a place shows what it shows, or does not: every frame near a time, stage by stage."""

    required_permissions = {"GET": PERMISSION}

    @extend_schema(parameters=[ExplainQuery], responses=PositionAnswerOutput)
    def get(self, request: Request) -> Response:
        """The answers of the frames, and one sentence over all."""
        asked = read_query(ExplainQuery, request)
        question = Question(
            asked["ra"] % 360.0,
            asked["dec"],
            mjd=asked.get("mjd"),
            days=asked["days"],
            survey=asked.get("survey"),
            limit=asked["limit"],
            sees_verdicts=person(request).has_perm(VERDICTS),
        )
        return Response(PositionAnswerOutput(explain_position(question)).data)
