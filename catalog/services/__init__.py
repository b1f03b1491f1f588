"""Writing the catalogue: association, forced photometry, and what people decided."""

from catalog.services.association import run_associate
from catalog.services.objects import set_decision
from catalog.services.photometry import run_photometry

__all__ = ["run_associate", "run_photometry", "set_decision"]
