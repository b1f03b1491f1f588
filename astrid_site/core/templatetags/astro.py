"""Template filters of the field: positions, magnitudes, dates."""

from __future__ import annotations

from django import template

register = template.Library()
