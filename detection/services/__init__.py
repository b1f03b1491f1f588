"""Writing candidates: the search of a difference, their scores, and the models that give them."""

from detection.services.registry import adopt_shipped
from detection.services.search import run_detect

__all__ = ["adopt_shipped", "run_detect"]
