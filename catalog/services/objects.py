"""What people decided about an object."""

from __future__ import annotations

from django.db.models import Max, OuterRef, Subquery

from astrid_site.core.events import publish
from catalog.models import AstroObject, ObjectDetection


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


def refresh_best_scores() -> None:
    """Follow the scores of the detections where another model gives them now."""
    members = ObjectDetection.objects.filter(astro_object=OuterRef("pk")).order_by()
    best = members.values("astro_object").annotate(best=Max("detection__real_bogus"))
    AstroObject.objects.update(best_real_bogus=Subquery(best.values("best")))
