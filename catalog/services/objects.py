"""What people decided about an object."""

from __future__ import annotations

from astrid_site.core.events import publish
from catalog.models import AstroObject


def set_decision(
    astro_object: AstroObject, *, state: AstroObject.State, classification: str
) -> None:
    """Write the state people gave an object; called inside the transaction of the verdict."""
    astro_object.state = state
    astro_object.classification = classification
    astro_object.save(update_fields=["state", "classification"])
    publish(
        "object.changed",
        subject_id=astro_object.pk,
        payload={"state": str(state), "classification": classification},
    )
