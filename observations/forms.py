"""Looking for observations, and handing in new ones."""

from __future__ import annotations

import html
from typing import Any

from django import forms

from astrid_site.core.status import RunStatus
from observations.models import Survey
from observations.services import last_part

MAX_SIDECAR_BYTES = 5 * 2**20


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
        """Every file given."""
        given = data if isinstance(data, list | tuple) else [data]
        found = [super(ManyFilesField, self).clean(item, initial) for item in given]
        return [file for file in found if file]


class NamesField(forms.JSONField):
    """Names of all files that were chosen, also of those that come with another request."""

    def clean(self, value: Any) -> list[str]:
        """A list of bare names."""
        names = super().clean(value) or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            msg = "names must be a list of names."
            raise forms.ValidationError(msg)
        return [_as_sent(name) for name in names]


def _as_sent(name: str) -> str:
    """A file's name as it arrives with the file itself: Django cleans it like this."""
    return "".join(char for char in last_part(html.unescape(name)) if char.isprintable())


class UploadForm(forms.Form):
    """Frames to work on, the survey they belong to, and what their headers do not say."""

    survey = forms.CharField(
        max_length=100,
        label="Survey",
        help_text="Frames are compared only with frames of the same survey and band. "
        "A new name starts a new survey.",
        widget=forms.TextInput(attrs={"list": "surveys", "autocomplete": "off"}),
    )
    frames = ManyFilesField(label="FITS files", required=False)
    sidecar = forms.FileField(
        required=False,
        label="Sidecar table (optional)",
        help_text="What headers leave unsaid or say wrongly, one row for each file.",
        widget=forms.FileInput(attrs={"accept": ".csv,.ecsv,.txt"}),
    )
    names = NamesField(required=False, widget=forms.HiddenInput)

    def clean_sidecar(self) -> Any:
        """A table is small; one that is not is something else."""
        table = self.cleaned_data["sidecar"]
        if table and table.size > MAX_SIDECAR_BYTES:
            msg = f"Sidecar table: larger than {MAX_SIDECAR_BYTES // 2**20} MB."
            raise forms.ValidationError(msg)
        return table

    def clean(self) -> dict[str, Any]:
        """Something must be handed in; names alone only ask what is to be sent."""
        cleaned = super().clean() or self.cleaned_data
        if not cleaned.get("frames") and not cleaned.get("names") and not self.errors:
            self.add_error("frames", "Choose at least one FITS file.")
        return cleaned
