"""Zero point against a catalogue, and the depth proven by injections, of a calibrated frame."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from astrid_site.imaging.errors import AlgorithmError
from observations.models import Observation
from preprocessing.services.catalogs import FoundCatalog, catalog_around

if TYPE_CHECKING:
    from preprocessing.algorithms.preprocess import Preprocessed
    from preprocessing.algorithms.zero_point import ZeroPoint


def calibrate_photometry(
    observation: Observation, done: Preprocessed
) -> tuple[Preprocessed, dict[str, str]]:
    """The frame on the zero point of the survey's catalogue, and what of it was used.

    Without a catalogue at hand the frame stays as it is; so it does, and says so, where the
    catalogue cannot calibrate it.
    """
    found = catalog_around(observation)
    if found is None:
        return done, {}
    from preprocessing.algorithms.zero_point import apply_trend, calibrate_zero_point

    inputs = {"catalog": found.catalog.file.sha256}
    try:
        zero_point = calibrate_zero_point(done.image, done.stars, found.stars)
    except AlgorithmError as error:
        note = f"the catalogue {found.catalog.name} did not calibrate the frame: {error.message}"
        metrics = {**done.metrics, "zero_point_catalog_problem": error.message}
        return replace(done, metrics=metrics, notes=(*done.notes, note)), inputs
    image, stars = apply_trend(done.image, done.stars, zero_point)
    image = image.with_(zero_point=zero_point.value)
    metrics = {**done.metrics, **_zero_point_numbers(zero_point, found)}
    if zero_point.value is not None and (flux := done.metrics.get("limiting_flux_5sigma")):
        metrics["limiting_magnitude"] = zero_point.value - 2.5 * float(np.log10(float(str(flux))))
    notes = (*done.notes, _in_words(zero_point, found))
    return replace(done, image=image, stars=stars, metrics=metrics, notes=notes), inputs


def _zero_point_numbers(zero_point: ZeroPoint, found: FoundCatalog) -> dict[str, Any]:
    """The fit for the run's record; None for terms that the stars did not allow."""
    color, trend = zero_point.color, zero_point.trend
    return {
        "zero_point": zero_point.value,
        "zero_point_error": zero_point.error,
        "zero_point_source": zero_point.source,
        "zero_point_catalog": found.catalog.name,
        "zero_point_n_stars": zero_point.n_stars,
        "zero_point_n_clipped": zero_point.n_clipped,
        "zero_point_sigma_int": zero_point.sigma_int,
        "color_term": color.slope if color else None,
        "color_term_error": color.error if color else None,
        "color_term_color": found.stars.color_name if color else None,
        "color_term_reference": color.reference if color else None,
        "zero_point_trend_x": trend.along_x if trend else None,
        "zero_point_trend_y": trend.along_y if trend else None,
        "zero_point_trend_sigma": trend.significance if trend else None,
        "zero_point_trend_applied": "yes" if trend and trend.is_applied else "no",
    }


def _in_words(zero_point: ZeroPoint, found: FoundCatalog) -> str:
    """One line for the log."""
    text = (
        f"zero point {zero_point.value:.4f} +- {zero_point.error:.4f} mag from "
        f"{zero_point.n_stars} stars of {found.catalog.name}"
    )
    if color := zero_point.color:
        name = found.stars.color_name
        text += f", {color.slope:+.4f} +- {color.error:.4f} per magnitude of {name}"
    if (trend := zero_point.trend) and trend.is_applied:
        text += f", its slope over the frame taken out ({trend.significance:.1f} sigma)"
    return text


def injected_depth(observation: Observation, done: Preprocessed) -> dict[str, Any]:
    """Depth of a frame by sources put into it, for the run's record.

    The seed is the raw file's own hash: the same frame gives the same numbers.
    """
    if done.image.psf is None:
        return {"limiting_magnitude_injected": None, "injected_depth": None}
    from preprocessing.algorithms.injection_places import generator_of
    from preprocessing.algorithms.limiting_magnitude import inject_into_frame

    gain = done.metrics.get("gain_used")
    try:
        depth = inject_into_frame(
            done.image,
            done.stars,
            gain=float(gain) if isinstance(gain, int | float) else None,
            rng=generator_of(observation.raw_file.sha256),
        )
    except AlgorithmError as error:
        return {
            "limiting_magnitude_injected": None,
            "injected_depth": None,
            "injected_depth_problem": error.message,
        }
    told = depth.as_json(zero_point=done.image.zero_point)
    return {"limiting_magnitude_injected": told["magnitude_50"], "injected_depth": told}
