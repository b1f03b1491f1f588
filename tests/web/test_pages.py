"""What the pages say, without a browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient, Client
from django.urls import reverse

from astrid_site.core import events, streams
from astrid_site.core.models import FileKind, StoredFile
from astrid_site.core.storage import put_bytes
from observations.models import Observation, Survey
from tests.web import factories
from tests.web.factories import World


def test_the_first_page_of_an_empty_site_tells_how_to_begin(
    client_of: Callable[[str], Client],
) -> None:
    text = client_of("researcher").get("/").content.decode()
    assert "How to begin" in text
    assert "Simulated sky" not in text


def test_the_funnel_counts_what_is_in_the_database(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    factories.make_work(sky.survey)
    text = client_of("viewer").get(reverse("tonight", args=["funnel"])).content.decode()
    counts = re.findall(r'class="name">(\w+)<.*?<strong>(\d+)</strong>', text, re.S)
    assert counts == [
        ("Frames", "5"),
        ("Calibrated", "1"),
        ("Subtracted", "1"),
        ("Candidates", "2"),
        ("Kept", "2"),
        ("Objects", "2"),
        ("Confirmed", "0"),
    ]


def test_what_runs_what_failed_and_who_is_alive_is_shown(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    factories.make_work(sky.survey)
    text = client_of("researcher").get("/").content.decode()
    assert "fitting the kernel, 3 of 9 tiles" in text
    assert "too few stars for a PSF: n_stars=3, n_required=5" in text
    assert re.search(r"alive</span>\s*<span>worker", text)
    assert re.search(r"silent</span>\s*<span>sweeper", text)
    assert "Retry" in text
    assert "Retry" not in client_of("viewer").get("/").content.decode()


@pytest.mark.parametrize("page", ["home", "observations:list", "curation:vet", "catalog:list"])
def test_every_page_says_that_the_sky_is_simulated_while_such_data_is_there(
    sky: World, client_of: Callable[[str], Client], page: str
) -> None:
    assert b"Simulated sky:" in client_of("curator").get(reverse(page)).content


def test_no_page_claims_simulation_for_a_real_survey(client_of: Callable[[str], Client]) -> None:
    world = World(factories.make_survey("Real survey", is_simulated=False))
    factories.make_observation(world.survey, 1)
    factories.make_survey("Simulated, and empty")
    assert b"Simulated sky:" not in client_of("viewer").get("/").content


def test_pages_hold_no_inline_script_style_or_foreign_address(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    client = client_of("admin")
    for name, arguments in [
        ("home", []),
        ("observations:list", []),
        ("observations:upload", []),
        ("observations:detail", [sky.observations[0].pk]),
        ("curation:vet", []),
        ("catalog:list", []),
        ("catalog:detail", [sky.objects[0].pk]),
        ("accounts:keys", []),
    ]:
        answer = client.get(reverse(name, args=arguments))
        text = answer.content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), name
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text), name
        assert not re.search(r'(?:src|href)="(?:https?:)?//', text), name
        policy = answer["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy


def test_observations_are_filtered_and_paged_without_loss(
    client_of: Callable[[str], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("observations.pages.PAGE_SIZE", 3)
    survey = factories.make_survey()
    for number in range(7):
        factories.make_observation(survey, number, band="r" if number % 2 else "g")
    client, address, seen = client_of("viewer"), reverse("observations:list"), []
    while address:
        text = client.get(address).content.decode()
        seen += re.findall(r'href="/observations/([0-9a-f-]{36})/"', text)
        older = re.search(r'href="(\?[^"]*cursor=[^"]+)"', text)
        address = reverse("observations:list") + older[1].replace("&amp;", "&") if older else ""
    assert len(seen) == len(set(seen)) == 7
    only_g = client.get(reverse("observations:list"), {"band": "g", "q": "field"})
    assert {row.band for row in only_g.context["table"].rows} == {"g"}


def test_a_cursor_that_is_none_of_ours_gives_the_first_page(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    for cursor in ("x", "bnVsbA==", "WzEsMl0=", "\x00", "é"):
        answer = client_of("viewer").get(reverse("observations:list"), {"cursor": cursor})
        assert len(answer.context["table"].rows) == 1


def test_an_observation_page_shows_stages_images_candidates_and_header(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    observation = sky.observations[0]
    Observation.objects.filter(pk=observation.pk).update(
        overrides={"gain": 1.5}, defects=["EXPTIME is text"]
    )
    text = client_of("viewer").get(reverse("observations:detail", args=[observation.pk]))
    page = text.content.decode()
    for words in ("Calibrate the frame", "2.4 s", "sky noise", "from the sidecar table"):
        assert words in page
    assert "EXPTIME is text" in page
    assert page.count('<figure class="preview"') == 4
    assert sky.objects[0].name in page


@pytest.mark.parametrize("stretch", ["zscale", "asinh", "percentile", "linear"])
def test_images_are_drawn_at_every_stretch(
    sky: World, client_of: Callable[[str], Client], stretch: str
) -> None:
    client = client_of("viewer")
    for address in (
        reverse("observations:image", args=[sky.observations[0].pk, "difference"]),
        reverse("detection:cutout", args=[sky.detections[0].pk, "science"]),
        reverse("catalog:finder", args=[sky.objects[0].pk]),
    ):
        answer = client.get(address, {"stretch": stretch})
        assert answer.content[:8] == b"\x89PNG\r\n\x1a\n"


def test_an_unchanged_image_is_not_sent_twice(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    client = client_of("viewer")
    address = reverse("observations:image", args=[sky.observations[0].pk, "science"])
    tag = client.get(address)["ETag"]
    assert client.get(address, headers={"If-None-Match": tag}).status_code == 304
    other = client.get(address, {"stretch": "asinh"}, headers={"If-None-Match": tag})
    assert other.status_code == 200


def test_unknown_panels_and_stretches_of_a_candidate_are_not_found(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    client, key = client_of("viewer"), sky.detections[0].pk
    assert client.get(reverse("detection:cutout", args=[key, "moon"])).status_code == 404
    strange = client.get(reverse("detection:cutout", args=[key, "strip"]), {"stretch": "log"})
    assert strange.status_code == 404


@pytest.mark.parametrize(
    ("ra", "dec", "radius", "n_found"),
    [
        ("{ra:.6f}", "{dec:.6f}", "5", 1),
        ("{ra:.6f}", "{dec:.6f}", "600", 2),
        ("{hms}", "{dms}", "5", 1),
        ("0", "-89", "60", 0),
    ],
)
def test_the_cone_search_takes_degrees_and_sexagesimal(
    sky: World, client_of: Callable[[str], Client], ra: str, dec: str, radius: str, n_found: int
) -> None:
    from astrid_site.core.templatetags.astro import dec_dms, ra_hms

    one = sky.objects[0]
    words = {"ra": one.ra, "dec": one.dec, "hms": ra_hms(one.ra), "dms": dec_dms(one.dec)}
    query = {"ra": ra.format(**words), "dec": dec.format(**words), "radius": radius}
    answer = client_of("viewer").get(reverse("catalog:list"), query)
    rows = answer.context["table"].rows
    assert len(rows) == n_found
    if n_found:
        assert rows[0].pk == one.pk


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"ra": "ten", "dec": "2"}, "neither degrees"),
        ({"ra": "10:61:00", "dec": "2"}, "below 60"),
        ({"ra": "400", "dec": "2"}, "between 0 and 360"),
        ({"ra": "10"}, "needs both RA and Dec"),
        ({"ra": "10", "dec": "2", "radius": "nan"}, "Radius"),
    ],
)
def test_a_position_that_cannot_be_read_is_explained(
    client_of: Callable[[str], Client], query: dict[str, str], words: str
) -> None:
    answer = client_of("viewer").get(reverse("catalog:list"), query)
    assert words in answer.content.decode()


def test_an_object_page_shows_its_light_curve_every_epoch_and_both_notations(
    client_of: Callable[[str], Client],
) -> None:
    world = World(factories.make_survey())
    for number in (0, 3, 6):
        flux = 4000.0 if number else 6000.0
        factories.make_epoch(
            world, number, sources=[] if number == 3 else [(60.0, 70.0, flux)], turn_deg=0
        )
    owner = world.objects[0]
    client = client_of("curator")
    text = client.get(reverse("catalog:detail", args=[owner.pk])).content.decode()
    assert text.count("fainter than") >= 1
    assert text.count("data-mark") == 4 * 3  # two quantities, two widths, three epochs
    assert f"{owner.ra:.6f}" in text
    epochs = re.findall(r'data-strip="(/objects/[^"]+/epochs/[^"]+)"', text)
    assert len(set(epochs)) == 1
    assert client.get(epochs[0])["Content-Type"] == "image/png"


def test_uploads_are_answered_file_by_file_also_without_scripts(
    client_of: Callable[[str], Client], tmp_path
) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    broken = SimpleUploadedFile("notes.fits", b"this is no FITS file")
    answer = client_of("researcher").post(
        reverse("observations:upload"), {"survey": "New survey", "frames": [broken]}
    )
    assert answer.status_code == 200
    (result,) = answer.context["results"]
    assert (result["outcome"], result["file_name"]) == ("refused", "notes.fits")
    assert result["code"]
    assert result["reason"] in answer.content.decode().replace("&#x27;", "'")
    assert not Observation.objects.exists()
    assert Survey.objects.filter(name="New survey").exists()


def test_a_good_upload_becomes_an_observation_with_work_to_do_once(
    client_of: Callable[[str], Client], tmp_path
) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    from astrid_site.core.models import Job
    from astrid_site.imaging.simulation import write_survey
    from astrid_site.imaging.sky_survey import SkyConfig

    folder = tmp_path / "sky"
    config = SkyConfig(n_fields=1, n_epochs=3, shape=(128, 128))
    write_survey(config, folder)
    data = sorted(folder.glob("*.fits"))[0].read_bytes()
    client, address = client_of("researcher"), reverse("observations:upload")
    outcomes = []
    for _ in range(2):
        upload = SimpleUploadedFile("night.fits", data)
        answer = client.post(
            address,
            {"survey": "Mine", "frames": [upload]},
            headers={"Accept": "application/json"},
        )
        outcomes.append(answer.json()["results"][0]["outcome"])
    assert outcomes == ["created", "duplicate"]
    observation = Observation.objects.get()
    assert list(Job.objects.values_list("kind", "subject_id")) == [("preprocess", observation.pk)]


def test_a_login_goes_on_only_to_addresses_of_this_site(db: None) -> None:
    factories.make_user("vera")
    for target, goal in (("/objects/", "/objects/"), ("https://evil.example/", "/")):
        answer = Client().post(
            reverse("accounts:login"),
            {"username": "vera", "password": factories.PASSWORD, "next": target},
        )
        assert (answer.status_code, answer["Location"]) == (302, goal)


def test_a_changed_password_ends_the_other_sessions(db: None) -> None:
    user = factories.make_user("vera")
    here, there = Client(), Client()
    here.force_login(user)
    there.force_login(user)
    fresh = "a new and longer password"
    told = {"old_password": factories.PASSWORD, "new_password1": fresh, "new_password2": fresh}
    assert here.post(reverse("accounts:password"), told).status_code == 302
    assert here.get("/").status_code == 200
    assert there.get("/").status_code == 302


def test_a_key_is_shown_once_and_can_be_revoked(client_of: Callable[[str], Client]) -> None:
    client, address = client_of("researcher"), reverse("accounts:keys")
    text = client.post(address, {"name": "script", "days": "30"}).content.decode()
    secret = re.search(r"<pre data-secret>([^<]+)</pre>", text)[1]
    assert secret not in client.get(address).content.decode()
    jobs = "/api/v1/observations/"
    as_script = Client(headers={"Authorization": f"Key {secret}"})
    before = as_script.get(jobs).status_code
    revoke = re.search(r'action="(/account/keys/[^"]+)"', text)[1]
    client.post(revoke)
    if before != 404:  # the REST part may be switched off
        assert (before, as_script.get(jobs).status_code) == (200, 401)
    assert "revoked" in client.get(address).content.decode()


def test_nobody_revokes_a_key_of_somebody_else(client_of: Callable[[str], Client]) -> None:
    text = (
        client_of("researcher")
        .post(reverse("accounts:keys"), {"name": "mine", "days": "0"})
        .content.decode()
    )
    revoke = re.search(r'action="(/account/keys/[^"]+)"', text)[1]
    assert client_of("admin").post(revoke).status_code == 404


# --- asynchronous views need a database whose rows other threads see


@pytest.mark.django_db(transaction=True)
def test_a_file_is_sent_as_an_attachment_that_no_browser_interprets() -> None:
    user = factories.make_user("vera", "viewer")
    body = b"<script>alert(1)</script>" * 100_000
    stored = put_bytes(body, kind=FileKind.RAW, name="evil\r\n.html", media_type="text/html")
    client = AsyncClient()
    client.force_login(user)

    async def fetch() -> tuple[dict[str, str], bytes]:
        answer = await client.get(reverse("previews", args=[stored.pk]))
        return dict(answer.items()), b"".join([piece async for piece in answer.streaming_content])

    headers, received = asyncio.run(fetch())
    assert received == body
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"].startswith("attachment")
    assert "\n" not in headers["Content-Disposition"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Length"] == str(len(body))


@pytest.mark.django_db(transaction=True)
def test_the_stream_replays_what_was_missed_and_ends_when_the_user_loses_access(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "POLL_S", 0.01)
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.05)
    user = factories.make_user("vera", "viewer")
    for number in range(3):
        events.publish("job.progress", payload={"number": number})
    events.assign_sequences()
    first = events.latest_sequence() - 2
    client = AsyncClient()
    client.force_login(user)

    async def follow() -> str:
        answer = await client.get("/events/", headers={"Last-Event-ID": str(first)})
        assert answer["X-Accel-Buffering"] == "no"
        assert answer["Content-Type"] == "text/event-stream"
        text = ""
        async for piece in answer.streaming_content:
            text += piece.decode()
            if ": still here" in text and user.is_active:
                user.is_active = False
                await sync_to_async(user.save)()
        return text

    text = asyncio.run(asyncio.wait_for(follow(), timeout=20))
    assert text.startswith("retry: 3000\n\n")
    assert re.findall(r"id: (\d+)", text) == [str(first + 1), str(first + 2)]
    assert '"number": 1' in text


@pytest.mark.django_db(transaction=True)
def test_the_stream_is_refused_to_strangers() -> None:
    async def ask() -> int:
        return (await AsyncClient().get("/events/")).status_code

    assert asyncio.run(ask()) == 403


def test_stored_files_are_listed_nowhere(sky: World, client_of: Callable[[str], Client]) -> None:
    assert StoredFile.objects.count() > 0
    assert client_of("admin").get("/files/").status_code == 404


def test_objects_without_a_date_are_paged_last_and_none_is_lost(
    client_of: Callable[[str], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    from catalog.models import AstroObject

    for number in range(7):
        AstroObject.objects.create(
            name=f"AstrID J{number}",
            ra=10.0 + number,
            dec=0.0,
            healpix14=number,
            last_detected_at=factories.START if number % 2 else None,
        )
    client, seen, cursor = client_of("viewer"), [], ""
    monkeypatch.setattr(
        "astrid_site.core.keyset.keyset_page.__kwdefaults__", {"cursor": "", "size": 3}
    )
    for _ in range(3):
        table = client.get(reverse("catalog:list"), {"cursor": cursor}).context["table"]
        seen += [(row.last_detected_at is None, row.name) for row in table.rows]
        cursor = table.after
    assert len(set(seen)) == 7
    assert [is_undated for is_undated, _ in seen] == [False] * 3 + [True] * 4
    assert cursor == ""


def test_a_faded_source_is_charted_in_flux_and_a_risen_one_in_magnitudes(db: None) -> None:
    from catalog import pages as catalog_pages

    world = World(factories.make_survey())
    factories.make_epoch(world, 0, sources=[(60.0, 70.0, 4000.0)], turn_deg=0)
    owner = world.objects[0]
    risen = catalog_pages.light_curve(owner)
    assert risen.telling is risen.magnitude
    point = catalog_pages.selectors.light_curve(owner)[0]
    point.flux, point.magnitude, point.magnitude_error = -4000.0, None, None
    point.save()
    faded = catalog_pages.light_curve(owner)
    assert faded.telling is faded.flux


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"label": "splendid"}, 422),
        ({"label": "withdrawn"}, 422),
        ({"label": "real", "seconds": "-1"}, 422),
        ({"label": "real", "seconds": "nan"}, 422),
        ({"label": "bogus", "reason": "because"}, 422),
        ({"label": "real", "detection": "7"}, 422),
        ({"label": "real", "detection": "00000000-0000-0000-0000-000000000000"}, 404),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused_with_a_reason_and_not_stored(
    sky: World, client_of: Callable[[str], Client], told: dict[str, str], status: int
) -> None:
    from curation.models import Verdict

    answer = client_of("curator").post(
        reverse("curation:decide"),
        {"detection": str(sky.detections[0].pk)} | told,
        headers={"Accept": "application/json"},
    )
    assert answer.status_code == status
    assert answer.json()["error"]
    assert not Verdict.objects.exists()


def test_one_curators_decisions_leave_the_queue_of_another_as_it_is(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    decided = str(sky.detections[0].pk)
    curator, other = client_of("curator"), client_of("researcher")
    curator.post(reverse("curation:decide"), {"detection": decided, "label": "real"})
    waiting = {
        name: set(re.findall(r'data-candidate="([^"]+)"', page.content.decode()))
        for name, page in (
            ("curator", curator.get(reverse("curation:queue"))),
            ("other", other.get(reverse("curation:queue"))),
        )
    }
    assert waiting["other"] - waiting["curator"] == {decided}
    assert other.post(reverse("curation:undo")).status_code == 302
    assert (
        len(re.findall("data-candidate=", curator.get(reverse("curation:queue")).content.decode()))
        == 1
    )


def test_a_candidate_shows_every_cut_and_who_scored_it_and_warns(
    sky: World, client_of: Callable[[str], Client]
) -> None:
    detection = sky.detections[0]
    detection.mask_flags, detection.x = 2, 12.0
    detection.save()
    text = (
        client_of("curator")
        .get(reverse("curation:vet_candidate", args=[detection.pk]))
        .content.decode()
    )
    assert text.count('<th scope="row">') == len(factories.CUTS)
    assert "saturated pixels beside it" in text
    assert "12 pix from the edge of the frame" in text
    assert "feature model 1" in text
    assert "N up, E left" in text


def test_a_frame_without_wcs_is_shown_as_on_the_detector_and_says_so(
    client_of: Callable[[str], Client],
) -> None:
    world = World(factories.make_survey())
    factories.make_epoch(world, 0, sources=[(60.0, 70.0, 4000.0)], has_wcs=False)
    text = client_of("curator").get(reverse("curation:vet")).content.decode()
    assert "as on the detector: no WCS" in text
    assert "10 pix" in text
    assert "no sky position" in text
