"""What a decision must say."""

from __future__ import annotations

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

    def clean(self) -> dict[str, object]:
        """A reason explains a bogus and nothing else."""
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("reason") and cleaned.get("label") != Verdict.Label.BOGUS:
            cleaned["reason"] = ""
        return cleaned
