"""Searching for objects."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import ClassVar

from django import forms

from catalog.algorithms.object_search import SearchError, object_search
from catalog.models import AstroObject, ObjectStatement
from catalog.services.forced_requests import MAX_PLACES
from observations.models import Survey

#: Ways to write a time; what has a zone of its own is read by the field itself.
MOMENTS = [
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S%z",
    "%Y-%m-%dT%H:%M",
]
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


def _number(low: float, high: float, *, label: str, placeholder: str) -> forms.FloatField:
    """A number within limits, that may be left empty."""
    return forms.FloatField(
        required=False,
        min_value=low,
        max_value=high,
        label=label,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "placeholder": placeholder}),
    )


def _moment(label: str) -> forms.DateTimeField:
    """A time in UTC, a day counting from its beginning."""
    return forms.DateTimeField(
        required=False,
        label=label,
        input_formats=MOMENTS,
        widget=forms.TextInput(attrs={"placeholder": "2026-09-01"}),
    )


class ObjectSearchForm(forms.Form):
    """Every condition of a search; the names are those of the REST API but for two short ones."""

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
    radius = _number(0.01, 36000, label="Radius [arcsec]", placeholder="60")
    classification = forms.CharField(required=False, max_length=30, label="Class")
    since = _moment("Detected since (UTC)")
    until = _moment("until (UTC)")
    min_magnitude = _number(-50, 50, label="Brightest from [mag]", placeholder="15")
    max_magnitude = _number(-50, 50, label="to [mag]", placeholder="19")
    min_score = _number(0, 1, label="Model score from", placeholder="0.8")
    max_score = _number(0, 1, label="to", placeholder="1")
    ra_min = AngleField(is_hours=True, low=0, high=360, label="Box: RA from")
    ra_max = AngleField(is_hours=True, low=0, high=360, label="RA to")
    dec_min = AngleField(is_hours=False, low=-90, high=90, label="Dec from")
    dec_max = AngleField(is_hours=False, low=-90, high=90, label="Dec to")
    polygon = forms.CharField(
        required=False,
        max_length=6000,
        label="Polygon [°]",
        widget=forms.TextInput(attrs={"placeholder": "150 2, 151 2, 150.5 3"}),
    )
    moc = forms.CharField(
        required=False,
        max_length=6000,
        label="MOC",
        widget=forms.TextInput(attrs={"placeholder": "6/123 125-130"}),
    )

    #: Shown at once; all else waits under a heading that opens.
    PLAIN = ("name", "survey", "state", "ra", "dec", "radius")
    #: Names on the page -> names in a search.
    SEARCH_NAMES: ClassVar = {"name": "q", "radius": "radius_arcsec"}

    def clean(self) -> dict[str, object]:
        """The conditions as one search, ``search``; what contradicts itself is told at its field.

        A page keeps its short names in its address; a search knows one name for each condition.
        """
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        told = {self.SEARCH_NAMES.get(name, name): value for name, value in cleaned.items()}
        survey = told.get("survey")
        told["survey"] = survey.slug if isinstance(survey, Survey) else ""
        try:
            cleaned["search"] = object_search(told)
        except SearchError as error:
            names = {long: short for short, long in self.SEARCH_NAMES.items()}
            self.add_error(names.get(error.field, error.field), str(error))
        return cleaned

    @property
    def plain_fields(self) -> list[forms.BoundField]:
        """Fields that are always shown."""
        return [self[name] for name in self.PLAIN]

    @property
    def further_fields(self) -> list[forms.BoundField]:
        """Fields under the heading."""
        return [self[name] for name in self.fields if name not in self.PLAIN]

    @property
    def has_further(self) -> bool:
        """Whether one of the fields under the heading says something."""
        return any(field.value() for field in self.further_fields)


def page_parameters(parameters: Mapping[str, str]) -> dict[str, str]:
    """Parameters of a search as the page's form names them."""
    names = {long: short for short, long in ObjectSearchForm.SEARCH_NAMES.items()}
    return {names.get(name, name): value for name, value in parameters.items()}


class SaveSearchForm(forms.Form):
    """A name for conditions, and whether others see them."""

    name = forms.CharField(max_length=80, label="Name", required=True)
    is_public = forms.BooleanField(required=False, label="Share with everybody")


class WatchedForm(forms.Form):
    """A place, and when it may have been looked at."""

    ra = AngleField(is_hours=True, low=0, high=360, label="RA (° or h:m:s)")
    dec = AngleField(is_hours=False, low=-90, high=90, label="Dec (° or d:m:s)")
    since = _moment("Since (UTC)")
    until = _moment("Until (UTC)")
    survey = forms.ModelChoiceField(
        Survey.objects.order_by("name"), required=False, empty_label="any", to_field_name="slug"
    )
    band = forms.CharField(required=False, max_length=30, label="Band")

    def clean(self) -> dict[str, object]:
        """A place needs both coordinates; a time range goes forward."""
        cleaned = super().clean() or self.cleaned_data
        for name in ("ra", "dec"):
            if cleaned.get(name) is None and name not in self.errors:
                self.add_error(name, "A position needs both RA and Dec.")
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and since > until:
            self.add_error("until", "It is before the beginning.")
        return cleaned


class ForcedForm(forms.Form):
    """Places to measure, one on a line."""

    places = forms.CharField(
        label="Places: RA Dec, one on a line",
        help_text="Degrees, or h:m:s and d:m:s; at most 100.",
        max_length=8000,
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false"}),
    )
    survey = forms.ModelChoiceField(
        Survey.objects.order_by("name"), required=False, empty_label="all", to_field_name="slug"
    )
    name = forms.CharField(required=False, max_length=80, label="Name")

    def clean_places(self) -> list[tuple[float, float]]:
        """Pairs of degrees."""
        lines = [line.replace(",", " ").split() for line in self.cleaned_data["places"].split("\n")]
        lines = [words for words in lines if words]
        if not 0 < len(lines) <= MAX_PLACES:
            msg = f"From 1 to {MAX_PLACES} places are measured at once."
            raise forms.ValidationError(msg)
        ra, dec = (
            AngleField(is_hours=True, low=0, high=360, label="RA"),
            AngleField(is_hours=False, low=-90, high=90, label="Dec"),
        )
        places = []
        for number, words in enumerate(lines, start=1):
            if len(words) != 2:
                msg = f"Line {number} needs two numbers: RA and Dec."
                raise forms.ValidationError(msg)
            try:
                pair = ra.clean(words[0]), dec.clean(words[1])
            except forms.ValidationError as error:
                msg = f"Line {number}: {error.messages[0]}"
                raise forms.ValidationError(msg) from error
            # both are there: the fields do not know an empty word
            places.append((float(pair[0] or 0.0) % 360.0, float(pair[1] or 0.0)))
        return places


class StatementForm(forms.Form):
    """Something that a person knows of an object."""

    kind = forms.ChoiceField(choices=ObjectStatement.Kind.choices, label="What")
    text = forms.CharField(required=False, max_length=300, label="Name, type or words")
    number = forms.FloatField(
        required=False,
        min_value=-0.009,
        max_value=19.9,
        label="Redshift",
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
    )
    error = forms.FloatField(
        required=False,
        min_value=1e-9,
        max_value=10.0,
        label="± of the redshift",
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
    )
    source = forms.CharField(required=False, max_length=300, label="Known from")

    def clean(self) -> dict[str, object]:
        """A redshift is a number, all else is words."""
        cleaned = super().clean() or self.cleaned_data
        is_redshift = cleaned.get("kind") == ObjectStatement.Kind.REDSHIFT
        if is_redshift and cleaned.get("number") is None and "number" not in self.errors:
            self.add_error("number", "A redshift is a number.")
        if not is_redshift:
            if not str(cleaned.get("text") or "").strip():
                self.add_error("text", "Say something.")
            if cleaned.get("number") is not None or cleaned.get("error") is not None:
                self.add_error("number", "Only a redshift is a number.")
        return cleaned
