"""Writing verdicts, what they come to, and who has which candidate to decide."""

from curation.services.assignments import (
    HELD_FOR,
    give_back,
    keep_assignments,
    take_candidates,
)
from curation.services.consensus import CONSENSUS, make_rule, run_consensus
from curation.services.verdicts import give_verdict, stored_decision, withdraw_verdict

__all__ = [
    "CONSENSUS",
    "HELD_FOR",
    "give_back",
    "give_verdict",
    "keep_assignments",
    "make_rule",
    "run_consensus",
    "stored_decision",
    "take_candidates",
    "withdraw_verdict",
]
