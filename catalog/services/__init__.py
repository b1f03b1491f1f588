"""Writing the catalogue: association, forced photometry, and what people decided."""

from catalog.services.association import run_associate
from catalog.services.frames import epochs_on_their_own
from catalog.services.objects import refresh_best_scores, set_decision
from catalog.services.photometry import (
    forget_points,
    run_measure,
    run_photometry,
    wants_measuring,
)

__all__ = [
    "epochs_on_their_own",
    "forget_points",
    "refresh_best_scores",
    "run_associate",
    "run_measure",
    "run_photometry",
    "set_decision",
    "wants_measuring",
]
