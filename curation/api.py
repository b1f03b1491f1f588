"""REST: verdicts."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from curation import selectors, services
from curation.models import Verdict
from detection.api import CandidateOutput
from detection.models import Detection


class VerdictInput(serializers.Serializer[Any]):
    """One person's answer about one candidate."""

    label = serializers.ChoiceField(
        choices=[c for c in Verdict.Label.choices if c[0] != Verdict.Label.WITHDRAWN]
    )
    reason = serializers.ChoiceField(
        choices=Verdict.Reason.choices, required=False, allow_blank=True, default=""
    )
    comment = serializers.CharField(required=False, allow_blank=True, max_length=2000, default="")
    seconds = serializers.FloatField(required=False, allow_null=True, min_value=0.0, default=None)
    round = serializers.IntegerField(required=False, min_value=1, max_value=100, default=1)


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
            "reason",
            "comment",
            "seconds",
            "created_at",
        )


class CandidateVerdict(APIView):
    """My verdict on one candidate: read it, give it, take it back."""

    required_permissions = {
        "GET": "curation.view_verdict",
        "PUT": "curation.add_verdict",
        "DELETE": "curation.add_verdict",
    }

    @extend_schema(responses=VerdictOutput(many=True))
    def get(self, request: Request, pk: str) -> Response:
        """Every verdict on the candidate, oldest first."""
        detection = get_object_or_404(Detection, pk=pk)
        return Response(VerdictOutput(selectors.verdict_history(detection), many=True).data)

    @extend_schema(request=VerdictInput, responses=VerdictOutput)
    def put(self, request: Request, pk: str) -> Response:
        """Give or change my verdict; the same answer twice is stored once."""
        detection = get_object_or_404(Detection, pk=pk)
        form = VerdictInput(data=request.data)
        form.is_valid(raise_exception=True)
        verdict = services.give_verdict(detection, request.user, **form.validated_data)
        return Response(VerdictOutput(verdict).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: str) -> Response:
        """Withdraw my verdict; the history keeps it."""
        services.withdraw_verdict(get_object_or_404(Detection, pk=pk), request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class NextCandidates(APIView):
    """The candidates I should look at next."""

    required_permissions = {"GET": "curation.add_verdict"}

    @extend_schema(
        parameters=[OpenApiParameter("limit", int, description="1 to 50, default 10.")],
        responses=CandidateOutput(many=True),
    )
    def get(self, request: Request) -> Response:
        """Best first; one candidate per object; none that I decided."""
        text = request.query_params.get("limit", "10")
        limit = min(max(int(text), 1), 50) if text.isdigit() else 10
        found = selectors.next_candidates(request.user, limit=limit)
        return Response(CandidateOutput(found, many=True).data)
