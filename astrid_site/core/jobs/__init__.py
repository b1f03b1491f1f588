"""The job ledger: a row is the work, a message only says that there is some.

``submit`` writes a row, ``run`` claims it under a lease and a fencing token, ``sweep`` returns
the rows of dead workers. The next stage's rows are written in the transaction that finishes
the stage before, so no crash can lose them.
"""

from astrid_site.core.jobs.ledger import cancel, expire_leases, release_running, retry, submit
from astrid_site.core.jobs.records import Claim, Handler, NextJob, Outcome, SweepReport
from astrid_site.core.jobs.ringing import ring_due
from astrid_site.core.jobs.running import JobContext, run, worker_name
from astrid_site.core.jobs.sweeping import sweep

__all__ = [
    "Claim",
    "Handler",
    "JobContext",
    "NextJob",
    "Outcome",
    "SweepReport",
    "cancel",
    "expire_leases",
    "release_running",
    "retry",
    "ring_due",
    "run",
    "submit",
    "sweep",
    "worker_name",
]
