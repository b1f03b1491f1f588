"""REST: the gate before a model, its promotion, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from astrid_site import promotion
from astrid_site.core.errors import ConflictError
from astrid_site.core.idempotency import answer_once
from astrid_site.core.models import Job
from astrid_site.core.permissions import person
from astrid_site.core.problems import ProblemOutput, problem_body
from astrid_site.promotion import GateShutError, Rule
from detection.api import ModelOutput
from detection.models import ScoringModel

_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="A name of this request; the same name again gets the same answer.",
)


class RuleOutput(serializers.Serializer[Any]):
    """One condition of the gate."""

    name = serializers.CharField()
    says = serializers.CharField(help_text="What was found.")
    is_met = serializers.BooleanField(
        allow_null=True, help_text="Null where nothing can be said yet."
    )


class GateOutput(serializers.Serializer[Any]):
    """What a model must meet to become champion."""

    champion = serializers.UUIDField(allow_null=True, help_text="Whom it would follow.")
    is_open = serializers.BooleanField()
    rules = RuleOutput(many=True)


class GateProblemOutput(ProblemOutput):
    """A promotion refused by the gate, with every rule."""

    rules = RuleOutput(many=True)


class RollBackInput(serializers.Serializer[Any]):
    """Why the champion before takes its place back."""

    reason = serializers.CharField(max_length=300, help_text="Kept on record.")


class ChampionOutput(serializers.Serializer[Any]):
    """Who is champion now, and the job that puts its scores on stored candidates."""

    champion = ModelOutput()
    job = serializers.UUIDField()


class ModelGate(APIView):
    """The gate before a model."""

    required_permissions = {"GET": "detection.view_scoringmodel"}

    @extend_schema(responses=GateOutput)
    def get(self, request: Request, pk: UUID) -> Response:
        """Every rule, whether it is met, and what was found."""
        model = get_object_or_404(ScoringModel, pk=pk)
        champion = ScoringModel.objects.filter(role=ScoringModel.Role.CHAMPION).first()
        is_champion = champion is not None and champion.pk == model.pk
        rules = [] if is_champion else promotion.gate(model, champion)
        told = {
            "champion": champion.pk if champion else None,
            "is_open": bool(rules) and promotion.may_be_promoted(rules),
            "rules": rules,
        }
        return Response(GateOutput(told).data)


class ModelPromote(APIView):
    """Makes a model champion, if the gate is open."""

    required_permissions = {"POST": "detection.change_scoringmodel"}

    @extend_schema(
        request=None,
        parameters=[_KEY],
        responses={202: ChampionOutput, 409: GateProblemOutput},
    )
    def post(self, request: Request, pk: UUID) -> Response:
        """Promote; a shut gate answers 409 and names every rule."""
        model = get_object_or_404(ScoringModel, pk=pk)

        def act() -> tuple[int, dict[str, Any]]:
            try:
                job = promotion.promote(model, person(request))
            except GateShutError as shut:
                return 409, _shut(shut, shut.rules)
            return 202, _answer(job)

        return answer_once(request, act)


class ModelRollBack(APIView):
    """Takes the champion's place away and gives it to the one before."""

    required_permissions = {"POST": "detection.change_scoringmodel"}

    @extend_schema(
        request=RollBackInput,
        parameters=[_KEY],
        responses={202: ChampionOutput, 409: ProblemOutput},
    )
    def post(self, request: Request, pk: UUID) -> Response:
        """Roll back; only the present champion can be."""
        model = get_object_or_404(ScoringModel, pk=pk)
        form = RollBackInput(data=request.data)
        form.is_valid(raise_exception=True)

        def act() -> tuple[int, dict[str, Any]]:
            model.refresh_from_db()
            if model.role != ScoringModel.Role.CHAMPION:
                msg = f"{model} is not the champion, it is {model.get_role_display()}"
                raise ConflictError(msg)
            return 202, _answer(
                promotion.roll_back(person(request), reason=form.validated_data["reason"])
            )

        return answer_once(request, act)


def _shut(shut: GateShutError, rules: Sequence[Rule]) -> dict[str, Any]:
    told = list(RuleOutput(rules, many=True).data)
    return problem_body(409, "gate_shut", str(shut), rules=told)


def _answer(job: Job) -> dict[str, Any]:
    champion = ScoringModel.objects.get(role=ScoringModel.Role.CHAMPION)
    told = ChampionOutput({"champion": champion, "job": job.pk}).data
    # what is kept for a repeated request is JSON
    return {"champion": {k: _plain(v) for k, v in told["champion"].items()}, "job": str(job.pk)}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value
