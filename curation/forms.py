"""What a decision must say."""

from __future__ import annotations

from uuid import UUID

from django import forms

from curation.models import Verdict

DECISIONS = [choice for choice in Verdict.Label.choices if choice[0] != Verdict.Label.WITHDRAWN]


class VerdictForm(forms.Form):
    """One decision about one candidate."""

    detection = forms.UUIDField(widget=forms.HiddenInput)
    label = forms.ChoiceField(choices=DECISIONS)
    reason = forms.ChoiceField(choices=Verdict.Reason.choices, required=False)
    comment = forms.CharField(max_length=2000, required=False)
    seconds = forms.FloatField(min_value=0, max_value=86400, required=False)
    decision = forms.UUIDField(required=False)

    def clean(self) -> dict[str, object]:
        """A reason explains a bogus and nothing else."""
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("reason") and cleaned.get("label") != Verdict.Label.BOGUS:
            cleaned["reason"] = ""
        return cleaned


class LeaveForm(forms.Form):
    """When a page that was left was last heard of, as it was told then."""

    at = forms.DateTimeField(input_formats=["%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%dT%H:%M:%S%z"])


class PresenceForm(forms.Form):
    """Which candidates a page holds, and which one it shows."""

    showing = forms.UUIDField(required=False)
    held = forms.CharField(required=False, max_length=8000)

    def clean_held(self) -> list[UUID]:
        """Keys between commas; whatever is none is refused."""
        try:
            return [UUID(word) for word in self.cleaned_data["held"].split(",") if word]
        except ValueError as error:
            msg = "held must be UUIDs between commas."
            raise forms.ValidationError(msg) from error
