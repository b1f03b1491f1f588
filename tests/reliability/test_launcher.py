"""The launcher: everything starts, the dead are started again, and nothing is left behind."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management.base import CommandError

from astrid_site.launcher.lock import only_launcher, running_launcher
from astrid_site.launcher.ports import port_problem
from astrid_site.launcher.supervisor import _SUMMARY, Supervisor
from observations.management.commands.ingest import _report
from observations.services import IngestResult
from tests import servers
from tests.reliability.installation import descendants

ROOT = Path(__file__).resolve().parents[2]


def is_alive(pid: int) -> bool:
    """Whether a process runs, and is not a mere zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def mourned() -> list[int]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, said: list[str], mourned: list[int]) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path, say=said.append, environment=dict(os.environ), mourn=mourned.append)
    yield made
    made.stop()


def pids(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()] if path.is_file() else []


def test_a_service_that_dies_is_started_again(
    supervisor: Supervisor, said: list[str], mourned: list[int]
) -> None:
    supervisor.start("web", ["sh", "-c", "echo $$; exec sleep 60"])
    log = supervisor.log_path("web")
    servers.wait_until(lambda: len(pids(log)) == 1, within_s=10, what="the first start")
    os.kill(pids(log)[0], signal.SIGKILL)

    def is_back() -> bool:
        supervisor.watch()
        return len(pids(log)) == 2

    servers.wait_until(is_back, within_s=10, what="the second start")
    assert mourned == pids(log)[:1]
    assert len(said) == 1
    assert "web ended (killed by SIGKILL) and starts again in 1 s" in said[0]


def test_a_task_that_ends_is_told_and_not_started_again(
    supervisor: Supervisor, said: list[str]
) -> None:
    supervisor.start("import", ["sh", "-c", "exit 3"], is_service=False)

    def is_over() -> bool:
        supervisor.watch()
        return bool(said)

    servers.wait_until(is_over, within_s=10, what="the end of the task")
    assert "import failed (code 3)" in said[0]
    assert supervisor.has_ended("import")


@pytest.mark.parametrize(
    ("code", "line", "told"),
    [
        (0, "3 created, 1 duplicate, 0 refused", "import has finished: 3 created, 1 duplicate"),
        (1, "3 created, 1 duplicate, 2 refused", "import has finished: 3 created, 1 duplicate"),
        (2, "0 created, 0 duplicate, 2 refused", "import failed (code 2): 0 created, 0 duplicate"),
        (1, "Traceback (most recent call last):", "import failed (code 1); see"),
    ],
)
def test_an_import_is_told_by_its_counts_and_failed_only_if_nothing_came_in(
    supervisor: Supervisor, said: list[str], code: int, line: str, told: str
) -> None:
    # what an earlier start wrote into the same log is no news
    supervisor.log_path("import").write_text("9 created, 9 duplicate, 9 refused\n")
    supervisor.start("import", ["sh", "-c", f"echo '{line}'; exit {code}"], is_service=False)

    def is_over() -> bool:
        supervisor.watch()
        return bool(said)

    servers.wait_until(is_over, within_s=10, what="the end of the import")
    assert said[0].startswith(told)
    assert said[0].endswith(f"; see {supervisor.log_path('import')}")


def test_the_counts_of_the_ingest_command_are_understood() -> None:
    text = _report([IngestResult(None, "refused", "no image", "not_fits", "a.fits")])
    assert _SUMMARY.findall(text) == ["0 created, 0 updated, 0 duplicate, 1 refused"]


@pytest.mark.parametrize("port", [0, -1, 65536, 99999])
def test_an_impossible_port_is_named(port: int) -> None:
    assert f":{port}: a port is a number" in port_problem("127.0.0.1", port)


def test_a_port_that_is_no_number_is_told_in_one_line(tmp_path: Path) -> None:
    process = launch(tmp_path / "data", "--port", "80a")
    text, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "80a: a port is a number from 1 to 65535, e.g. make run PORT=8001" in text
    assert text.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_stopping_ends_whole_groups_even_of_those_who_will_not(supervisor: Supervisor) -> None:
    stubborn = "trap '' TERM; echo $$; sleep 60 & echo $!; while true; do sleep 1; done"
    supervisor.start("worker", ["bash", "-c", stubborn])
    log = supervisor.log_path("worker")
    servers.wait_until(lambda: len(pids(log)) == 2, within_s=10, what="the start")
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 10
    servers.wait_until(
        lambda: not any(map(is_alive, pids(log))), within_s=5, what="the end of the group"
    )


def test_children_die_with_a_launcher_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from astrid_site.launcher.supervisor import Supervisor\n"
        "s = Supervisor(Path(sys.argv[1]), say=print, environment=dict(os.environ))\n"
        "s.start('web', ['sh', '-c', 'echo $$; exec sleep 60'])\n"
        "time.sleep(60)\n"
    )
    launcher = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    log = tmp_path / "web.log"
    servers.wait_until(lambda: len(pids(log)) == 1, within_s=20, what="the child")
    launcher.kill()
    launcher.wait(timeout=10)
    servers.wait_until(lambda: not is_alive(pids(log)[0]), within_s=5, what="the child's end")


def test_a_busy_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert str(port) in port_problem("127.0.0.1", port)
    assert port_problem("127.0.0.1", port) == ""


def launch(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start the launcher as ``make run`` does."""
    return subprocess.Popen(
        [sys.executable, "manage.py", "run_astrid", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "astrid_site.settings",
            "ASTRID_DATA_DIR": str(folder),
            "DATABASE_URL": f"sqlite:///{folder}/astrid.sqlite3",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(process: subprocess.Popen[str], word: str, *, within_s: float) -> str:
    """What the launcher prints up to a word; bounded by killing it."""
    assert process.stdout is not None
    deadline = time.monotonic() + within_s
    text = ""
    for line in process.stdout:
        text += line
        if word in line:
            return text
        if time.monotonic() > deadline:
            break
    process.kill()
    msg = f"{word!r} not printed within {within_s} s: {text}"
    raise AssertionError(msg)


@pytest.mark.slow
def test_the_launcher_starts_all_tells_the_password_once_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    port = servers.free_port()
    arguments = ("--port", str(port), "--no-demo", "--workers", "2")
    process = launch(tmp_path, *arguments)
    try:
        text = read_until(process, "Password:", within_s=90)
        assert f"http://127.0.0.1:{port}/" in text
        password = re.search(r"Password: (\S{16})\n", text)
        assert password is not None
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/nothing-here/", timeout=20)
        assert answer.value.code == 404
        answer.value.close()
        children = descendants(process.pid)
        assert len(children) >= 4
        second = launch(tmp_path, "--port", str(servers.free_port()))
        refusal, _ = second.communicate(timeout=60)
        assert f"already runs at http://127.0.0.1:{port}/ on the data folder" in refusal
        assert f"kill {process.pid}" in refusal
        assert refusal.count("\n") == 1
        same_port = launch(tmp_path, "--port", str(port))
        assert same_port.communicate(timeout=60)[0] == refusal
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        process.communicate(timeout=20)
        assert time.monotonic() - began < 10
        assert process.returncode == 0
        assert not any(map(is_alive, children))
    finally:
        process.kill()
        process.communicate(timeout=10)
    with (tmp_path / "launcher.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    began = time.monotonic()
    process = launch(tmp_path, *arguments)
    try:
        text = read_until(process, "Password:", within_s=60)
        assert time.monotonic() - began < 15
        assert password.group(1) not in text
        (again,) = re.findall(r"\((\S+ manage\.py reset_curator_password) makes", text)
        renewed = subprocess.run(
            again.split(),
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "astrid_site.settings",
                "ASTRID_DATA_DIR": str(tmp_path),
                "DATABASE_URL": f"sqlite:///{tmp_path}/astrid.sqlite3",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "account curator, new password" in renewed.stdout
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate(timeout=10)


def test_a_busy_port_is_told_in_one_line_and_nothing_is_written_before(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = launch(folder, "--port", str(taken.getsockname()[1]), ASTRID_SECRET_KEY="")
        text, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "choose another port" in text
    assert text.count("\n") == 1
    assert not folder.exists()


def test_who_comes_second_is_told_where_the_first_one_is(tmp_path: Path) -> None:
    assert running_launcher(tmp_path / "not there yet") == ""
    assert not (tmp_path / "not there yet").exists()
    with only_launcher(tmp_path, "http://127.0.0.1:8000/"):
        said = running_launcher(tmp_path)
        assert "already runs at http://127.0.0.1:8000/" in said
        assert f"kill {os.getpid()}" in said
        with (
            pytest.raises(CommandError, match="already runs at"),
            only_launcher(tmp_path, "http://127.0.0.1:9000/"),
        ):
            pytest.fail("two launchers hold one folder")
        assert running_launcher(tmp_path) == said
    assert running_launcher(tmp_path) == ""


def test_a_data_folder_that_cannot_be_written_gives_one_line(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.touch()
    process = launch(occupied / "data", DATABASE_URL="sqlite:///:memory:")
    text, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert text.count("\n") == 1
    assert "AstrID cannot start" in text or "cannot write" in text
