"""Writing verdicts, what they come to, and who has which candidate to decide."""

from curation.services.assignments import (
    HELD_FOR,
    give_back,
    keep_assignments,
    take_candidates,
    take_with_checks,
)
from curation.services.consensus import CONSENSUS, make_rule, run_consensus
from curation.services.mosaic import MAX_AT_ONCE, judge_many, take_back_many
from curation.services.snoozing import CONDITIONS, snooze, wake
from curation.services.verdicts import give_verdict, stored_decision, withdraw_verdict

__all__ = [
    "CONDITIONS",
    "CONSENSUS",
    "HELD_FOR",
    "MAX_AT_ONCE",
    "give_back",
    "give_verdict",
    "judge_many",
    "keep_assignments",
    "make_rule",
    "run_consensus",
    "snooze",
    "stored_decision",
    "take_back_many",
    "take_candidates",
    "take_with_checks",
    "wake",
    "withdraw_verdict",
]
