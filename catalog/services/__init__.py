"""Writing the catalogue: association, forced photometry, and what people decided."""

from catalog.services.association import run_associate
from catalog.services.exports import ExportedTable, export_light_curve, export_objects
from catalog.services.forced_requests import FORCED, request_forced, run_forced
from catalog.services.frames import epochs_on_their_own
from catalog.services.objects import refresh_best_scores, set_decision
from catalog.services.photometry import (
    forget_points,
    run_measure,
    run_photometry,
    wants_measuring,
)
from catalog.services.searches import forget_search, save_search
from catalog.services.statements import state, withdraw

__all__ = [
    "FORCED",
    "ExportedTable",
    "epochs_on_their_own",
    "export_light_curve",
    "export_objects",
    "forget_points",
    "forget_search",
    "refresh_best_scores",
    "request_forced",
    "run_associate",
    "run_forced",
    "run_measure",
    "run_photometry",
    "save_search",
    "set_decision",
    "state",
    "wants_measuring",
    "withdraw",
]
