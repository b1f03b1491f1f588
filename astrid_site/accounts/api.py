"""REST: my API keys."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from astrid_site.accounts import services
from astrid_site.accounts.models import ApiKey


class ApiKeyInput(serializers.Serializer[Any]):
    """A key to make."""

    name = serializers.CharField(max_length=100)
    can_write = serializers.BooleanField(default=False)
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


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
        return ApiKey.objects.filter(user_id=self.request.user.pk)

    @extend_schema(request=ApiKeyInput, responses={201: NewApiKeyOutput})
    def post(self, request: Request) -> Response:
        """Make a key. A key cannot make keys: a leaked one must not outlive its revocation."""
        if isinstance(request.auth, ApiKey):
            msg = "Sign in with a password to make keys."
            raise exceptions.PermissionDenied(msg)
        form = ApiKeyInput(data=request.data)
        form.is_valid(raise_exception=True)
        key, secret = services.create_api_key(request.user, **form.validated_data)
        return Response(ApiKeyOutput(key).data | {"secret": secret}, status=201)


class ApiKeyDetail(APIView):
    """One of my keys."""

    required_permissions = {"DELETE": "accounts.add_apikey"}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: str) -> Response:
        """Revoke it."""
        key = get_object_or_404(ApiKey, pk=pk, user_id=request.user.pk)
        services.revoke_api_key(key, actor=request.user)
        return Response(status=204)
