"""Writing references and differences."""

from differencing.services.difference import load_difference, run_difference, subtract_frame
from differencing.services.reference import run_reference

__all__ = ["load_difference", "run_difference", "run_reference", "subtract_frame"]
