"""REST: is it alive, can it work."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from astrid_site.monitoring import probes


class LiveOutput(serializers.Serializer[Any]):
    """Alive."""

    status = serializers.CharField()


class ReadyOutput(serializers.Serializer[Any]):
    """Whether work can be done; each part's state is told only to people who are signed in."""

    status = serializers.ChoiceField(choices=["ready", "degraded", "down"])
    probes = serializers.JSONField(required=False)


class HealthLive(APIView):
    """The web process answers."""

    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]
    throttle_classes: list[Any] = []

    @extend_schema(responses=LiveOutput)
    def get(self, request: Request) -> Response:
        """Always 200 while the process runs."""
        return Response({"status": "alive"})


class HealthReady(APIView):
    """Database, object store, broker, sweeper and workers, each really asked."""

    permission_classes = [AllowAny]
    throttle_classes: list[Any] = []

    @extend_schema(responses={200: ReadyOutput, 503: ReadyOutput})
    def get(self, request: Request) -> Response:
        """200 when requests can be served, 503 when the database or the object store is down."""
        results = probes.run_all()
        status = probes.overall(results)
        answer: dict[str, Any] = {"status": status}
        if request.user.is_authenticated:
            answer["probes"] = {r.name: {"ok": r.is_ok, "detail": r.detail} for r in results}
        return Response(answer, status=503 if status == "down" else 200)
