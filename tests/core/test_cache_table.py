"""The table of the database's cache, without which no throttle can count."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.cache import caches
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connection
from django.test import override_settings

ROOT = Path(__file__).resolve().parents[2]
DATABASE_CACHE = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "core_cache",
    }
}


@pytest.mark.django_db
def test_migrating_makes_the_cache_table_and_again_changes_nothing() -> None:
    with override_settings(CACHES=DATABASE_CACHE):
        assert "core_cache" not in connection.introspection.table_names()
        call_command("migrate", database=DEFAULT_DB_ALIAS, interactive=False, verbosity=0)
        caches["default"].set("throttle", [1.0], 60)
        call_command("migrate", database=DEFAULT_DB_ALIAS, interactive=False, verbosity=0)
        call_command("createcachetable", verbosity=0)
        assert caches["default"].get("throttle") == [1.0]


def test_plain_migrate_is_all_that_a_fresh_database_needs(tmp_path: Path) -> None:
    file = tmp_path / "fresh.sqlite3"
    environment = {k: v for k, v in os.environ.items() if k != "ASTRID_CACHE_URL"}
    environment |= {
        "DJANGO_SETTINGS_MODULE": "astrid_site.settings",
        "DATABASE_URL": f"sqlite:///{file}",
        "ASTRID_DATA_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--noinput", "--verbosity", "0"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(file) as database:
        found = database.execute("SELECT count(*) FROM core_cache").fetchone()
    database.close()
    assert found == (0,)
