"""Surveys, made on first use."""

from __future__ import annotations

import hashlib
from typing import Any

from django.utils.text import slugify

from astrid_site.core.errors import ApplicationError
from observations.models import Survey


def get_or_create_survey(name: str, **settings: Any) -> Survey:
    """The survey of a name, whatever its case; ``settings`` apply only if it is made now.

    Raises
    ------
    ApplicationError
        If the name is empty or too long.
    """
    name, slug = _name_and_slug(name)
    survey, _ = Survey.objects.get_or_create(slug=slug, defaults={"name": name, **settings})
    return survey


def get_or_draft_survey(name: str, **settings: Any) -> Survey:
    """The survey of a name, or one that is not stored: for a look at what would happen.

    Raises
    ------
    ApplicationError
        If the name is empty or too long.
    """
    name, slug = _name_and_slug(name)
    known = Survey.objects.filter(slug=slug).first()
    return known or Survey(slug=slug, name=name, **settings)


def _name_and_slug(name: str) -> tuple[str, str]:
    name = " ".join(name.split())
    if not 0 < len(name) <= 100:
        msg = f"survey: a name of 1 to 100 characters is needed, got {len(name)}"
        raise ApplicationError(msg)
    # a name without a Latin letter still needs an address
    slug = slugify(name) or f"survey-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name, slug[:100]
