"""A second method's view of the candidates of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astrid_site.imaging.image import Image
    from detection.algorithms.measurement import Measurement
    from differencing.algorithms.agreement import SecondOpinion
    from differencing.algorithms.subtraction import Subtraction
    from preprocessing.algorithms.preprocess import Preprocessed


def ask_second_method(
    options: dict[str, Any],
    subtraction: Subtraction,
    template: Image,
    science: Preprocessed,
    *,
    kept: list[Measurement],
    threshold: float,
) -> SecondOpinion | None:
    """Subtract the registered pair by ``--second-method``; None where there is none."""
    from differencing.algorithms.agreement import FirstView, ask_second
    from differencing.algorithms.subtraction import SubtractionConfig

    if options["second_method"] is None:
        return None
    return ask_second(
        options["second_method"],
        subtraction.method,
        template,
        science.image,
        stars=science.stars,
        candidates=FirstView.of(kept, threshold=threshold),
        config=SubtractionConfig(threads=options["threads"]),
    )
