from collections import defaultdict
from typing import Any

from django.conf import settings
from django.db import migrations
from django.utils import timezone

from curation.algorithms.consensus import Rule, Vote, find_consensus

AT_ONCE = 1000


def fill(apps: Any, editor: Any) -> None:
    """What the answers so far come to, by the rule of an installation that has made none."""
    verdicts = apps.get_model("curation", "Verdict").objects.order_by("sequence")
    links = apps.get_model("catalog", "ObjectDetection").objects
    owners = dict(links.values_list("detection_id", "astro_object_id"))
    last = {}
    rows = verdicts.values_list("detection_id", "curator_id", "round", "label", "created_at")
    for detection, curator, number, label, at in rows:
        last[detection, curator, number] = (label, at.timestamp())
    votes = defaultdict(list)
    for (detection, curator, _), (label, at) in last.items():
        if label != "withdrawn":
            votes[owners.get(detection, detection)].append(Vote(curator, label, at))
    rule = Rule(at_most=settings.PEOPLE_PER_CANDIDATE)
    model, now = apps.get_model("curation", "Consensus"), timezone.now()
    made = []
    for unit, answers in votes.items():
        found = find_consensus(answers, rule)
        made.append(
            model(
                unit=unit,
                label=found.label,
                standing=found.standing,
                n_people=found.n_people,
                n_agreeing=found.n_agreeing,
                is_retired=found.is_retired,
                changed_at=now,
            )
        )
    model.objects.bulk_create(made, batch_size=AT_ONCE)


class Migration(migrations.Migration):

    dependencies = [
        ('catalog', '0004_points_of_two_kinds'),
        ('curation', '0005_several_answers'),
    ]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
