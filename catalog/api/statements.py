"""REST: what people say of an object."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from astrid_site.core.fields import FiniteFloatField
from astrid_site.core.permissions import person
from catalog import selectors, services
from catalog.models import AstroObject, ObjectStatement

MIN_REDSHIFT, MAX_REDSHIFT = -0.009, 19.9


class StatementOutput(serializers.ModelSerializer[ObjectStatement]):
    """One statement; one that was withdrawn names by whom."""

    said_by = serializers.CharField(source="said_by.username")
    withdrawn_by = serializers.CharField(
        source="withdrawn_by.said_by.username", default=None, allow_null=True
    )

    class Meta:
        model = ObjectStatement
        fields = (
            "id",
            "kind",
            "text",
            "number",
            "error",
            "source",
            "said_by",
            "created_at",
            "withdraws",
            "withdrawn_by",
        )


class StatementInput(serializers.Serializer[Any]):
    """Something to state: a redshift is a number, all else is words."""

    kind = serializers.ChoiceField(choices=ObjectStatement.Kind.choices)
    text = serializers.CharField(required=False, default="", allow_blank=True, max_length=300)
    number = FiniteFloatField(
        required=False, allow_null=True, min_value=MIN_REDSHIFT, max_value=MAX_REDSHIFT
    )
    error = FiniteFloatField(required=False, allow_null=True, min_value=1e-9, max_value=10.0)
    source = serializers.CharField(  # type: ignore[assignment]  # shadows a serializer's own
        required=False, default="", allow_blank=True, max_length=300
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A statement says something."""
        is_redshift = attrs["kind"] == ObjectStatement.Kind.REDSHIFT
        if is_redshift and attrs.get("number") is None:
            raise serializers.ValidationError({"number": ["A redshift is a number."]})
        if not is_redshift and not attrs["text"].strip():
            raise serializers.ValidationError({"text": ["Say something."]})
        if not is_redshift and (attrs.get("number"), attrs.get("error")) != (None, None):
            raise serializers.ValidationError({"number": ["Only a redshift is a number."]})
        return attrs


class ObjectStatements(APIView):
    """What people said of an object, newest first; nothing is ever changed."""

    required_permissions = {
        "GET": "catalog.view_objectstatement",
        "POST": "catalog.add_objectstatement",
    }

    @extend_schema(responses=StatementOutput(many=True))
    def get(self, request: Request, pk: UUID) -> Response:
        """Every statement, withdrawn ones too."""
        told = selectors.statements_of(get_object_or_404(AstroObject, pk=pk))
        return Response(StatementOutput(told.history, many=True).data)

    @extend_schema(request=StatementInput, responses={201: StatementOutput})
    def post(self, request: Request, pk: UUID) -> Response:
        """State something."""
        owner = get_object_or_404(AstroObject, pk=pk)
        form = StatementInput(data=request.data)
        form.is_valid(raise_exception=True)
        row = services.state(owner, person(request), **form.validated_data)
        return Response(StatementOutput(row).data, status=201)


class StatementDetail(APIView):
    """One statement."""

    required_permissions = {"DELETE": "catalog.add_objectstatement"}

    @extend_schema(responses={201: StatementOutput})
    def delete(self, request: Request, object_id: UUID, pk: UUID) -> Response:
        """Take it back: a statement that says so is written."""
        statement = get_object_or_404(ObjectStatement, pk=pk, astro_object=object_id)
        row = services.withdraw(statement, person(request))
        return Response(StatementOutput(row).data, status=201)
