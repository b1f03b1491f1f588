"""REST: what lists held here know of an object's place."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.models import AstroObject, ContextList
from catalog.selectors.context import context_of_object


class ContextMatchOutput(serializers.Serializer[Any]):
    """One known thing near the place, where it was when the object was seen first."""

    key = serializers.CharField(help_text="Its name in the list.")
    type = serializers.CharField(help_text="What the list says it is.")
    list_name = serializers.CharField(source="source")
    separation_arcsec = serializers.FloatField()
    magnitude = serializers.FloatField(allow_null=True)
    redshift = serializers.FloatField(allow_null=True)
    chance = serializers.FloatField(allow_null=True, help_text="That it is there by chance.")
    moved_arcsec = serializers.FloatField(help_text="By its proper motion since the list.")
    dlr = serializers.FloatField(
        allow_null=True, help_text="Of a galaxy: separation in radii towards the place."
    )
    probability = serializers.FloatField(allow_null=True, help_text="Of a galaxy: to be the host.")


class KindContextOutput(serializers.Serializer[Any]):
    """What the lists of one kind say; without one that covers the place nothing is known."""

    kind = serializers.ChoiceField(choices=ContextList.Kind.choices)
    covering = serializers.ListField(
        child=serializers.CharField(), help_text="Lists that cover the place; empty: none does."
    )
    matches = ContextMatchOutput(many=True)
    none = serializers.FloatField(
        allow_null=True, help_text="Of galaxies: that the host is none of them."
    )
    sentence = serializers.CharField(help_text="Why there is no match.")


class ObjectContext(APIView):
    """Known stars, galaxies, variables and active galaxies at an object's place."""

    required_permissions = {"GET": "catalog.view_astroobject"}

    @extend_schema(responses=KindContextOutput(many=True))
    def get(self, request: Request, pk: UUID) -> Response:
        """One entry for each kind of list."""
        owner = get_object_or_404(AstroObject, pk=pk)
        return Response(KindContextOutput(context_of_object(owner), many=True).data)
