"""Exposures that came before the masters that fit them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from django.conf import settings

from astrid_site.core.errors import ApplicationError
from preprocessing.models import Camera, ScienceImage
from preprocessing.selectors import has_new_masters, partly_calibrated

#: More are not looked at; the next build of the camera goes on with them.
_MAX_IMAGES = 500


def find_late(camera: Camera) -> list[ScienceImage]:
    """Science images that lack a master of a kind that is here now; asked before any lock."""
    found = partly_calibrated(camera)[:_MAX_IMAGES]
    return [image for image in found if has_new_masters(camera, image)]


def begin_anew(images: Sequence[ScienceImage]) -> str:
    """Have exposures calibrated again; says how many could not be.

    Only those nothing rests on yet: what was found in others stays as it was found.
    """
    control = import_module(settings.CONTROL)
    n_kept = 0
    for image in images:
        try:
            control.restart(image.observation)
        except ApplicationError:
            n_kept += 1
    if not n_kept:
        return ""
    return f"{n_kept} exposures were worked through before their masters came, and stay as they are"
