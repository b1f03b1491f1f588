"""WSGI entry point, for servers that cannot speak ASGI (live streams need ASGI)."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "astrid_site.settings")
application = get_wsgi_application()
