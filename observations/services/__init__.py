"""Writing observations: surveys, ingest, and the rows of stage runs."""

from observations.services.folders import arrange, held_back
from observations.services.ingest import IngestResult, ingest_file, last_part
from observations.services.overrides import COLUMNS, Overrides, read_sidecar
from observations.services.surveys import get_or_create_survey

__all__ = [
    "COLUMNS",
    "IngestResult",
    "Overrides",
    "arrange",
    "get_or_create_survey",
    "held_back",
    "ingest_file",
    "last_part",
    "read_sidecar",
]
