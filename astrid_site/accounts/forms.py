"""What people fill in about themselves."""

from __future__ import annotations

from django import forms


class ApiKeyForm(forms.Form):
    """A new API key."""

    name = forms.CharField(
        max_length=100, label="Name", help_text="What will use it, e.g. “observatory script”."
    )
    can_write = forms.BooleanField(
        required=False, label="May submit observations and verdicts, not only read"
    )
    days = forms.TypedChoiceField(
        coerce=int,
        label="Valid for",
        choices=[(30, "30 days"), (90, "90 days"), (365, "1 year"), (0, "until revoked")],
        initial=90,
    )
