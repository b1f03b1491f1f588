"""Where a request comes from."""

from __future__ import annotations

import ipaddress

from django.http import HttpRequest
from rest_framework.settings import api_settings


def client_address(request: HttpRequest) -> str | None:
    """Address of the client; ``X-Forwarded-For`` counts only behind the proxies in the settings.

    Each proxy appends the address it was called from, so with n proxies of ours the n-th entry
    from the right was written by the outermost of them. What stands before it, anybody may type.
    """
    text = request.META.get("REMOTE_ADDR", "")
    n_proxies = api_settings.NUM_PROXIES or 0
    hops = [hop.strip() for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    if n_proxies and any(hops):
        text = hops[-min(n_proxies, len(hops))]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
