"""Writing observations: surveys, ingest, and the rows of stage runs."""

from observations.services.ingest import IngestResult, ingest_file
from observations.services.overrides import Overrides, read_sidecar
from observations.services.surveys import get_or_create_survey

__all__ = ["IngestResult", "Overrides", "get_or_create_survey", "ingest_file", "read_sidecar"]
