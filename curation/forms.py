"""What a decision must say."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from django import forms
from django.http import QueryDict

from curation.models import ConsensusRule, Verdict
from curation.pages.vetting import Blinding
from curation.selectors import current_rule
from curation.services import CONDITIONS

DECISIONS = [choice for choice in Verdict.Label.choices if choice[0] != Verdict.Label.WITHDRAWN]


class VerdictForm(forms.Form):
    """One decision about one candidate."""

    detection = forms.UUIDField(widget=forms.HiddenInput)
    label = forms.ChoiceField(choices=DECISIONS)
    reason = forms.ChoiceField(choices=Verdict.Reason.choices, required=False)
    comment = forms.CharField(max_length=2000, required=False)
    seconds = forms.FloatField(min_value=0, max_value=86400, required=False)
    decision = forms.UUIDField(required=False)
    tier = forms.ChoiceField(choices=Verdict.Tier.choices, required=False)
    rating = forms.IntegerField(min_value=1, max_value=5, required=False)

    def clean_tier(self) -> str:
        """One answer of several, unless it is said to settle the matter."""
        return str(self.cleaned_data["tier"] or Verdict.Tier.VOTE)

    def clean(self) -> dict[str, object]:
        """A reason explains a bogus and nothing else."""
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("reason") and cleaned.get("label") != Verdict.Label.BOGUS:
            cleaned["reason"] = ""
        return cleaned


class ManyForm(forms.Form):
    """A page of many: what was shown, what was pulled out, and the key of the page."""

    batch = forms.UUIDField()
    shown = forms.TypedMultipleChoiceField(coerce=UUID)
    kept = forms.TypedMultipleChoiceField(coerce=UUID, required=False)

    def __init__(self, data: QueryDict) -> None:
        super().__init__(data)
        # whatever was shown may be chosen; whether it exists is the service's to say
        names = [(word, word) for word in data.getlist("shown")[:200] if _is_uuid(word)]
        for field in ("shown", "kept"):
            self.fields[field].choices = names  # type: ignore[attr-defined]


def _is_uuid(word: str) -> bool:
    try:
        UUID(word)
    except ValueError:
        return False
    return True


class SnoozeForm(forms.Form):
    """What a candidate is put off for."""

    detection = forms.UUIDField()
    condition = forms.ChoiceField(choices=list(CONDITIONS.items()))
    magnitude = forms.FloatField(required=False, min_value=-5, max_value=40)


class NamedForm(forms.Form):
    """One candidate."""

    detection = forms.UUIDField()


class BlindingForm(forms.Form):
    """Whether the model's score is shown before one decides."""

    blinding = forms.ChoiceField(choices=[(b.value, b.value) for b in Blinding])


class BatchForm(forms.Form):
    """The key of a page of many."""

    batch = forms.UUIDField()


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


class RuleForm(forms.ModelForm[ConsensusRule]):
    """When answers are a consensus and enough people were asked."""

    class Meta:
        model = ConsensusRule
        fields = (
            "votes_needed",
            "agreement",
            "at_most",
            "enough_real",
            "enough_bogus",
            "expert_settles",
        )
        labels: ClassVar = {
            "votes_needed": "Answers needed",
            "agreement": "Share that must agree",
            "at_most": "People asked at most",
            "enough_real": "Enough that say real",
            "enough_bogus": "Enough that say bogus",
            "expert_settles": "An expert settles it",
        }
        widgets: ClassVar = {
            "agreement": forms.NumberInput(attrs={"step": "0.05", "min": "0.55", "max": "1"}),
        }

    @classmethod
    def of_current(cls) -> RuleForm:
        """Filled in with the rule that counts now."""
        rule = current_rule()
        return cls(
            initial={
                "votes_needed": rule.votes_needed,
                "agreement": rule.agreement,
                "at_most": rule.at_most,
                "enough_real": rule.enough.get(Verdict.Label.REAL, rule.at_most),
                "enough_bogus": rule.enough.get(Verdict.Label.BOGUS, rule.at_most),
                "expert_settles": rule.expert_settles,
            }
        )
