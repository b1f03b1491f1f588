"""Production settings: clean by Django's own measure, and refused when they are weak."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def manage(folder: Path, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "ASTRID_PRODUCTION": "true",
        "ASTRID_SECRET_KEY": secrets.token_urlsafe(64),
        "ASTRID_ALLOWED_HOSTS": "astrid.example.org",
        "ASTRID_CSRF_TRUSTED_ORIGINS": "https://astrid.example.org",
        "ASTRID_DATA_DIR": str(folder),
        "ASTRID_LOG_LEVEL": "WARNING",
    } | changes
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *words],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_djangos_deployment_check_finds_nothing(tmp_path: Path) -> None:
    done = manage(tmp_path, "check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues" in done.stdout


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ASTRID_SECRET_KEY": ""}, "ASTRID_SECRET_KEY: required"),
        ({"ASTRID_SECRET_KEY": "short"}, "ASTRID_SECRET_KEY: too weak"),
        ({"ASTRID_SECRET_KEY": "a" * 80}, "ASTRID_SECRET_KEY: too weak"),
        ({"ASTRID_SECRET_KEY": "django-insecure-" + "abcdefgh" * 8}, "too weak"),
        ({"ASTRID_DEBUG": "true"}, "ASTRID_DEBUG: must be off"),
        ({"ASTRID_ALLOWED_HOSTS": "*"}, "ASTRID_ALLOWED_HOSTS"),
        ({"ASTRID_PRODUCTION": "perhaps"}, "ASTRID_PRODUCTION: expected true or false"),
    ],
)
def test_weak_settings_stop_the_start_with_one_line(
    tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    done = manage(tmp_path, "check", **changes)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_cookies_and_redirects_are_those_of_a_site_behind_tls(tmp_path: Path) -> None:
    script = (
        "from django.test import Client; from django.core.management import call_command;"
        "call_command('migrate', verbosity=0);"
        "from django.conf import settings as s;"
        "s.STORAGES['staticfiles']['BACKEND'];"
        "h = {'HTTP_HOST': 'astrid.example.org'};"
        "plain = Client().get('/account/login/', **h);"
        "spoof = Client().get('/account/login/', HTTP_X_FORWARDED_PROTO='https', **h);"
        "live = Client().get('/api/v1/health/live/', **h);"
        "safe = Client().get('/api/v1/health/live/', secure=True, **h);"
        "print(plain.status_code, plain['Location'], spoof.status_code, live.status_code,"
        " safe['Strict-Transport-Security'], sep='|');"
        "print(s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SESSION_COOKIE_HTTPONLY,"
        " s.SESSION_COOKIE_SAMESITE, s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME)"
    )
    done = manage(tmp_path, "shell", "--no-imports", "-c", script)
    assert done.returncode == 0, done.stderr
    answers, cookies = done.stdout.strip().splitlines()[-2:]
    assert answers == (
        "301|https://astrid.example.org/account/login/|301|200|"
        "max-age=31536000; includeSubDomains; preload"
    )
    assert cookies == "True True True Lax __Host-sessionid __Host-csrftoken"
