"""What pages and the API say of fluxes from frames with different units, and of two surveys."""

from __future__ import annotations

from typing import Any

import pytest

from catalog.api import LightCurvePointOutput
from catalog.models import AstroObject, LightCurvePoint
from catalog.pages import EpochTable, LightCurve, chart_points, epoch_table
from catalog.selectors import light_curve
from observations.models import Survey
from tests.catalog.factories import (
    make_difference_run,
    make_object,
    make_point,
    make_science_image,
)
from tests.catalog.small_frames import make_reference
from tests.observations.factories import make_observation, make_survey

pytestmark = pytest.mark.django_db

#: Microjansky; 22 mag.
TRUTH = 5.754399
DIFFERENCE, TOTAL = LightCurvePoint.Kind.DIFFERENCE, LightCurvePoint.Kind.TOTAL


def add_epoch(
    owner: AstroObject, survey: Survey, mjd: float, zero_point: float | None, **run: Any
) -> None:
    """Both fluxes of a source of 22 mag on one frame, in the frame's unit; error 5 per cent."""
    unit = 10 ** (0.4 * ((zero_point or 25.0) - 23.9))
    flux = TRUTH * unit * run.pop("times", 1.0)
    observation = make_observation(survey, ra=owner.ra, dec=owner.dec)
    made = make_difference_run(observation, **run)
    magnitudes = (
        {}
        if zero_point is None
        else {"magnitude": 22.0, "magnitude_error": 0.05, "limiting_magnitude": 23.5}
    )
    for kind in (DIFFERENCE, TOTAL):
        point = make_point(
            owner,
            made,
            kind=kind,
            mjd=mjd,
            band="r",
            flux=flux,
            flux_error=0.05 * flux,
            zero_point=zero_point,
            **magnitudes,
        )
        if kind == TOTAL:
            point.difference_run = None
            point.limiting_magnitude = None if zero_point is None else 23.1
        point.save()


def shown(owner: AstroObject) -> tuple[LightCurve, EpochTable]:
    """Charts and table of an object."""
    rows = light_curve(owner)
    return chart_points(rows), epoch_table(rows)


def test_a_constant_source_is_level_on_the_chart_whatever_the_units_of_its_frames() -> None:
    owner, survey = make_object(), make_survey()
    for i, zero_point in enumerate((26.10, 27.54, 26.8)):
        add_epoch(owner, survey, 60000.0 + i, zero_point)
    charts, table = shown(owner)
    assert charts.flux is not None
    assert charts.flux.wide.y_label == "difference flux [µJy]"
    assert len({mark.y for mark in charts.flux.wide.marks}) == 1
    assert charts.flux.wide.marks[0].text.endswith("flux 5.75 ± 0.29 µJy")
    assert charts.flux.n_apart == 0
    assert (table.unit, table.has_surveys) == ("µJy", False)
    for row in table.rows:
        assert row.difference_flux is not None
        assert row.total_flux is not None
        assert row.difference_flux.flux == pytest.approx(TRUTH, rel=1e-6)
        assert row.total_flux.flux == pytest.approx(TRUTH, rel=1e-6)


def test_an_epoch_without_a_zero_point_is_counted_and_not_drawn_among_microjansky() -> None:
    owner, survey = make_object(), make_survey()
    add_epoch(owner, survey, 60000.0, 26.0)
    add_epoch(owner, survey, 60001.0, None)
    charts, table = shown(owner)
    for pair in (charts.flux, charts.magnitude, charts.total):
        assert pair is not None
        assert (len(pair.wide.marks), pair.n_apart) == (1, 1)
    bare = table.rows[1].difference_flux
    assert bare is not None
    assert (table.unit, bare.unit) == ("µJy", "image units")


def test_without_zero_points_the_stars_flux_ratios_bring_epochs_to_the_reference() -> None:
    owner, survey = make_object(), make_survey()
    reference = make_reference(make_science_image(), make_science_image())
    for i, ratio in enumerate((0.5, 2.0)):
        metrics = {"star_flux_ratio": ratio}
        add_epoch(
            owner, survey, 60000.0 + i, None, times=ratio, reference=reference, metrics=metrics
        )
    charts, table = shown(owner)
    assert charts.flux is not None
    assert charts.total is not None
    assert charts.flux.wide.y_label == "difference flux [reference units]"
    assert charts.total.wide.y_label == "total flux [reference units]"
    assert len({mark.y for mark in charts.flux.wide.marks}) == 1
    assert len({mark.y for mark in charts.total.wide.marks}) == 1
    assert table.unit == "reference units"


def test_the_only_epoch_of_a_reference_has_its_scale() -> None:
    owner, survey = make_object(), make_survey()
    add_epoch(owner, survey, 60000.0, None)
    LightCurvePoint.objects.filter(kind=DIFFERENCE).delete()
    first = LightCurvePoint.objects.get().science_image
    reference = make_reference(first)
    metrics = {"star_flux_ratio": 4.0}
    add_epoch(owner, survey, 60001.0, None, times=4.0, reference=reference, metrics=metrics)
    fluxes = [row.total_flux for row in shown(owner)[1].rows]
    assert [flux.unit for flux in fluxes if flux] == ["reference units"] * 2
    assert fluxes[0] == fluxes[1]


def test_epochs_that_nothing_ties_are_said_not_to_compare() -> None:
    owner, survey = make_object(), make_survey()
    add_epoch(owner, survey, 60000.0, None)
    charts, table = shown(owner)
    assert charts.flux is not None
    assert charts.flux.wide.y_label == "difference flux [image units, not comparable]"
    assert table.unit == "image units"


def test_two_surveys_are_told_apart_in_chart_table_and_api() -> None:
    owner = make_object()
    for i, name in enumerate(("North", "South")):
        add_epoch(owner, make_survey(name), 60000.0 + i, 26.0)
    charts, table = shown(owner)
    for pair in (charts.flux, charts.magnitude, charts.total):
        assert pair is not None
        assert [survey.name for survey in pair.wide.surveys] == ["North", "South"]
        assert len({mark.symbol for mark in pair.wide.marks}) == 2
    assert table.has_surveys
    assert [row.survey for row in table.rows] == ["North", "South"]
    points = LightCurvePointOutput(light_curve(owner), many=True).data
    assert [point["survey"] for point in points] == ["North", "North", "South", "South"]


@pytest.mark.parametrize("zero_point", [26.0, None])
def test_the_api_gives_microjansky_beside_the_raw_flux(zero_point: float | None) -> None:
    owner = make_object()
    add_epoch(owner, make_survey(), 60000.0, zero_point)
    for point in LightCurvePointOutput(light_curve(owner), many=True).data:
        assert point["zero_point"] == zero_point
        assert point["flux"] == pytest.approx(TRUTH * 10 ** (0.4 * ((zero_point or 25.0) - 23.9)))
        if zero_point is None:
            assert (point["flux_ujy"], point["flux_error_ujy"]) == (None, None)
        else:
            assert point["flux_ujy"] == pytest.approx(TRUTH, rel=1e-6)
            assert point["flux_error_ujy"] == pytest.approx(0.05 * TRUTH, rel=1e-6)
