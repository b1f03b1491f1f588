"""Total fluxes on a simulated survey, judged by its truth."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pytest
from django.core.management import call_command
from scipy.spatial import cKDTree

from astrid_site.core.jobs import NextJob, submit
from astrid_site.imaging.simulation import SkyConfig, write_survey
from astrid_site.imaging.sky_survey import Field, Night, draw_field, draw_night
from astrid_site.pipeline import MEASURE, PIPELINE_VERSION
from catalog.algorithms.forced_fluxes import measure_places
from catalog.models import AstroObject, LightCurvePoint
from catalog.selectors import cone_search, light_curve
from differencing.models import DifferenceRun
from observations.models import Observation
from preprocessing.services import load_image
from tests.catalog.factories import make_object
from tests.pipeline.drive import drain

CONFIG = SkyConfig(
    seed=8,
    n_fields=1,
    n_epochs=4,
    shape=(448, 448),
    supernovae_per_field=12,
    variables_per_field=10,
    asteroids_per_field=1,
    peak_snr_range=(20.0, 80.0),
)
#: Neighbours nearer than this share light with a star [pix].
ALONE_PIX = 14.0
#: The PSF of a frame is known to about this, and so is every bright star's flux: those above
#: 15,000 adu scatter by 1.3 % where their errors alone give 0.8 %.
PSF_ERROR = 0.01


@dataclass(frozen=True)
class Survey:
    """A processed survey, and what was really in the sky."""

    field: Field
    nights: list[Night]
    frames: list[Observation]
    stars: dict[AstroObject, float]


@pytest.fixture(scope="module")
def survey(module_database: None, tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """Two epochs of the reference and two subtracted ones; constant stars are objects as well."""
    folder = tmp_path_factory.mktemp("totals")
    write_survey(CONFIG, folder)
    call_command("ingest", str(folder), "--survey", "Totals", verbosity=0)
    drain()
    frames = list(Observation.objects.order_by("observed_at"))
    nights = [draw_night(CONFIG, field_index=0, epoch=epoch) for epoch in range(4)]
    field = draw_field(CONFIG, 0)
    stars = name_stars(field, nights[-1], frames[-1])
    for frame in frames:
        submit(NextJob(MEASURE, frame.pk, PIPELINE_VERSION), revive=True)
    drain()
    return Survey(field, nights, frames, stars)


def name_stars(field: Field, night: Night, frame: Observation) -> dict[AstroObject, float]:
    """Objects at the constant stars that nothing else touches, and their magnitudes."""
    sky = field.sky
    x, y = night.where.to_pixel(sky.star_xi, sky.star_eta)
    others = [(sky.galaxy_xi, sky.galaxy_eta)]
    others += [
        (np.array([one.xi]), np.array([one.eta])) for one in (*field.supernovae, *field.variables)
    ]
    xi, eta = (np.concatenate([other[i] for other in others]) for i in (0, 1))
    around = np.column_stack(night.where.to_pixel(xi, eta))
    places = np.column_stack([x, y])
    apart = cKDTree(places).query(places, k=2)[0][:, 1]
    apart = np.minimum(apart, cKDTree(around).query(places)[0])
    inside = ((places > 40) & (places < np.array(CONFIG.shape) - 40)).all(axis=1)
    flux = 10 ** (-0.4 * (sky.star_mag - night.zero_point))
    # neither lost in the noise nor saturated
    fit = (apart > ALONE_PIX) & inside & (flux > 1500) & (flux < 60000)
    run = DifferenceRun.objects.get(observation=frame)
    assert run.file is not None
    # where a detection on that frame would lie
    ra, dec = load_image(run.file).wcs.all_pix2world(x[fit], y[fit], 0)
    return {
        make_object(float(a), float(d), is_simulated=True): float(mag)
        for a, d, mag in zip(ra, dec, sky.star_mag[fit], strict=True)
    }


pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("survey"), pytest.mark.slow]


def totals(owner: AstroObject) -> list[LightCurvePoint]:
    return light_curve(owner, kind="total")


def test_the_total_flux_of_a_constant_star_is_its_true_flux_on_every_frame(survey: Survey) -> None:
    pulls, ratios = [], defaultdict(list)
    for owner, magnitude in survey.stars.items():
        points = totals(owner)
        assert len(points) == 4
        for point, night in zip(points, survey.nights, strict=True):
            true = 10 ** (-0.4 * (magnitude - night.zero_point))
            if point.flux is None:
                assert "MASKED" in point.flags
                continue
            error = np.hypot(point.flux_error, PSF_ERROR * true)
            pulls.append((point.flux - true) / error)
            ratios[night.mjd].append(point.flux / true)
    assert len(pulls) > 60
    width = (np.percentile(pulls, 84.13) - np.percentile(pulls, 15.87)) / 2
    # 16 % is three standard errors of the width of so few
    assert width == pytest.approx(1.0, abs=max(0.2, 3 / np.sqrt(2 * len(pulls))))
    for one in ratios.values():
        assert np.median(one) == pytest.approx(1.0, abs=0.02)


def test_what_varies_without_a_host_gains_in_total_what_its_difference_says(
    survey: Survey,
) -> None:
    # in a host the PSF takes in more of the galaxy the worse the seeing
    bare = [nova for nova in survey.field.supernovae if nova.host == -1]
    pulls = []
    for one in (*bare, *survey.field.variables):
        for curve in map(light_curve, near(survey, one.xi, one.eta)):
            pulls += gains(curve)
    assert len(pulls) >= 6
    assert np.abs(pulls).max() < 4.0, np.round(pulls, 1)
    assert abs(np.mean(pulls)) < 3.0 / np.sqrt(len(pulls))


def near(survey: Survey, xi: float, eta: float) -> list[AstroObject]:
    """The object the pipeline made at a place, if it made one."""
    run = DifferenceRun.objects.get(observation=survey.frames[-1])
    x, y = survey.nights[-1].where.to_pixel(np.array([xi]), np.array([eta]))
    ra, dec = load_image(run.file).wcs.all_pix2world(x, y, 0)
    return cone_search(float(ra[0]), float(dec[0]), 1.5)


def gains(curve: list[LightCurvePoint]) -> list[float]:
    """Pulls of total minus reference total against the difference, one for each difference.

    The reference's total is measured on the template, which is the reference on the frame's grid
    and flux scale: of a star that varied between its epochs the coadd may hold the fainter alone.
    """
    total = {p.observation_id: p for p in curve if p.kind == "total" and p.flux is not None}
    pulls = []
    for point in curve:
        same = total.get(point.observation_id)
        if point.kind != "difference" or point.flux is None or same is None:
            continue
        template = load_image(point.difference_run.template_file)
        before = measure_places(template, [(same.ra, same.dec)], wcs=template.wcs, noise_scale=1.0)
        if not np.isfinite(before.flux).all():
            continue
        # each flux hangs on its own frame's PSF
        known = PSF_ERROR * np.hypot(same.flux, before.flux[0])
        gain = same.flux - before.flux[0] - point.flux
        pulls.append(gain / np.linalg.norm([before.flux_error[0], same.flux_error, known]))
    return pulls


def test_every_object_has_a_total_at_each_epoch_and_the_reference_is_flagged() -> None:
    for owner in AstroObject.objects.filter(n_detections__gt=0):
        curve = light_curve(owner)
        kinds = defaultdict(list)
        for point in curve:
            kinds[point.observation_id].append((point.kind, "REFERENCE" in point.flags))
        for key, found in kinds.items():
            is_epoch = not DifferenceRun.objects.filter(observation=key).exists()
            assert sorted(found) == [("difference", is_epoch), ("total", False)]
        assert all(point.flux is None for point in curve if "REFERENCE" in point.flags)
        # at the border some epochs do not hold the object
        assert len(kinds) == 4 or min_margin(owner) < 30


def min_margin(owner: AstroObject) -> float:
    """Least distance of an object from the edge of any frame [pix]."""
    margins = []
    for run in DifferenceRun.objects.all():
        x, y = load_image(run.file).wcs.all_world2pix(owner.ra, owner.dec, 0)
        ny, nx = CONFIG.shape
        margins.append(min(x, y, nx - 1 - x, ny - 1 - y))
    return float(min(margins))


def test_epochs_of_the_reference_are_tied_to_it_by_their_stars(survey: Survey) -> None:
    rows = LightCurvePoint.objects.filter(observation__in=survey.frames[:2], kind="total")
    assert rows.exists()
    assert not [row for row in rows if "OWN_WCS" in row.flags]
