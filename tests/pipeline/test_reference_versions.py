"""References of a simulated field, built by the real pipeline, and their pages."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from astropy.table import Table
from django.core.management import call_command
from django.test import Client

from astrid_site.imaging.masks import MaskPlane, is_bad
from astrid_site.imaging.simulation import SkyConfig, write_survey
from differencing.models import DifferenceRun, ReferenceEpoch, ReferenceImage, ReferenceRun
from observations.models import Survey
from observations.services import get_or_create_survey
from preprocessing.services import load_image
from tests.api.fixtures import browser_as, people
from tests.pipeline.drive import drain

__all__ = ["browser_as", "people"]

EPOCHS = 7
CONFIG = SkyConfig(
    seed=7,
    n_fields=1,
    n_epochs=EPOCHS,
    n_template_epochs=2,
    shape=(192, 192),
    # small frames need many stars for their PSF
    star_density_per_mpix=2500.0,
    supernovae_per_field=3,
    variables_per_field=0,
    asteroids_per_field=0,
    peak_snr_range=(150.0, 300.0),
)

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture(scope="module")
def truth(module_database: None, tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Nine epochs of one field, worked off with a reference made anew after three."""
    folder = tmp_path_factory.mktemp("survey")
    table = Table.read(write_survey(CONFIG, folder), format="ascii.ecsv")
    get_or_create_survey("Rebuilt", is_simulated=True)
    Survey.objects.update(
        reference_min_epochs=2,
        reference_rebuild_every=3,
        reference_rebuild_percent=1.0,
        # frames so small overlap little when they are dithered
        min_overlap=0.6,
    )
    call_command("ingest", str(folder), "--survey", "Rebuilt", verbosity=0)
    drain()
    return table


def versions() -> list[ReferenceImage]:
    return list(ReferenceImage.objects.order_by("version"))


def test_versions_follow_each_other_and_all_are_kept(truth: Table) -> None:
    found = versions()
    assert [row.version for row in found] == list(range(1, len(found) + 1))
    assert len(found) >= 2
    assert [row.former for row in found] == [None, *found[:-1]]
    assert all(row.reason for row in found)


def test_every_difference_names_its_reference_and_no_later_epoch_is_in_it(truth: Table) -> None:
    runs = DifferenceRun.objects.filter(status="succeeded").select_related("observation")
    used = {run.reference_id for run in runs}
    assert used == {row.pk for row in versions()}
    for run in runs:
        epochs = ReferenceEpoch.objects.filter(reference=run.reference_id)
        assert epochs.exists()
        for epoch in epochs.select_related("science_image__observation"):
            ended = epoch.science_image.observation.ended_at
            assert ended is not None
            assert run.observation.observed_at is not None
            assert ended <= run.observation.observed_at


def test_more_epochs_make_a_deeper_reference_with_a_coverage_map(truth: Table) -> None:
    noise = []
    for row in versions():
        image = load_image(row.file)
        assert image.variance is not None
        good = ~is_bad(image.mask) & (image.variance > 0)
        assert image.zero_point is not None
        scale = 10 ** (-0.4 * image.zero_point)
        noise.append(scale * float(np.sqrt(np.median(image.variance[good]))))
        assert row.coverage_file is not None
        coverage = load_image(row.coverage_file).data
        assert np.median(coverage) == row.metrics["n_epochs"]
        assert (image.mask[coverage == 0] & np.uint16(MaskPlane.NO_DATA)).all()
    assert all(np.diff(noise) < 0)


def test_supernovae_of_the_later_epochs_are_not_in_the_reference(truth: Table) -> None:
    last = versions()[-1]
    image = load_image(last.file)
    first = load_image(versions()[0].file)
    assert image.wcs is not None
    assert first.wcs is not None
    names = {
        epoch.science_image.observation.raw_file.name
        for epoch in ReferenceEpoch.objects.filter(reference=last).select_related(
            "science_image__observation__raw_file"
        )
    }
    shone = truth[(truth["kind"] == "supernova") & np.isin(truth["file"], sorted(names))]
    assert image.zero_point is not None
    assert first.zero_point is not None
    assert image.variance is not None
    scale = 10 ** (-0.4 * (first.zero_point - image.zero_point))
    noise = float(np.sqrt(np.median(image.variance)))
    n_bright = 0
    for name in np.unique(shone["object_id"]):
        rows = shone[shone["object_id"] == name]
        # on the scale of the stack, were all its epochs averaged
        mean = scale * float((rows["flux_adu"] - rows["reference_flux_adu"]).sum()) / len(names)
        # 7 x 7 pixels of the stack and of the two epochs of the first version
        error = 7 * np.hypot(noise, scale * float(np.sqrt(np.median(first.variance))))
        if mean < 5 * error:
            continue
        n_bright += 1
        before = scale * box_sum(first, rows[0])
        left = box_sum(image, rows[0]) - before
        # the grids and the seeing of the two differ, which a box shows by a sixth of a host
        assert abs(left) < 0.1 * mean + 3 * error + abs(before) / 6
    assert n_bright >= 1


def box_sum(image: object, row: object) -> float:
    """Light in 7 x 7 pixels around a place on the sky."""
    x, y = (round(float(v)) for v in image.wcs.all_world2pix(row["ra"], row["dec"], 0))  # type: ignore[attr-defined,index]
    return float(image.data[y - 3 : y + 4, x - 3 : x + 4].sum())  # type: ignore[attr-defined]


def test_runs_say_which_version_they_took_and_why(truth: Table) -> None:
    runs = ReferenceRun.objects.filter(status="succeeded")
    assert {run.metrics["version"] for run in runs} == {row.version for row in versions()}
    assert all(run.parameters["reference_rebuild_every"] == 3 for run in runs)
    assert all("version" in run.log for run in runs)


def test_the_page_of_a_reference_shows_versions_epochs_and_coverage(
    truth: Table, browser_as: Callable[[str], Client]
) -> None:
    client = browser_as("viewer")
    last = versions()[-1]
    answer = client.get(f"/references/{last.pk}/")
    shown = answer.content.decode()
    assert answer.status_code == 200
    for row in versions():
        assert row.reason in shown
    for epoch in ReferenceEpoch.objects.filter(reference=last).select_related(
        "science_image__observation"
    ):
        assert epoch.science_image.observation.observation_id in shown
    for name in ("image", "coverage"):
        picture = client.get(f"/references/{last.pk}/{name}.png")
        assert picture.content.startswith(b"\x89PNG")
    assert client.get(f"/references/{last.pk}/other.png").status_code == 404
    assert Client().get(f"/references/{last.pk}/").status_code == 302


def test_the_page_of_a_frame_leads_to_its_reference(
    truth: Table, browser_as: Callable[[str], Client]
) -> None:
    run = DifferenceRun.objects.filter(status="succeeded").first()
    assert run is not None
    shown = browser_as("viewer").get(f"/observations/{run.observation_id}/").content.decode()
    assert f"/references/{run.reference_id}/" in shown
