"""The pages and endpoints of data sets and trainings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from astrid_site.core.models import Job
from astrid_site.core.status import JobState
from detection.models import DataSet, TrainingRun
from detection.services.training import TRAIN
from tests.detection.factories import COUNTS, make_dataset, make_training

pytestmark = pytest.mark.django_db


def page(client: Client, name: str, *args: Any, **headers: str) -> str:
    response = client.get(reverse(name, args=args), headers=headers)
    assert response.status_code == 200
    return response.content.decode()


def post(client: Client, address: str, /, *args: Any, **data: Any) -> str:
    return client.post(reverse(address, args=args), data, follow=True).content.decode()


def job_for(run: TrainingRun, **fields: Any) -> Job:
    return Job.objects.create(kind=TRAIN, subject_id=run.pk, config_version="1", **fields)


def test_an_empty_list_says_what_to_do(client_of: Callable[[str], Client]) -> None:
    shown = page(client_of("curator"), "datasets:list")
    assert "No data set yet." in shown
    assert "20 of each are needed" in shown


def test_a_curator_asks_for_a_version_and_may_cancel_it(
    client_of: Callable[[str], Client],
) -> None:
    client = client_of("curator")
    assert "A worker builds it" in post(client, "datasets:build", name="mine", skies="3")
    dataset = DataSet.objects.get()
    assert dataset.parameters == {"verdicts": True, "skies": 3}
    assert Job.objects.get(subject_id=dataset.pk).kind == "build_dataset"
    assert "built already" in post(client, "datasets:build", name="mine", skies="3")
    assert "whole number" in post(client, "datasets:build", name="b", skies="-1")
    assert "letters, digits" in post(client, "datasets:build", name="<b>", skies="1")
    part = page(client, "datasets:list", **{"HX-Target": "datasets"})
    assert "waits for a worker" in part
    assert "<html" not in part
    assert "Cancelled" in post(client, "datasets:cancel", dataset.pk)
    assert Job.objects.get(subject_id=dataset.pk).state == JobState.CANCELLED
    assert "Not cancelled" in post(client, "datasets:cancel", dataset.pk)


def test_a_version_shows_what_is_in_it_what_was_left_out_and_what_changed(
    client_of: Callable[[str], Client],
) -> None:
    first = make_dataset(version=1)
    nothing = {"n": 0, "keys": []}
    changes = dict.fromkeys(("removed", "relabelled", "other_pixels", "other_side"), nothing)
    row = {"key": f"verdict:{first.pk}", "source": "verdict", "survey": "s", "kind": "dipole"}
    row |= {"is_real": False, "split": "test", "labelled_by": "curator", "snr": 7.0}
    dataset = make_dataset(
        version=2,
        counts=COUNTS | {"shown": [row]},
        changes=changes | {"version": 1, "id": str(first.pk), "added": {"n": 1, "keys": ["k9"]}},
    )
    shown = page(client_of("viewer"), "datasets:detail", dataset.pk)
    for words in (dataset.digest, "science: near-black share", "people are unsure", "k9"):
        assert words in shown
    assert reverse("datasets:detail", args=[first.pk]) in shown
    assert 'aria-label="bogus, dipole: science, reference, difference"' in shown
    assert "Train the network on" not in shown
    picture = client_of("viewer").get(reverse("datasets:mosaic", args=[dataset.pk]))
    assert picture["Content-Type"] == "image/png"


def test_too_few_labels_are_told_before_anybody_presses_a_button(
    client_of: Callable[[str], Client],
) -> None:
    counts = COUNTS | {"n_real": 7}
    dataset = make_dataset(counts=counts)
    client = client_of("researcher")
    assert "7 labels say real; 20 are needed" in page(client, "datasets:detail", dataset.pk)
    assert "Not trained" in post(client, "datasets:train", dataset.pk)
    assert not TrainingRun.objects.exists()


def test_a_training_is_shown_as_it_grows_cancelled_and_gone_on_with(
    client_of: Callable[[str], Client],
) -> None:
    client = client_of("researcher")
    shown = post(client, "datasets:train", make_dataset().pk)
    run = TrainingRun.objects.get()
    assert "The curves begin with the first epoch." in shown
    assert run.start.family == "network"
    run.history = make_training().history
    run.save()
    part = page(client, "datasets:training", run.pk, **{"HX-Target": "training"})
    assert "member 1, epoch 2: 0.9500" in part
    assert part.count("<svg") == 2
    assert "Cancelled" in post(client, "datasets:stop_training", run.pk)
    assert "Go on from the last epoch" in page(client, "datasets:training", run.pk)
    post(client, "datasets:go_on", run.pk)
    assert Job.objects.get(subject_id=run.pk).state == JobState.QUEUED
    assert "Not begun" in post(client, "datasets:go_on", run.pk)


def test_what_failed_is_told_with_its_cause(client_of: Callable[[str], Client]) -> None:
    run = make_training()
    job_for(run, state=JobState.SKIPPED, cause="no epoch was better")
    shown = page(client_of("viewer"), "datasets:training", run.pk)
    assert "Nothing was registered: no epoch was better." in shown
    assert "Go on" not in shown


def test_the_endpoints_tell_the_same(client_of: Callable[[str], Client]) -> None:
    client, dataset = client_of("researcher"), make_dataset()
    listed = client.get(reverse("api:dataset-list"), {"name": "verdicts"}).json()["results"]
    assert [row["digest"] for row in listed] == [dataset.digest]
    assert listed[0]["lacks"] == []
    manifest = client.get(reverse("api:dataset-manifest", args=[dataset.pk])).json()
    assert manifest["sha256"] == dataset.digest
    asked = {"epochs": 3, "role": "shadow"}
    address = reverse("api:dataset-train", args=[dataset.pk])
    made = client.post(address, asked, content_type="application/json")
    assert made.status_code == 202
    assert made.json()["parameters"] == {"epochs": 3, "role": "shadow", "seed": 1}
    told = client.get(reverse("api:training-detail", args=[made.json()["id"]])).json()
    assert told["job"] == str(Job.objects.get(kind=TRAIN).pk)
    built = client.post(reverse("api:dataset-list"), {}, content_type="application/json")
    assert built.json()["parameters"] == {"verdicts": True, "skies": 40}
