"""Why is it here, why was it missed: one place on every frame near a time."""

from astrid_site.explaining.frames import (
    DEFAULT_DAYS,
    MAX_FRAMES,
    FrameAnswer,
    PositionAnswer,
    Question,
    explain_position,
)

__all__ = [
    "DEFAULT_DAYS",
    "MAX_FRAMES",
    "FrameAnswer",
    "PositionAnswer",
    "Question",
    "explain_position",
]
