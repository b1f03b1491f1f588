"""What is asked of a place."""

from __future__ import annotations

from django import forms

from astrid_site.explaining.frames import DEFAULT_DAYS
from catalog.forms import AngleField
from observations.models import Survey


class ExplainForm(forms.Form):
    """A place, and near which time the frames were taken."""

    ra = AngleField(is_hours=True, low=0, high=360, label="RA (° or h:m:s)")
    dec = AngleField(is_hours=False, low=-90, high=90, label="Dec (° or d:m:s)")
    mjd = forms.FloatField(
        required=False,
        min_value=0.0,
        max_value=200_000.0,
        label="Near MJD (any)",
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
    )
    days = forms.FloatField(
        required=False,
        min_value=0.0,
        max_value=40_000.0,
        label="Within [d]",
        widget=forms.TextInput(attrs={"inputmode": "decimal", "placeholder": f"{DEFAULT_DAYS:g}"}),
    )
    survey = forms.ModelChoiceField(
        Survey.objects.order_by("name"), required=False, empty_label="any", to_field_name="slug"
    )

    def clean(self) -> dict[str, object]:
        """A place needs both coordinates."""
        cleaned = super().clean() or self.cleaned_data
        for name in ("ra", "dec"):
            if cleaned.get(name) is None and name not in self.errors:
                self.add_error(name, "A place needs both RA and Dec.")
        return cleaned
