"""Which code made a result."""

from __future__ import annotations

import subprocess
import tomllib
from functools import cache

from django.conf import settings

from astrid_site.env import read_text


@cache
def code_version() -> str:
    """The commit this process runs, or the package's version where there is no repository.

    An image build has no repository and says its commit in ``ASTRID_CODE_VERSION``.
    """
    given = read_text("ASTRID_CODE_VERSION")
    if given:
        return given[:64]
    return (_described() or _package_version())[:64]


def _described() -> str:
    if not (settings.BASE_DIR / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--dirty", "--tags"]
    try:
        done = subprocess.run(
            command, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        # no git on this machine: the package's version still says something
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _package_version() -> str:
    with (settings.BASE_DIR / "pyproject.toml").open("rb") as stream:
        return str(tomllib.load(stream)["project"]["version"])
