"""Looking for observations, and handing in new ones."""

from __future__ import annotations

from typing import Any

from django import forms

from astrid_site.core.status import RunStatus
from observations.models import Survey


class ObservationFilterForm(forms.Form):
    """What the table can be narrowed by."""

    q = forms.CharField(
        required=False,
        max_length=100,
        label="Text",
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "target, id, instrument"}),
    )
    survey = forms.ModelChoiceField(
        Survey.objects.order_by("name"), required=False, empty_label="any", to_field_name="slug"
    )
    band = forms.CharField(required=False, max_length=30)
    status = forms.ChoiceField(required=False, choices=[("", "any"), *RunStatus.choices])
    since = forms.DateField(
        required=False, label="From (UTC)", widget=forms.DateInput(attrs={"type": "date"})
    )
    until = forms.DateField(
        required=False, label="To (UTC)", widget=forms.DateInput(attrs={"type": "date"})
    )


class ManyFilesInput(forms.FileInput):
    """A file input that takes several."""

    allow_multiple_selected = True


class ManyFilesField(forms.FileField):
    """Several uploads, each checked by the FITS gate later, not by its name here."""

    widget = ManyFilesInput

    def clean(self, data: Any, initial: Any = None) -> list[Any]:
        """Every file given; at least one is needed."""
        given = data if isinstance(data, list | tuple) else [data]
        return [super(ManyFilesField, self).clean(item, initial) for item in given]


class UploadForm(forms.Form):
    """Frames to work on and the survey they belong to."""

    survey = forms.CharField(
        max_length=100,
        label="Survey",
        help_text="Frames are compared only with frames of the same survey and band. "
        "A new name starts a new survey.",
        widget=forms.TextInput(attrs={"list": "surveys", "autocomplete": "off"}),
    )
    frames = ManyFilesField(label="FITS files")
