"""What several people's answers come to, and when nobody else need be asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

#: An answer that says nothing either way.
UNSURE = "unsure"


class Standing(StrEnum):
    """How far the answers agree."""

    OPEN = "open"
    AGREED = "agreed"
    DISPUTED = "disputed"
    SETTLED = "settled"


@dataclass(frozen=True)
class Vote:
    """One person's answer; ``at`` orders them, an expert's may settle the matter."""

    person: Hashable
    label: str
    at: float
    is_expert: bool = False


@dataclass(frozen=True)
class Rule:
    """When answers are a consensus, and when enough people were asked.

    Attributes
    ----------
    votes_needed : int
        Answers other than "unsure" before there is a consensus at all.
    agreement : float
        Share of those that must be the same, above one half.
    at_most : int
        People asked at most.
    enough : Mapping[str, int]
        Label to the number of equal answers after which nobody else is asked; without an entry
        it is ``at_most``. An answer that stands alone needs no more people than one in doubt.
    expert_settles : bool
        Whether an expert's answer stands above all others.
    """

    votes_needed: int = 1
    agreement: float = 0.6
    at_most: int = 3
    enough: Mapping[str, int] = field(default_factory=dict)
    expert_settles: bool = True

    def __post_init__(self) -> None:
        if not 0.5 < self.agreement <= 1.0:
            msg = f"agreement: must be above 0.5 and at most 1, got {self.agreement}"
            raise ValueError(msg)
        for name, value in (("votes_needed", self.votes_needed), *self.enough.items()):
            if not 1 <= value <= self.at_most:
                msg = f"{name}: must be from 1 to at_most, {self.at_most}, got {value}"
                raise ValueError(msg)


@dataclass(frozen=True)
class Outcome:
    """What the answers come to.

    Attributes
    ----------
    label : str
        The answer; empty where there is none.
    standing : Standing
    n_people : int
        People who answered, "unsure" among them.
    n_agreeing : int
        Those who gave the most frequent answer.
    is_retired : bool
        Nobody else need be asked.
    """

    label: str
    standing: Standing
    n_people: int
    n_agreeing: int
    is_retired: bool


def find_consensus(votes: Sequence[Vote], rule: Rule) -> Outcome:
    """Derive the common answer of several people.

    Parameters
    ----------
    votes : sequence of Vote
        Any order. Of one person the latest answer other than "unsure" counts, however many
        detections of one object it was given on.
    rule : Rule
        When they are a consensus, and when enough people were asked.

    Returns
    -------
    Outcome
    """
    heard = _one_each(votes)
    experts = [v for v in heard if v.is_expert and v.label != UNSURE and rule.expert_settles]
    counts = Counter(vote.label for vote in heard if vote.label != UNSURE)
    if experts:
        label = max(experts, key=lambda vote: vote.at).label
        return Outcome(label, Standing.SETTLED, len(heard), counts[label], is_retired=True)
    label, n_agreeing = counts.most_common(1)[0] if counts else ("", 0)
    is_full, n_deciding = len(heard) >= rule.at_most, counts.total()
    if n_deciding < rule.votes_needed:
        # enough people, and they cannot tell
        standing = Standing.DISPUTED if is_full else Standing.OPEN
        return Outcome("", standing, len(heard), n_agreeing, is_retired=is_full)
    # above one half there is no tie
    if n_agreeing < rule.agreement * n_deciding:
        return Outcome("", Standing.DISPUTED, len(heard), n_agreeing, is_retired=is_full)
    is_enough = n_agreeing >= rule.enough.get(label, rule.at_most)
    return Outcome(label, Standing.AGREED, len(heard), n_agreeing, is_retired=is_full or is_enough)


def _one_each(votes: Sequence[Vote]) -> list[Vote]:
    """Each person's answer that counts: the latest that decides, else "unsure"."""
    of: dict[Hashable, Vote] = {}
    for vote in sorted(votes, key=lambda vote: (vote.label != UNSURE, vote.is_expert, vote.at)):
        of[vote.person] = vote
    return list(of.values())
