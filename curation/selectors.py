"""Reading verdicts, and what to decide next."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    UUIDField,
    When,
)
from django.db.models.functions import Abs, Coalesce
from django.utils import timezone

from catalog.models import AstroObject, ObjectDetection
from curation.algorithms.consensus import Rule, Standing
from curation.models import Assignment, Consensus, ConsensusRule, Snooze, SpotCheck, Verdict
from detection.models import Detection
from detection.selectors import with_pixels
from observations.models import Survey

if TYPE_CHECKING:
    from astrid_site.accounts.models import User


#: A page that was not heard of for so long is closed, or its network is gone.
PRESENT_WITHIN = timedelta(seconds=45)


Order = Sequence[Any]
BEST_FIRST: Order = (F("real_bogus").desc(nulls_last=True), Abs("score").desc(), "id")
WORST_FIRST: Order = (F("real_bogus").asc(nulls_last=True), Abs("score"), "id")


def asleep(curator: User) -> QuerySet[Snooze]:
    """What a curator put off and of which nothing has happened since."""
    owner = AstroObject.objects.filter(pk=OuterRef("unit"))
    rows = Snooze.objects.filter(curator=curator).annotate(
        n_now=Subquery(owner.values("n_detections")),
        brightest=Subquery(owner.values("brightest_magnitude")),
    )
    return rows.filter(
        Q(until=None) | Q(until__gt=timezone.now()),
        Q(n_detections=None) | Q(n_now__lte=F("n_detections")),
        Q(magnitude=None) | Q(brightest=None) | Q(brightest__gte=F("magnitude")),
    )


def named_first(keys: Collection[UUID]) -> Order:
    """Best first, but these detections before all others."""
    if not keys:
        return BEST_FIRST
    return (Case(When(pk__in=list(keys), then=0), default=1), *BEST_FIRST)


def current_verdicts(
    detection_ids: Iterable[UUID] | None = None, *, curator: User | None = None
) -> QuerySet[Verdict]:
    """The answers that count: the last of each curator, round and detection, if not withdrawn."""
    later = Verdict.objects.filter(
        detection=OuterRef("detection"),
        curator=OuterRef("curator"),
        round=OuterRef("round"),
        sequence__gt=OuterRef("sequence"),
    )
    rows = Verdict.objects.filter(~Exists(later)).exclude(label=Verdict.Label.WITHDRAWN)
    if detection_ids is not None:
        rows = rows.filter(detection__in=list(detection_ids))
    if curator is not None:
        rows = rows.filter(curator=curator)
    return rows.select_related("curator", "detection")


def newest_rule() -> ConsensusRule | None:
    """The rule of consensus that counts; None where nobody has made one."""
    return ConsensusRule.objects.select_related("made_by").order_by("-created_at", "-id").first()


def current_rule() -> Rule:
    """When answers are a consensus: the newest rule, or one answer of at most so many people."""
    row = newest_rule()
    if row is None:
        return Rule(at_most=settings.PEOPLE_PER_CANDIDATE)
    return Rule(
        votes_needed=row.votes_needed,
        agreement=row.agreement,
        at_most=row.at_most,
        enough={Verdict.Label.REAL: row.enough_real, Verdict.Label.BOGUS: row.enough_bogus},
        expert_settles=row.expert_settles,
    )


def judged_units() -> set[UUID]:
    """Everything of which anybody ever said anything."""
    judged = Verdict.objects.order_by().values("detection")
    linked = ObjectDetection.objects.filter(detection__in=judged)
    alone = Verdict.objects.exclude(detection__in=ObjectDetection.objects.values("detection"))
    return {
        *linked.values_list("astro_object", flat=True).distinct(),
        *alone.order_by().values_list("detection", flat=True).distinct(),
    }


def consensus_of(unit: UUID) -> Consensus | None:
    """What people say of an object, or of a candidate that belongs to none."""
    return Consensus.objects.filter(unit=unit).first()


def standing_counts() -> dict[str, int]:
    """Number of objects that people judged, by how far they agree."""
    rows = Consensus.objects.exclude(n_people=0).values("standing").order_by()
    return {row["standing"]: row["n"] for row in rows.annotate(n=Count("pk"))}


def retired_count() -> int:
    """Number of objects about which nobody else is asked."""
    return Consensus.objects.filter(is_retired=True).count()


def disputed() -> QuerySet[Consensus]:
    """What people disagree about, or cannot tell."""
    return Consensus.objects.filter(standing=Standing.DISPUTED)


def best_candidates(units: Collection[UUID]) -> dict[UUID, Detection]:
    """The candidate that stands for each object: highest real-bogus score, then highest |score|."""
    links = ObjectDetection.objects.filter(astro_object__in=units)
    owners = dict(links.values_list("detection_id", "astro_object_id"))
    rows = with_pixels(Detection.objects.filter(Q(pk__in=owners) | Q(pk__in=units)))
    chosen: dict[UUID, Detection] = {}
    for row in rows.select_related("observation__survey").order_by(*BEST_FIRST):
        chosen.setdefault(owners.get(row.pk, row.pk), row)
    return chosen


def answers_about(units: Collection[UUID]) -> list[tuple[UUID, Verdict]]:
    """The answers that count about objects, each with its object, in the order they came."""
    links = ObjectDetection.objects.filter(astro_object__in=units)
    owners = dict(links.values_list("detection_id", "astro_object_id"))
    rows = current_verdicts({*owners, *units}).order_by("created_at", "sequence")
    return [(owners.get(row.detection_id, row.detection_id), row) for row in rows]


def verdict_history(astro_object: AstroObject) -> QuerySet[Verdict]:
    """Every answer ever given on an object's detections, newest first."""
    return (
        Verdict.objects.filter(
            detection__in=ObjectDetection.objects.filter(astro_object=astro_object).values(
                "detection"
            )
        )
        .select_related("curator", "detection", "detection__observation")
        .order_by("-created_at", "-sequence")
    )


def confirmed_without_place() -> QuerySet[Detection]:
    """Candidates that people say are real and that have no place on the sky, newest first.

    No object stands for them; the latest answer that decides anything counts, as for an object.
    """
    said_real = Verdict.objects.filter(label=Verdict.Label.REAL)
    deciding = current_verdicts().filter(detection=OuterRef("pk"))
    latest = deciding.exclude(label=Verdict.Label.UNSURE).order_by("-created_at", "-sequence")
    rows = Detection.objects.filter(ra__isnull=True, pk__in=said_real.values("detection"))
    return (
        rows.annotate(decided=Subquery(latest.values("label")[:1]))
        .filter(decided=Verdict.Label.REAL)
        .select_related("observation", "observation__survey")
        .order_by("-created_at", "id")
    )


def detection_verdicts(detection: Detection) -> QuerySet[Verdict]:
    """Every answer ever given on one detection, oldest first."""
    rows = Verdict.objects.filter(detection=detection).select_related("curator")
    return rows.order_by("created_at", "sequence")


def current_verdict(detection: Detection, curator: User, *, round: int = 1) -> Verdict | None:
    """What one curator says of one detection now."""
    return current_verdicts([detection.pk], curator=curator).filter(round=round).first()


def next_candidates(
    curator: User,
    *,
    limit: int = 10,
    exclude: Collection[UUID] = (),
    survey: Survey | None = None,
    order: Order = BEST_FIRST,
    below: float | None = None,
) -> list[Detection]:
    """Detections this curator should decide next, best first, one for each object.

    With a ``survey``, only detections on its frames; in another ``order``, that one's first; with
    ``below``, only objects of which no detection has a real-bogus score as high as this.

    The best of an object is the one with the highest real-bogus score, then the highest |score|.
    Objects of which the curator has decided any detection are done. Unscored candidates follow
    the scored ones. Withdrawing a verdict brings the object back.
    """
    if limit < 1:
        return []
    chosen: list[Detection] = []
    seen: set[UUID] = set()
    rows = _open_detections(curator, exclude=exclude, survey=survey).order_by(*order)
    if below is not None:
        better = ObjectDetection.objects.filter(
            astro_object=OuterRef("unit"), detection__real_bogus__gte=below
        )
        rows = rows.filter(Q(real_bogus=None) | Q(real_bogus__lt=below), ~Exists(better))
    # an object seen in many epochs must not cost a query each: read on in pages of a few times
    # the limit until enough objects are there
    page = 8 * limit
    start = 0
    while len(chosen) < limit:
        batch = list(rows[start : start + page])
        owners = _owners(batch)
        for row in batch:
            key = owners.get(row.pk, row.pk)
            if key not in seen and len(chosen) < limit:
                seen.add(key)
                chosen.append(row)
        if len(batch) < page:
            break
        start += page
    return chosen


def _owners(rows: Iterable[Detection | UUID]) -> dict[UUID, UUID]:
    links = ObjectDetection.objects.filter(detection__in=list(rows))
    return dict(links.values_list("detection_id", "astro_object_id"))


def units_of(detection_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """What people are assigned to, for each candidate: its object, or itself if it has none."""
    return {key: key for key in detection_ids} | _owners(detection_ids)


def full_units(curator: User) -> QuerySet[Assignment, Any]:
    """Assignments grouped by unit: those units that enough others than this curator have."""
    taken = Assignment.objects.filter(Q(until=None) | Q(until__gt=timezone.now()))
    others = taken.exclude(curator=curator).order_by().values("unit")
    return others.annotate(n=Count("pk")).filter(n__gte=current_rule().at_most)


def people_present(curator: User, unit: UUID | None) -> tuple[list[str], list[str]]:
    """Names of the others who vet just now, and of those who look at the same thing."""
    heard = Assignment.objects.filter(seen_at__gt=timezone.now() - PRESENT_WITHIN)
    others = heard.filter(is_open=True).exclude(curator=curator).order_by("curator__username")
    rows = list(others.values_list("curator__username", "unit"))
    return [name for name, _ in rows], [name for name, held in rows if held == unit]


def _owner_of_row() -> QuerySet[ObjectDetection, UUID]:
    links = ObjectDetection.objects.filter(detection=OuterRef("pk"))
    return links.values_list("astro_object", flat=True)[:1]


def _open_detections(
    curator: User, *, exclude: Collection[UUID], survey: Survey | None
) -> QuerySet[Detection]:
    """Kept detections of active surveys, of objects this curator has not decided.

    Objects that as many others as are wanted decided, or are looking at, are not among them, nor
    those about which nobody else need be asked or which this curator put off.
    """
    mine = current_verdicts(curator=curator)
    skipped = ObjectDetection.objects.filter(detection__in=list(exclude))
    decided_owner = ObjectDetection.objects.filter(detection__in=mine.values("detection")).values(
        "astro_object"
    )
    done = ObjectDetection.objects.filter(
        Q(astro_object__in=decided_owner) | Q(astro_object__in=skipped.values("astro_object")),
        detection=OuterRef("pk"),
    )
    wanted = Q(observation__survey=survey) if survey else Q()
    kept = Detection.objects.filter(wanted, is_kept=True, observation__survey__is_active=True)
    return (
        with_pixels(kept)
        .annotate(unit=Coalesce(Subquery(_owner_of_row()), F("pk"), output_field=UUIDField()))
        .filter(
            ~Exists(mine.filter(detection=OuterRef("pk"))),
            ~Exists(done),
            ~Exists(full_units(curator).filter(unit=OuterRef("unit"))),
            ~Exists(Consensus.objects.filter(unit=OuterRef("unit"), is_retired=True)),
            ~Exists(asleep(curator).filter(unit=OuterRef("unit"))),
        )
        .exclude(pk__in=list(exclude))
        .select_related("observation", "observation__survey")
    )


def pending_checks(
    curator: User, *, exclude: Collection[UUID] = (), survey: Survey | None = None
) -> QuerySet[Detection]:
    """Candidates that this curator called bogus among many, to be shown by themselves."""
    wanted = Q(observation__survey=survey) if survey else Q()
    open_ones = SpotCheck.objects.filter(curator=curator, answered_at=None)
    rows = Detection.objects.filter(wanted, pk__in=open_ones.values("detection"))
    return (
        with_pixels(rows)
        .exclude(pk__in=list(exclude))
        .select_related("observation", "observation__survey")
        .order_by("id")
    )


def undecided(curator: User, keys: Collection[UUID]) -> list[UUID]:
    """Those of some candidates of whose objects this curator has decided nothing, in order."""
    units = units_of(keys)
    done = {
        unit for unit, row in answers_about(set(units.values())) if row.curator_id == curator.pk
    }
    return [key for key in keys if units[key] not in done]


def latest_answers(curator: User) -> dict[UUID, str]:
    """What a curator says of each object: the latest answer other than unsure."""
    rows = current_verdicts(curator=curator).exclude(label=Verdict.Label.UNSURE)
    ordered = list(rows.order_by("created_at", "sequence").values_list("detection", "label"))
    units = units_of({detection for detection, _ in ordered})
    return {units[detection]: label for detection, label in ordered}


def consensus_labels(units: Collection[UUID]) -> dict[UUID, str]:
    """What several people came to about some objects, where they did."""
    rows = Consensus.objects.filter(unit__in=list(units), n_people__gte=2).exclude(label="")
    return dict(rows.values_list("unit", "label"))


def slips(curator: User) -> tuple[int, int]:
    """Of what came back to a curator: how many were answered, and how many not as bogus."""
    answered = SpotCheck.objects.filter(curator=curator, answered_at__isnull=False)
    return answered.count(), answered.exclude(label=Verdict.Label.BOGUS).count()


def open_count(curator: User, *, survey: Survey | None = None) -> int:
    """Number of objects (and detections without one) that this curator has not decided."""
    rows = _open_detections(curator, exclude=(), survey=survey)
    linked = ObjectDetection.objects.filter(detection__in=rows.order_by().values("pk"))
    loose = rows.exclude(pk__in=ObjectDetection.objects.values("detection"))
    return linked.values("astro_object").distinct().count() + loose.count()
