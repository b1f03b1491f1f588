"""The stage that is named for a lost source is the one at which it was lost."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from astrid_site.core.models import StoredFile
from astrid_site.explaining import FrameAnswer, Question, explain_position
from benchmarks.learning.missed_sources import DEC, RA, Miss
from detection.algorithms.explanation import explain_place
from detection.algorithms.place_facts import FrameFacts, Stop
from detection.models import Detection
from differencing.models import DifferenceRun

#: Of all sources, those whose stage must be named.
RIGHT = 0.95


pytestmark = [pytest.mark.django_db]


def first(misses: list[Miss], kind: str) -> tuple[Miss, FrameAnswer]:
    miss = next(miss for miss in misses if miss.kind == kind)
    return miss, miss.ask()


def test_the_named_stage_and_what_it_names_are_right_for_nearly_every_source(
    misses: list[Miss],
) -> None:
    wrong = [miss.kind for miss in misses if not miss.is_named()]
    assert len(misses) >= 40
    assert len(wrong) <= (1.0 - RIGHT) * len(misses), wrong


def test_a_threshold_lowered_as_proposed_would_have_kept_a_faint_source(
    misses: list[Miss],
) -> None:
    told = []
    for miss in misses:
        if miss.kind == "faint":
            answer = miss.ask()
            reading, change = answer.place.reading, answer.explanation.change
            assert reading is not None
            assert reading.peak_score is not None
            assert answer.explanation.sentence.startswith("Below the threshold: score")
            if change.startswith("threshold 5 → "):
                lower = float(change.removeprefix("threshold 5 → ").split(",")[0])
                told.append(lower <= abs(reading.peak_score) < lower + 0.1)
            else:
                told.append(abs(reading.peak_score) < 3.5)
    assert told
    assert all(told)


def test_limits_loosened_as_proposed_would_have_kept_what_was_cut(misses: list[Miss]) -> None:
    _, answer = first(misses, "dipole")
    row = answer.place.detection
    assert row is not None
    failed = [cut for cut in row.cuts if not cut["kept"]]
    changes = answer.explanation.change.split("; ")
    assert len(changes) == len(failed)
    just = float(changes[0].split(" → ")[1].replace("\u2212", "-"))
    worst = min(failed, key=lambda cut: cut["margin"])
    is_upper = worst["value"] > worst["limit"]
    assert (worst["value"] <= just) if is_upper else (worst["value"] >= just)


def test_forced_flux_and_limit_are_those_of_the_noise_that_was_drawn(misses: list[Miss]) -> None:
    # 10 of noise a pixel under a PSF of 3.2 pix: one sigma is 10 sqrt(4 pi) 3.2 / 2.3548 = 48
    errors = [
        answer.place.reading.flux_error
        for answer in (miss.ask() for miss in misses if miss.kind == "faint")
        if answer.place.reading is not None and answer.place.reading.flux_error is not None
    ]
    assert errors == pytest.approx([48.2] * len(errors), rel=0.25)


def test_every_stage_before_the_named_one_is_passed_and_none_after_it_is_reached(
    misses: list[Miss],
) -> None:
    states = {
        kind: [step.state for step in first(misses, kind)[1].explanation.steps]
        for kind in ("uncovered", "trail", "dipole", "called bogus")
    }
    assert [row.index("stopped") for row in states.values()] == [0, 2, 4, 7]
    for row in states.values():
        at = row.index("stopped")
        assert row[:at] == ["passed"] * at
        assert set(row[at + 1 :]) <= {"not reached"}


def test_who_may_not_see_verdicts_is_told_nothing_of_them(misses: list[Miss]) -> None:
    miss, answer = first(misses, "called bogus")
    asked = Question(miss.ra, miss.dec, mjd=miss.frame.mid_mjd, days=0.1, sees_verdicts=False)
    (blind,) = explain_position(asked).frames
    assert answer.explanation.ending == "human"
    assert blind.explanation.ending == "found"
    assert "bogus" not in blind.explanation.sentence


def test_a_frame_is_chosen_by_time_and_another_is_said_to_be_another(misses: list[Miss]) -> None:
    frame = misses[0].frame
    everything = explain_position(Question(RA, DEC))
    here = explain_position(Question(RA, DEC, mjd=frame.mid_mjd, days=0.1))
    late = explain_position(Question(RA, DEC, mjd=99_000.0))
    elsewhere = explain_position(Question(RA + 40.0, DEC))
    assert len(everything.frames) > len(here.frames) == 1
    assert here.note == ""
    assert "within 1 d" in late.note
    assert len(late.frames) == 1
    assert elsewhere.note == "No stored frame reaches this place."
    assert [f.explanation.ending for f in elsewhere.frames] == ["not_covered"]
    assert "°" in elsewhere.frames[0].explanation.sentence


def test_pixels_that_are_gone_are_said_to_be_gone(misses: list[Miss]) -> None:
    miss = next(miss for miss in misses if miss.kind == "trail")
    run = DifferenceRun.objects.get(observation=miss.frame)
    lost = StoredFile.objects.create(
        sha256="0" * 64, size=5760, kind="difference", media_type="application/fits", name="lost"
    )
    DifferenceRun.objects.filter(pk=run.pk).update(file=lost)
    try:
        answer = miss.ask()
    finally:
        DifferenceRun.objects.filter(pk=run.pk).update(file=run.file_id)
    assert answer.explanation.ending == "not_searched"
    assert "gone" in answer.explanation.sentence


def test_rejected_candidates_without_a_record_are_said_to_have_none(misses: list[Miss]) -> None:
    miss, answer = first(misses, "dipole")
    rows = list(
        Detection.objects.filter(
            run=answer.place.detection.run_id if answer.place.detection else None,
            x__range=(miss.x - 9, miss.x + 9),
            y__range=(miss.y - 9, miss.y + 9),
        )
    )
    assert rows
    Detection.objects.filter(pk__in=[row.pk for row in rows]).delete()
    try:
        said = miss.ask().explanation
    finally:
        Detection.objects.bulk_create(rows)
    assert said.ending == "cut"
    assert "no cuts are kept" in said.sentence


def test_command_endpoint_and_page_give_one_answer(
    misses: list[Miss], client_of: Callable[[str], Client]
) -> None:
    miss, answer = first(misses, "saturated")
    sentence = answer.explanation.sentence
    place = {"ra": miss.ra, "dec": miss.dec, "mjd": miss.frame.mid_mjd, "days": 0.1}
    asked = [str(miss.ra), str(miss.dec), str(miss.frame.mid_mjd), "--days=0.1"]
    words, told = io.StringIO(), io.StringIO()
    call_command("explain_position", *asked, stdout=words)
    call_command("explain_position", *asked, "--json", stdout=told)
    client = client_of("viewer")
    endpoint = client.get("/api/v1/explain/", place).json()
    assert json.loads(told.getvalue()) == endpoint
    assert sentence in words.getvalue()
    (frame,) = endpoint["frames"]
    assert (frame["ending"], frame["sentence"]) == ("masked", sentence)
    assert frame["reading"]["planes"] == ["SATURATED"]
    assert sentence in client.get("/explain/", place).content.decode()


def test_sexagesimal_places_are_understood_and_bad_ones_end_in_one_line(misses: list[Miss]) -> None:
    out = io.StringIO()
    call_command("explain_position", "10:00:00", "+02:00:00", stdout=out)
    n_frames = len({miss.frame for miss in misses})
    assert out.getvalue().startswith(f"{n_frames} frames: ")
    for words in (("400", "0"), ("x", "0"), ("0", "91")):
        with pytest.raises(CommandError) as caught:
            call_command("explain_position", *words)
        assert caught.value.returncode == 2
    with pytest.raises(CommandError, match="no survey"):
        call_command("explain_position", "150", "2", survey="nowhere")


def test_a_request_that_makes_no_sense_is_refused_and_the_page_says_what_is_missing(
    misses: list[Miss], client_of: Callable[[str], Client]
) -> None:
    client = client_of("viewer")
    for bad in ({"ra": 150}, {"ra": 150, "dec": 91}, {"ra": 1, "dec": 2, "radius": 3}):
        assert client.get("/api/v1/explain/", bad).status_code == 400
    page = client.get("/explain/", {"ra": "150"}).content.decode()
    assert "A place needs both RA and Dec." in page
    assert "Every frame that reaches the place" in client.get("/explain/").content.decode()


def test_the_likeliest_cause_of_what_was_cut_is_what_was_planted(misses: list[Miss]) -> None:
    wanted = {
        "dipole": {"dipole"},
        "hot pixel": {"hot_pixel", "cosmic_ray"},
        "long": {"trail"},
    }
    told = [
        (miss.kind, next(iter(diagnosis.causes)))
        for miss in misses
        if miss.kind in wanted and (diagnosis := miss.ask().diagnosis) is not None
    ]
    assert len(told) == sum(miss.kind in wanted for miss in misses)
    wrong = [pair for pair in told if pair[1] not in wanted[pair[0]]]
    assert len(wrong) <= 0.1 * len(told), wrong


def test_a_dipole_that_was_cut_comes_with_its_two_lobes(misses: list[Miss]) -> None:
    _, answer = first(misses, "dipole")
    assert answer.diagnosis is not None
    fit = answer.diagnosis.dipole
    assert fit is not None
    # planted 1.2 FWHM of 3.2 pix apart
    assert fit.separation_pix == pytest.approx(3.84, abs=0.5)
    assert fit.positive == pytest.approx(fit.negative, rel=0.2)
    assert fit.likelihood_ratio > 100


def test_of_several_reasons_of_a_failed_frame_the_first_is_told() -> None:
    reason = "residuals are larger than expected (7.72, limit 5); dipoles. Look at the reference."
    stop = Stop("Register and subtract", "failed", reason)
    said = explain_place(FrameFacts(beyond_pix=0.0, stop=stop))
    first_one = "residuals are larger than expected (7.72, limit 5)"
    assert said.sentence == f"Not searched: “register and subtract” failed: {first_one}."
    assert said.steps[1].words == first_one
