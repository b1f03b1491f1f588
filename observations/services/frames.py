"""What is known of a frame: its header, under what a person said instead."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from observations.algorithms.headers import ObservationMetadata, read_metadata
from observations.models import Observation, Survey


@dataclass(frozen=True)
class FrameFacts:
    """Camera facts of one frame; None is unknown."""

    gain: float | None
    read_noise: float | None
    saturation: float | None
    zero_point: float | None
    exposure_s: float | None


def metadata_of(
    header: dict[str, str | int | float | bool],
    *,
    survey: Survey,
    file_name: str,
    now: datetime | None = None,
) -> ObservationMetadata:
    """A header read by the survey's own words; ``now`` makes a later date a defect."""
    return read_metadata(
        header,
        keywords=survey.keyword_map or None,
        file_name=file_name,
        mission=survey.mission or None,
        now=now,
    )


def frame_facts(observation: Observation) -> FrameFacts:
    """Camera facts: a person's word first, then the header's, then the survey's default."""
    survey = observation.survey
    said = metadata_of(observation.header, survey=survey, file_name=observation.raw_file.name)

    def pick(name: str, default: float | None = None) -> float | None:
        value = observation.overrides.get(name)
        if value is None:
            value = getattr(said, name)
        return default if value is None else float(value)

    return FrameFacts(
        gain=pick("gain", survey.gain),
        read_noise=pick("read_noise", survey.read_noise),
        saturation=pick("saturation", survey.saturation),
        zero_point=pick("zero_point"),
        exposure_s=observation.exposure_s,
    )
