"""REST: my API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from astrid_site.accounts import services
from astrid_site.accounts.models import ApiKey
from astrid_site.core.fields import ListQuery, read_query
from astrid_site.core.permissions import person


class ApiKeyInput(serializers.Serializer[Any]):
    """A key to make."""

    name = serializers.CharField(max_length=100)
    can_write = serializers.BooleanField(default=False)
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)

    def validate_expires_at(self, value: datetime | None) -> datetime | None:
        """A key that is born dead helps nobody."""
        if value is not None and value <= timezone.now():
            msg = "Must be in the future."
            raise serializers.ValidationError(msg)
        return value


class ApiKeyOutput(serializers.ModelSerializer[ApiKey]):
    """One of my keys; the secret is not among what we know."""

    class Meta:
        model = ApiKey
        fields = (
            "id",
            "name",
            "prefix",
            "can_write",
            "expires_at",
            "last_used_at",
            "revoked_at",
            "created_at",
        )


class NewApiKeyOutput(ApiKeyOutput):
    """A fresh key with its secret, shown this once."""

    secret = serializers.CharField()

    class Meta(ApiKeyOutput.Meta):
        fields = (*ApiKeyOutput.Meta.fields, "secret")  # type: ignore[assignment]


class ApiKeyList(generics.ListAPIView[ApiKey]):
    """My keys; POST makes one."""

    required_permissions = {"GET": "accounts.add_apikey", "POST": "accounts.add_apikey"}
    serializer_class = ApiKeyOutput

    def get_queryset(self) -> QuerySet[ApiKey]:
        """Nobody sees another's keys."""
        read_query(ListQuery, self.request)
        return ApiKey.objects.filter(user=person(self.request))

    @extend_schema(request=ApiKeyInput, responses={201: NewApiKeyOutput})
    def post(self, request: Request) -> Response:
        """Make a key. A key cannot make keys: a leaked one must not outlive its revocation."""
        _need_password(request)
        form = ApiKeyInput(data=request.data)
        form.is_valid(raise_exception=True)
        key, secret = services.create_api_key(person(request), **form.validated_data)
        return Response(ApiKeyOutput(key).data | {"secret": secret}, status=201)


class ApiKeyDetail(APIView):
    """One of my keys."""

    required_permissions = {"DELETE": "accounts.add_apikey"}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: UUID) -> Response:
        """Revoke it; a key may end itself and its siblings."""
        key = get_object_or_404(ApiKey, pk=pk, user=person(request))
        services.revoke_api_key(key, actor=person(request))
        return Response(status=204)


def _need_password(request: Request) -> None:
    if isinstance(request.auth, ApiKey):
        msg = "Sign in with a password to make keys."
        raise exceptions.PermissionDenied(msg)
