from typing import Any

from django.db import migrations
from django.utils import timezone

AT_ONCE = 1000


def fill(apps: Any, editor: Any) -> None:
    """Whoever decided something has it assigned."""
    verdicts = apps.get_model("curation", "Verdict").objects.order_by("sequence")
    links = apps.get_model("catalog", "ObjectDetection").objects
    owners = dict(links.values_list("detection_id", "astro_object_id"))
    last = {}
    for detection, curator, label in verdicts.values_list("detection_id", "curator_id", "label"):
        last[detection, curator] = label
    decided = {
        (owners.get(detection, detection), curator)
        for (detection, curator), label in last.items()
        if label != "withdrawn"
    }
    model, now = apps.get_model("curation", "Assignment"), timezone.now()
    model.objects.bulk_create(
        [model(unit=unit, curator_id=curator, seen_at=now) for unit, curator in sorted(decided, key=str)],
        batch_size=AT_ONCE,
    )


class Migration(migrations.Migration):

    dependencies = [
        ('catalog', '0004_points_of_two_kinds'),
        ('curation', '0003_assignments_and_decisions'),
    ]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
