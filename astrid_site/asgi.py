"""HTTP entry point: Django behind a guard that refuses bodies before they are swallowed."""

# ruff: noqa: E402 - Django must be set up before anything asks for its settings
from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "astrid_site.settings")

from channels.routing import ProtocolTypeRouter
from channels.security.websocket import WebsocketDenier
from django.core.asgi import get_asgi_application

_pages = get_asgi_application()

from astrid_site.core.body_guard import BodyGuard

application = ProtocolTypeRouter(
    {"http": BodyGuard(_pages), "websocket": WebsocketDenier.as_asgi()}
)
