"""What several answers come to, written down with every answer and by every new rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import IntegrityError, transaction

from astrid_site.core import audit, jobs
from astrid_site.core.errors import ApplicationError
from astrid_site.core.events import publish
from astrid_site.core.jobs import JobContext, NextJob, Outcome
from astrid_site.core.models import Job
from astrid_site.core.status import JobState
from catalog.models import AstroObject, ObjectDetection
from catalog.services import set_decision
from curation.algorithms.consensus import Vote, find_consensus
from curation.models import Consensus, ConsensusRule, Verdict
from curation.selectors import current_rule, current_verdicts, judged_units
from detection.models import Detection

if TYPE_CHECKING:
    from astrid_site.accounts.models import User

#: The kind of the job that looks at all answers anew.
CONSENSUS = "consensus"
_STATE_OF_LABEL = {
    Verdict.Label.REAL.value: AstroObject.State.CONFIRMED,
    Verdict.Label.BOGUS.value: AstroObject.State.REJECTED,
}
#: Real changes of the sky that are no transients: they are named, but not confirmed as such.
_CLASSES = frozenset({Verdict.Label.VARIABLE.value, Verdict.Label.MOVING.value})


def follow_verdicts(unit: UUID) -> Consensus:
    """Derive anew what people say of an object, and its state, in the verdict's transaction."""
    owner = AstroObject.objects.select_for_update(no_key=True).filter(pk=unit).first()
    if owner is None:  # a candidate without a place on the sky stands for itself
        Detection.objects.select_for_update(no_key=True).get(pk=unit)
    members = ObjectDetection.objects.filter(astro_object=unit)
    judged = [*members.values_list("detection_id", flat=True), *([] if owner else [unit])]
    votes = [
        Vote(
            row.curator_id,
            row.label,
            row.created_at.timestamp(),
            is_expert=row.tier == Verdict.Tier.EXPERT,
        )
        for row in current_verdicts(judged)
    ]
    found = find_consensus(votes, current_rule())
    consensus, _ = Consensus.objects.update_or_create(
        unit=unit,
        defaults={
            "label": found.label,
            "standing": found.standing,
            "n_people": found.n_people,
            "n_agreeing": found.n_agreeing,
            "is_retired": found.is_retired,
        },
    )
    if owner is not None:
        _decide(owner, found.label)
    return consensus


def _decide(owner: AstroObject, label: str) -> None:
    state = _STATE_OF_LABEL.get(label, AstroObject.State.CANDIDATE)
    classification = label if label in _CLASSES else ""
    if (owner.state, owner.classification) != (state, classification):
        set_decision(owner, state=state, classification=classification)


def make_rule(actor: User, **numbers: Any) -> ConsensusRule:
    """Let another rule count from now on; a worker then looks at all answers anew.

    Raises
    ------
    ApplicationError
        If the rule cannot be: more agreeing answers asked for than people.
    """
    try:
        with transaction.atomic():
            rule = ConsensusRule.objects.create(made_by=actor, **numbers)
            audit.record(actor, "consensus.rule", rule, after=numbers)
            request_consensus(rule)
    except IntegrityError as error:
        msg = (
            "this rule cannot be: the agreement is a share above 0.5, and no number of answers "
            "is larger than that of the people asked"
        )
        raise ApplicationError(msg) from error
    return rule


def request_consensus(rule: ConsensusRule) -> Job:
    """Have a worker look at all answers by a rule, in the caller's transaction."""
    return jobs.submit(NextJob(kind=CONSENSUS, subject_id=rule.pk, config_version="1"))


def run_consensus(context: JobContext) -> Outcome:
    """Look at all answers anew, object by object; after a kill the same comes out."""
    units = sorted(judged_units())
    for i, unit in enumerate(units):
        context.progress(i / len(units), f"object {i + 1} of {len(units)}")
        with transaction.atomic():
            follow_verdicts(unit)

    def save() -> Sequence[NextJob]:
        publish("verdict.given", subject_id=context.subject_id, payload={"objects": len(units)})
        return ()

    return Outcome(JobState.DONE, save=save)
