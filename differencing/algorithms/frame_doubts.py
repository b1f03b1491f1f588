"""What two frames say against their headers and each other, as numbers of the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from differencing.algorithms.quality import Limit
from differencing.algorithms.subtraction import Metric, Subtraction, Verdict

_ANY = float("inf")
#: Numbers of the frames; what they say does not show in the residuals, or not only there.
FRAME_LIMITS = (
    # beyond this the scatter of the sky itself is told from the header's gain
    Limit("gain_factor", (0.0, 1.4), (0.0, _ANY), is_optional=True),
    # stars of other colours are matched by other kernels: every red or blue one is a candidate
    Limit("n_other_bands", (0.0, 0.0), (0.0, _ANY), is_optional=True),
    # in units of the sky's noise; at 0.2 a level lifts the score by 1
    Limit("pattern_height", (0.0, 0.1), (0.0, _ANY), is_optional=True),
)


def frame_numbers(
    *frames: Mapping[str, object], bands: tuple[str | None, str | None] = (None, None)
) -> dict[str, Metric]:
    """The numbers of the frames that were subtracted, the worse of any two.

    Parameters
    ----------
    *frames : mapping
        Metrics of the calibration of each frame that is known.
    bands : tuple of str or None
        Bands of both frames; None where it is not known.

    Returns
    -------
    dict
        ``gain_factor``, by how many times a header's gain is off; ``n_other_bands``, 1 if the bands
        differ; ``pattern_height`` of fringes, in units of the sky's noise. None where not measured.
    """
    worst: dict[str, Metric] = {}
    for name in ("gain_factor", "pattern_height"):
        values = [value for frame in frames if isinstance(value := frame.get(name), float)]
        worst[name] = max(values, default=None)
    first, second = bands
    worst["n_other_bands"] = None if first is None or second is None else int(first != second)
    return worst


def judge_frames(subtraction: Subtraction, numbers: Mapping[str, Metric]) -> Subtraction:
    """The subtraction with numbers of its frames; none that passes with one beyond its limit."""
    verdict: Verdict = subtraction.quality
    reasons = list(subtraction.quality_reasons)
    for limit in FRAME_LIMITS:
        value = numbers.get(limit.name)
        low, high = limit.passing
        if not isinstance(value, (int, float)) or low <= value <= high:
            continue
        reasons.append(f"{limit.name} {value:.3g} is outside {low:g} to {high:g}")
        verdict = "downgrade" if verdict == "pass" else verdict
    return replace(
        subtraction,
        metrics={**subtraction.metrics, **numbers},
        quality=verdict,
        quality_reasons=tuple(reasons),
    )
