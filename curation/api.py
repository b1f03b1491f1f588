"""REST: verdicts."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from astrid_site.core.fields import FiniteFloatField, StrictQuery, read_query
from astrid_site.core.permissions import person
from curation import selectors, services
from curation.models import Consensus, Verdict
from detection.api import CandidateOutput
from detection.models import Detection
from observations.api import SurveyField


class VerdictInput(serializers.Serializer[Any]):
    """One person's answer about one candidate."""

    label = serializers.ChoiceField(  # type: ignore[assignment]  # shadows a field's own label
        choices=[c for c in Verdict.Label.choices if c[0] != Verdict.Label.WITHDRAWN]
    )
    reason = serializers.ChoiceField(
        choices=[c for c in Verdict.Reason.choices if c[0]],
        required=False,
        allow_blank=True,
        default="",
        help_text="Why a candidate is bogus; only with that label.",
    )
    comment = serializers.CharField(required=False, allow_blank=True, max_length=2000, default="")
    seconds = FiniteFloatField(
        required=False, allow_null=True, min_value=0.0, max_value=86_400.0, default=None
    )
    round = serializers.IntegerField(required=False, min_value=1, max_value=100, default=1)
    tier = serializers.ChoiceField(
        choices=Verdict.Tier.choices,
        required=False,
        default=Verdict.Tier.VOTE,
        help_text="expert: it settles the matter; needs the permission to settle.",
    )
    rating = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=5,
        default=None,
        help_text="An expert's: how interesting.",
    )


class VerdictOutput(serializers.ModelSerializer[Verdict]):
    """One row of the verdict history."""

    curator = serializers.CharField(source="curator.username", read_only=True)

    class Meta:
        model = Verdict
        fields = (
            "id",
            "detection",
            "curator",
            "round",
            "sequence",
            "label",
            "tier",
            "rating",
            "reason",
            "comment",
            "seconds",
            "created_at",
        )


class RoundQuery(StrictQuery):
    """Which round of vetting."""

    round = serializers.IntegerField(required=False, min_value=1, max_value=100, default=1)


class CandidateVerdict(APIView):
    """Verdicts on one candidate: read everybody's, give mine, take mine back."""

    required_permissions = {
        "GET": "curation.view_verdict",
        "PUT": "curation.add_verdict",
        "DELETE": "curation.add_verdict",
    }

    @extend_schema(responses=VerdictOutput(many=True))
    def get(self, request: Request, pk: UUID) -> Response:
        """Every verdict on the candidate, oldest first; the history, not only what counts."""
        detection = get_object_or_404(Detection, pk=pk)
        rows = selectors.detection_verdicts(detection)
        return Response(VerdictOutput(rows, many=True).data)

    @extend_schema(request=VerdictInput, responses=VerdictOutput)
    def put(self, request: Request, pk: UUID) -> Response:
        """Give or change my verdict; the same answer twice is stored once."""
        detection = get_object_or_404(Detection, pk=pk)
        form = VerdictInput(data=request.data)
        form.is_valid(raise_exception=True)
        is_settling = form.validated_data["tier"] == Verdict.Tier.EXPERT
        if is_settling and not request.user.has_perm("curation.settle_verdict"):
            raise PermissionDenied
        verdict = services.give_verdict(detection, person(request), **form.validated_data)
        return Response(VerdictOutput(verdict).data)

    @extend_schema(parameters=[RoundQuery], responses={204: None})
    def delete(self, request: Request, pk: UUID) -> Response:
        """Withdraw my verdict; the history keeps it."""
        detection = get_object_or_404(Detection, pk=pk)
        said = read_query(RoundQuery, request)
        services.withdraw_verdict(detection, person(request), round=said["round"])
        return Response(status=status.HTTP_204_NO_CONTENT)


class ConsensusOutput(serializers.ModelSerializer[Consensus]):
    """What the answers about the candidate's object come to."""

    class Meta:
        model = Consensus
        fields = (
            "unit",
            "label",
            "standing",
            "n_people",
            "n_agreeing",
            "is_retired",
            "changed_at",
        )


class CandidateConsensus(APIView):
    """What people say together of a candidate's object."""

    required_permissions = {"GET": "curation.view_verdict"}

    @extend_schema(responses=ConsensusOutput)
    def get(self, request: Request, pk: UUID) -> Response:
        """The consensus; 404 as long as nobody has said anything."""
        detection = get_object_or_404(Detection, pk=pk)
        unit = selectors.units_of([detection.pk])[detection.pk]
        return Response(ConsensusOutput(get_object_or_404(Consensus, unit=unit)).data)


class NextQuery(StrictQuery):
    """How many candidates, and of which survey."""

    limit = serializers.IntegerField(required=False, min_value=1, max_value=50, default=10)
    survey = SurveyField(
        required=False, only_active=True, help_text="Name or slug: candidates on its frames."
    )


class NextCandidates(APIView):
    """The candidates I should look at next."""

    required_permissions = {"GET": "curation.add_verdict"}

    @extend_schema(parameters=[NextQuery], responses=CandidateOutput(many=True))
    def get(self, request: Request) -> Response:
        """Best first; one candidate per object; none that I decided."""
        said = read_query(NextQuery, request)
        found = selectors.next_candidates(
            person(request), limit=said["limit"], survey=said.get("survey")
        )
        return Response(CandidateOutput(found, many=True).data)
