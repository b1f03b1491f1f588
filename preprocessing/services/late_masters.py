"""Exposures that came before the masters that fit them."""

from __future__ import annotations

from importlib import import_module

from django.conf import settings

from astrid_site.core.errors import ApplicationError
from preprocessing.models import Camera
from preprocessing.selectors import has_new_masters, partly_calibrated

#: More are not begun anew at once; the next build of the camera goes on with them.
_MAX_IMAGES = 500


def begin_anew(camera: Camera) -> str:
    """Calibrate again what went on without a master that is here now; says what could not be.

    Only exposures nothing rests on yet: what was found in others stays as it was found.
    """
    pipeline = import_module(settings.PIPELINE)
    n_kept = 0
    for image in partly_calibrated(camera)[:_MAX_IMAGES]:
        if not has_new_masters(camera, image):
            continue
        try:
            pipeline.restart(image.observation)
        except ApplicationError:
            n_kept += 1
    if not n_kept:
        return ""
    return f"{n_kept} exposures were worked through before their masters came, and stay as they are"
