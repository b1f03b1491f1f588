"""Settings of the tests: a data folder of their own, quick hashes, files instead of servers."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

if "ASTRID_DATA_DIR" not in os.environ:
    _folder = tempfile.mkdtemp(prefix="astrid-test-")
    os.environ["ASTRID_DATA_DIR"] = _folder
    _owner = os.getpid()
    # Forked children end too; only the process that made the folder removes it.
    atexit.register(
        lambda: shutil.rmtree(_folder, ignore_errors=True) if os.getpid() == _owner else None
    )
os.environ.setdefault("ASTRID_LOG_LEVEL", "WARNING")

from astrid_site.settings import *  # noqa: F403
from astrid_site.settings import DATA_DIR, DATABASES, STORAGES

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, not memory: threads and processes must meet the locks they meet in real life.
    DATABASES["default"]["TEST"] = {"NAME": str(Path(DATA_DIR) / "test.sqlite3")}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
# Longer than a test: inside a test's transaction the lease keeper could not write.
JOB_LEASE_S = float(os.environ.get("ASTRID_JOB_LEASE_S", "600"))
