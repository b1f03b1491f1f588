"""People of every role, a small world of rows, and clients; shared by several test folders."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from astropy.io import fits
from django.test import Client
from rest_framework.test import APIClient

from astrid_site.accounts.models import User
from tests.detection.factories import make_training
from tests.preprocessing.factories import make_master
from tests.web.factories import World, make_user, make_work, make_world

ROLES = ("viewer", "curator", "researcher", "admin")


@pytest.fixture
def world(db: None) -> World:
    """Three observations with one candidate and one object each, and some work under way."""
    made = make_world(n_epochs=1, sources_per_field=1)
    make_work(made.survey)
    make_master(made.survey)
    make_training()
    return made


@pytest.fixture
def people(db: None) -> dict[str, User]:
    """One account of each role."""
    return {role: make_user(f"{role}-person", role) for role in ROLES}


@pytest.fixture
def api_as(people: dict[str, User]) -> Callable[[str], APIClient]:
    """A REST client logged in as a role; it sends CSRF tokens only if told to."""

    def make(role: str) -> APIClient:
        client = APIClient()
        client.force_login(people[role])
        return client

    return make


@pytest.fixture
def browser_as(people: dict[str, User]) -> Callable[[str], Client]:
    """A page client logged in as a role; the anonymous one is not."""

    def make(role: str) -> Client:
        client = Client()
        if role != "anonymous":
            client.force_login(people[role])
        return client

    return make


def frame_bytes(seed: int = 1, **cards: object) -> bytes:
    """A small real FITS frame of noise."""
    rng = np.random.default_rng(seed)
    hdu = fits.PrimaryHDU(rng.normal(100.0, 5.0, (96, 96)).astype(np.float32))
    given = {
        "OBJECT": "test field",
        "FILTER": "r",
        "DATE-OBS": "2026-09-01T03:00:00",
        "EXPTIME": 60.0,
        "OBSID": f"frame-{seed}",
    }
    for key, value in (given | cards).items():
        hdu.header[key] = value
    buffer = io.BytesIO()
    hdu.writeto(buffer)
    return buffer.getvalue()
