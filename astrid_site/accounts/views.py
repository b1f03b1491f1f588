"""Log in, log out, change the password, and make or end API keys."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.contrib import messages
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_required, permission_required
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse_lazy
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from astrid_site.accounts import services
from astrid_site.accounts.backends import was_limited
from astrid_site.accounts.forms import ApiKeyForm
from astrid_site.accounts.models import ApiKey
from astrid_site.accounts.people import signed_in


class LoginPage(auth_views.LoginView):
    """Asks for name and password; goes on only to addresses of this site."""

    template_name = "accounts/login.html"
    redirect_authenticated_user = True

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        """Say why, in the same words whether or not there is such an account."""
        if not was_limited(self.request):
            return super().form_invalid(form)
        form.errors.clear()
        form.add_error(None, "Too many attempts. Wait a few minutes, then try again.")
        return self.render_to_response(self.get_context_data(form=form), status=429)


class PasswordPage(auth_views.PasswordChangeView):
    """Changes one's own password; every other session of the account ends."""

    template_name = "accounts/password.html"
    success_url = reverse_lazy("accounts:keys")

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        """Say that it was done."""
        messages.success(self.request, "Your password was changed. Other sessions were ended.")
        return super().form_valid(form)


def _keys_page(
    request: HttpRequest, form: ApiKeyForm, *, secret: str = "", status: int = 200
) -> HttpResponse:
    keys = ApiKey.objects.filter(user=signed_in(request)).order_by("-created_at")
    groups = signed_in(request).groups.order_by("name").values_list("name", flat=True)
    context = {"form": form, "keys": keys, "secret": secret, "roles": list(groups)}
    return render(request, "accounts/keys.html", context, status=status)


@login_required
@require_http_methods(["GET", "POST"])
def keys(request: HttpRequest) -> HttpResponse:
    """One's roles and keys. A new key's secret is part of this one answer and kept nowhere."""
    if request.method == "GET":
        return _keys_page(request, ApiKeyForm())
    return _create_key(request)


@permission_required("accounts.add_apikey", raise_exception=True)
def _create_key(request: HttpRequest) -> HttpResponse:
    form = ApiKeyForm(request.POST)
    if not form.is_valid():
        return _keys_page(request, form, status=422)
    days = form.cleaned_data["days"]
    _, secret = services.create_api_key(
        signed_in(request),
        name=form.cleaned_data["name"],
        can_write=form.cleaned_data["can_write"],
        expires_at=timezone.now() + timedelta(days=days) if days else None,
    )
    return _keys_page(request, ApiKeyForm(), secret=secret)


@login_required
@require_POST
def revoke_key(request: HttpRequest, key_id: UUID) -> HttpResponse:
    """End one of one's own keys."""
    key = get_object_or_404(ApiKey, pk=key_id, user=signed_in(request))
    services.revoke_api_key(key, actor=signed_in(request))
    messages.success(request, f"The key “{key.name}” was revoked.")
    return redirect("accounts:keys")
