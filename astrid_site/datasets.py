"""From people's verdicts to a data set: who may see both gathers the labels and runs the build."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import transaction

from astrid_site.accounts.roles import ROLE_STEPS
from astrid_site.core import audit, jobs
from astrid_site.core.errors import ApplicationError
from astrid_site.core.jobs import JobContext, NextJob, Outcome
from astrid_site.core.models import Job
from astrid_site.core.status import JobState
from catalog.models import ObjectDetection
from curation.models import Verdict
from curation.selectors import current_verdicts
from detection.models import DataSet
from detection.services import datasets
from detection.services.datasets import CandidateLabel, Progress

if TYPE_CHECKING:
    from astrid_site.accounts.models import User
    from detection.training.labelled_cutouts import LabelledCutouts

BUILD = "build_dataset"
DEFAULT_NAME = "verdicts"
#: Simulated skies beside the verdicts, so that what the network knows is not forgotten.
DEFAULT_SKIES, MAX_SKIES = 40, 400
REAL = (Verdict.Label.REAL, Verdict.Label.VARIABLE, Verdict.Label.MOVING)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,59}")
_ROLES = tuple(ROLE_STEPS)


def candidate_labels() -> tuple[list[CandidateLabel], dict[str, int]]:
    """What people say of each candidate now, and how many are left out because they are unsure.

    Of several answers an expert's word counts, then the latest; how many agree with it is kept.
    """
    by_candidate: dict[Any, list[Verdict]] = {}
    for verdict in current_verdicts().order_by("created_at", "sequence", "pk"):
        by_candidate.setdefault(verdict.detection_id, []).append(verdict)
    owners = dict(
        ObjectDetection.objects.filter(detection__in=by_candidate).values_list(
            "detection_id", "astro_object_id"
        )
    )
    roles = _roles_of({v.curator_id for rows in by_candidate.values() for v in rows})
    labels, n_unsure = [], 0
    for key, rows in by_candidate.items():
        deciding = [row for row in rows if row.label != Verdict.Label.UNSURE]
        if not deciding:
            n_unsure += 1
            continue
        chosen = max(deciding, key=lambda row: row.tier == Verdict.Tier.EXPERT)
        last = [row for row in deciding if row.tier == chosen.tier][-1]
        labels.append(_label(last, deciding, role=roles[last.curator_id], owner=owners.get(key)))
    return labels, {"people are unsure": n_unsure} if n_unsure else {}


def _label(
    verdict: Verdict, answers: Sequence[Verdict], *, role: str, owner: Any
) -> CandidateLabel:
    is_real = verdict.label in REAL
    n_agreeing = sum((row.label in REAL) == is_real for row in answers)
    return CandidateLabel(
        detection_id=verdict.detection_id,
        is_real=is_real,
        kind=verdict.reason.replace("_", " ") if verdict.reason else verdict.label,
        role=role,
        at=verdict.created_at,
        owner=str(owner) if owner else "",
        detail={
            "verdict": str(verdict.pk),
            "tier": verdict.tier,
            "n_agreeing": n_agreeing,
            "n_other": len(answers) - n_agreeing,
        },
    )


def _roles_of(people: Iterable[Any]) -> dict[Any, str]:
    """The highest role of each person: no name leaves the database."""
    from django.contrib.auth import get_user_model

    rows = get_user_model().objects.filter(pk__in=list(people)).prefetch_related("groups")
    found = {}
    for row in rows:
        held = {group.name for group in row.groups.all()}
        found[row.pk] = next((role for role in reversed(_ROLES) if role in held), "no role")
    return found


def request_build(
    actor: User | None, *, name: str = DEFAULT_NAME, n_skies: int = DEFAULT_SKIES
) -> DataSet:
    """Have a worker make the next version of a data set of all verdicts as they are now.

    Raises
    ------
    ApplicationError
        If the name or the number of skies is none, or a build of that name is under way.
    """
    name = name.strip()
    if not _NAME.fullmatch(name):
        msg = "name: letters, digits, spaces and _.- are taken, at most 60"
        raise ApplicationError(msg)
    if not 0 <= n_skies <= MAX_SKIES:
        msg = f"simulated skies: from 0 to {MAX_SKIES}, got {n_skies}"
        raise ApplicationError(msg)
    with transaction.atomic():
        waiting = DataSet.objects.select_for_update().filter(name=name, version=None)
        if any(is_under_way(row) for row in waiting):
            msg = f"a version of {name} is being built already"
            raise ApplicationError(msg)
        dataset = DataSet.objects.create(
            name=name,
            parameters={"verdicts": True, "skies": n_skies},
            requested_by=actor,
        )
        audit.record(actor, "dataset.request", dataset, after=dataset.parameters)
        jobs.submit(NextJob(kind=BUILD, subject_id=dataset.pk, config_version="1"))
    return dataset


def build_job(dataset: DataSet) -> Job | None:
    """The job that builds a data set."""
    return Job.objects.filter(kind=BUILD, subject_id=dataset.pk).first()


def is_under_way(dataset: DataSet) -> bool:
    """Whether a worker builds it, or will."""
    job = build_job(dataset)
    return job is not None and job.state in {JobState.QUEUED, JobState.RUNNING}


def run_build(context: JobContext) -> Outcome:
    """Build a data set; one that holds what the version before holds is not kept twice."""
    dataset = DataSet.objects.filter(pk=context.subject_id).first()
    if dataset is None or dataset.digest:
        return Outcome(JobState.DONE)
    try:
        cutouts = gather(dataset.parameters, progress=_part(context.progress, 0.0, 0.5))
        built = datasets.build(
            dataset,
            cutouts,
            rules=datasets.rules_of(dataset.parameters),
            progress=_part(context.progress, 0.5, 1.0),
        )
    except ApplicationError as error:
        return Outcome(JobState.FAILED, cause=str(error))
    if (same := datasets.same_version(dataset, built.digest)) is not None:
        cause = f"nothing is new: {same} holds just the same"
        return Outcome(JobState.SKIPPED, cause=cause)

    def save() -> Sequence[NextJob]:
        datasets.save_built(dataset, built)
        return ()

    return Outcome(JobState.DONE, save=save)


def gather(
    parameters: Mapping[str, Any], *, progress: Progress, more: Sequence[LabelledCutouts] = ()
) -> LabelledCutouts:
    """All labelled cutouts that a data set is asked for with, in the order of their keys."""
    from detection.training.dataset_sources import simulated_cutouts
    from detection.training.labelled_cutouts import LabelledCutouts, join_cutouts

    parts = list(more)
    if parameters.get("verdicts"):
        labels, left_out = candidate_labels()
        found = datasets.candidate_cutouts(labels, progress=_part(progress, 0.0, 0.4))
        parts.append(
            LabelledCutouts(found.samples, found.triplets, {**left_out, **found.unlabelled})
        )
    if n_skies := int(parameters.get("skies", 0)):
        seed = int(parameters.get("seed", 0))
        skies = simulated_cutouts(n_skies, seed=seed, progress=_part(progress, 0.4, 1.0))
        parts.append(skies)
    return join_cutouts(parts)


def _part(progress: Progress, first: float, last: float) -> Progress:
    """Progress of a part of the work, as that of the whole."""
    return partial(_scaled, progress, first, last)


def _scaled(progress: Progress, first: float, last: float, share: float, words: str) -> None:
    progress(first + (last - first) * share, words)
