"""Settings of the tests: a data folder of their own, quick hashes, files instead of servers."""

# ruff: noqa: E402 - the data folder is named before the settings are read
from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path


def _take_folder() -> None:
    """Give every test process a data folder of its own, never the one of an installation.

    Programs that a test starts are told another folder by the test, and keep it.
    """
    me = os.environ.get("PYTEST_XDIST_WORKER", "main")
    owner = os.environ.get("ASTRID_TEST_OWNER")
    if owner == me:
        return
    # Below the folder of the process that started this one, which removes it.
    parent = os.environ["ASTRID_DATA_DIR"] if owner else None
    folder = tempfile.mkdtemp(prefix="astrid-test-", dir=parent)
    os.environ |= {"ASTRID_TEST_OWNER": me, "ASTRID_DATA_DIR": folder}
    pid = os.getpid()
    # A forked child runs the same hooks at its end; the folder is not its own.
    atexit.register(
        lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == pid else None
    )


_take_folder()
os.environ.setdefault("ASTRID_LOG_LEVEL", "WARNING")

from astrid_site.settings import *  # noqa: F403
from astrid_site.settings import DATA_DIR, DATABASES, STATIC_ROOT, STORAGES

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, not memory: threads and processes must meet the locks they meet in real life.
    DATABASES["default"]["TEST"] = {"NAME": str(Path(DATA_DIR) / "test.sqlite3")}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
# Longer than a test: inside a test's transaction the lease keeper could not write.
JOB_LEASE_S = float(os.environ.get("ASTRID_JOB_LEASE_S", "600"))
# The middleware warns when the folder is missing, and warnings are errors here.
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
