"""The door-bell: it never fails, never holds a user up, and loads nothing a fork would choke on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from astrid_site.core import tasking
from tests import servers

ROOT = Path(__file__).resolve().parents[2]


def python(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets a test say to which broker the bell rings."""
    made: list[Celery] = []

    def connect(url: str) -> None:
        app = Celery("test", broker=url, set_as_current=False)
        app.conf.update(tasking.app.conf.changes | {"broker_url": url})
        monkeypatch.setattr(tasking, "app", app)
        monkeypatch.setattr(tasking, "_silent_until", 0.0)
        made.append(app)

    yield connect
    for app in made:
        app.close()


def test_nothing_a_worker_loads_before_its_fork_loads_torch() -> None:
    loaded = python(
        "import sys, importlib, json\n"
        "import astrid_site.celery\n"
        "import django.urls\n"
        "django.urls.get_resolver().url_patterns\n"
        "from django.conf import settings\n"
        "from django.utils.module_loading import import_string\n"
        "import_string(settings.JOB_HANDLERS)\n"
        "print(json.dumps([name for name in ('torch', 'mlflow') if name in sys.modules]))"
    )
    assert json.loads(loaded.splitlines()[-1]) == []


def test_the_package_loads_neither_celery_nor_django() -> None:
    code = "import sys, astrid_site; print('celery' in sys.modules or 'django' in sys.modules)"
    assert python(code).strip() == "False"


def test_a_worker_limits_the_threads_of_numeric_libraries_before_they_load() -> None:
    code = (
        "import os, sys, astrid_site.celery\n"
        "names = ['OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS']\n"
        "print(*[os.environ[name] for name in names])"
    )
    printed = python(code, ASTRID_WORKER_THREADS="3", OMP_NUM_THREADS="64")
    assert printed.split() == ["3", "3", "3"]


def test_messages_are_json_and_acknowledged_late_and_no_result_is_kept() -> None:
    conf = tasking.app.conf
    assert conf.task_acks_late is True
    assert conf.accept_content == ["json"]
    assert conf.task_serializer == "json"
    assert conf.result_backend is None
    assert conf.task_ignore_result is True
    assert conf.worker_prefetch_multiplier == 1
    assert conf.task_reject_on_worker_lost is False
    assert conf.task_time_limit > conf.task_soft_time_limit
    assert {"astrid.run_job", "astrid.sweep"} <= set(tasking.app.tasks)


def test_a_message_carries_the_number_of_the_job_and_nothing_else(
    settings: Any, tmp_path: Path, wire: Any
) -> None:
    settings.BROKER_URL = "filesystem://"
    settings.BROKER_DIR = tmp_path
    wire("filesystem://")
    tasking.app.conf.broker_transport_options = tasking._transport_options()
    job_id = uuid.uuid4()
    assert tasking.ring([job_id], queue="gpu")
    (message,) = (tmp_path / "messages").iterdir()
    assert message.name.endswith(".gpu.msg")
    sent = json.loads(message.read_text())
    assert sent["headers"]["task"] == "astrid.run_job"
    assert json.loads(sent["headers"]["argsrepr"].replace("'", '"')) == [str(job_id)]
    assert sent["content-type"] == "application/json"


def test_a_broken_control_file_is_removed(settings: Any, tmp_path: Path) -> None:
    settings.BROKER_URL = "filesystem://"
    settings.BROKER_DIR = tmp_path
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "cpu.exchange").write_text("")
    (tmp_path / "control" / "gpu.exchange").write_text('[["gpu", "", "gpu"]]')
    tasking.prepare_broker_folder()
    assert [path.name for path in (tmp_path / "control").iterdir()] == ["gpu.exchange"]


#: The sender gives up after a second; on a machine with much else to do that takes longer.
PATIENCE_S = tasking.RING_PATIENCE_S + 5.0


def test_a_broker_that_is_down_is_noticed_at_once_and_left_alone_for_a_while(wire: Any) -> None:
    wire(f"redis://127.0.0.1:{servers.free_port()}/0")
    began = time.monotonic()
    assert not tasking.ring([uuid.uuid4()])
    assert time.monotonic() - began < PATIENCE_S
    began = time.monotonic()
    assert not tasking.ring([uuid.uuid4()])
    assert time.monotonic() - began < 0.05


@pytest.mark.needs_redis
def test_a_frozen_broker_holds_nobody_up(wire: Any) -> None:
    with servers.redis() as redis:
        wire(redis.url)
        assert tasking.ring([uuid.uuid4()])
        assert redis.process is not None
        redis.process.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            assert not tasking.ring([uuid.uuid4()])
            assert time.monotonic() - began < PATIENCE_S
        finally:
            redis.process.send_signal(signal.SIGCONT)


@pytest.mark.needs_redis
def test_a_redis_that_evicts_keys_is_reported(settings: Any) -> None:
    from astrid_site.core import checks

    with servers.redis() as redis:
        settings.BROKER_URL = redis.url
        assert checks.check_eviction() == []
        import redis as client

        with client.Redis.from_url(redis.url) as connection:
            connection.config_set("maxmemory-policy", "allkeys-lru")
        (warning,) = checks.check_eviction()
        assert warning.id == "core.W001"
    assert checks.check_eviction() == []


def test_a_folder_that_takes_no_files_is_reported(settings: Any, tmp_path: Path) -> None:
    from astrid_site.core import checks

    settings.DATA_DIR = settings.BROKER_DIR = settings.MEDIA_ROOT = tmp_path / "not" / "yet"
    assert checks.check_folders() == []
    occupied = tmp_path / "file"
    occupied.touch()
    settings.DATA_DIR = occupied
    (error,) = checks.check_folders()
    assert error.id == "core.E001"
    assert str(occupied) in error.msg
