"""Searching for objects."""

from __future__ import annotations

import math
import re

from django import forms

from catalog.models import AstroObject
from observations.models import Survey

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?$")
_SEXAGESIMAL = re.compile(r"([+-]?)(\d{1,3})[:\s]+(\d{1,2})(?:[:\s]+(\d{1,2}(?:\.\d*)?))?$")


def read_angle(text: str, *, is_hours: bool) -> float:
    """Degrees from a decimal number of degrees or from sexagesimal hours or degrees.

    Raises
    ------
    ValueError
        If it is neither; the message says what is understood.
    """
    word = text.strip().replace("\u2212", "-").lower()
    if _NUMBER.match(word):
        return float(word)
    plain = re.sub(r"[hd°m′']", ":", word).rstrip('s″": ')
    match = _SEXAGESIMAL.match(re.sub(r":\s*", ":", plain))
    unit = "hours" if is_hours else "degrees"
    if match is None:
        msg = f"“{text}” is neither degrees (150.1167) nor {unit} (10:00:28.0)"
        raise ValueError(msg)
    sign, whole, minutes, seconds = match.groups()
    if int(minutes) > 59 or float(seconds or 0) >= 60:
        msg = f"“{text}”: minutes and seconds must be below 60"
        raise ValueError(msg)
    value = int(whole) + int(minutes) / 60 + float(seconds or 0) / 3600
    return (-value if sign == "-" else value) * (15.0 if is_hours else 1.0)


class AngleField(forms.CharField):
    """An angle typed in decimal degrees or sexagesimal."""

    def __init__(self, *, is_hours: bool, low: float, high: float, label: str) -> None:
        super().__init__(required=False, max_length=40, label=label)
        self.is_hours, self.low, self.high = is_hours, low, high

    def clean(self, value: object) -> float | None:
        """Degrees, or None where nothing was typed."""
        text = super().clean(value)
        if not text:
            return None
        try:
            angle = read_angle(text, is_hours=self.is_hours)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error
        if not (math.isfinite(angle) and self.low <= angle <= self.high):
            msg = f"must be between {self.low:g} and {self.high:g} degrees"
            raise forms.ValidationError(msg)
        return angle


class ObjectSearchForm(forms.Form):
    """Part of the name, state, survey, and a cone."""

    name = forms.CharField(
        required=False,
        max_length=40,
        label="Name",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "J1000"}),
    )
    state = forms.ChoiceField(
        required=False, label="State", choices=[("", "any"), *AstroObject.State.choices]
    )
    survey = forms.ModelChoiceField(
        Survey.objects.order_by("name"), required=False, empty_label="any", to_field_name="slug"
    )
    ra = AngleField(is_hours=True, low=0, high=360, label="RA (° or h:m:s)")
    dec = AngleField(is_hours=False, low=-90, high=90, label="Dec (° or d:m:s)")
    radius = forms.FloatField(
        required=False,
        min_value=0.01,
        max_value=36000,
        label="Radius [arcsec]",
        widget=forms.TextInput(attrs={"inputmode": "decimal", "placeholder": "60"}),
    )

    def clean(self) -> dict[str, object]:
        """A cone needs both coordinates; its radius is 60 arcsec unless said."""
        cleaned = super().clean() or self.cleaned_data
        has_ra, has_dec = cleaned.get("ra") is not None, cleaned.get("dec") is not None
        if has_ra != has_dec and not self.errors:
            self.add_error("dec" if has_ra else "ra", "A position needs both RA and Dec.")
        return cleaned
