"""Installing: each way it can go wrong gives one line with a remedy; the next try repairs it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import servers

ROOT = Path(__file__).resolve().parents[2]

#: A Python that can be told how pip behaves: only what the installer asks of it.
PYTHON = """#!/bin/bash
case "$*" in
    "-c import pip, sys"*) [ -e "$(dirname "$0")/no-pip" ] && exit 1; exit 0 ;;
    "-c import sys"*) exit ${FAKE_TOO_OLD:-0} ;;
    "-c "*) exit 0 ;;
    --version) echo "Python 3.9.1" ;;
    "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    "-m pip install"*) echo "$FAKE_PIP_SAYS" >&2; echo install >>pip-calls
        eval "${FAKE_PIP_DOES:-true}"; exit ${FAKE_PIP_ENDS:-0} ;;
    *) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that installing needs, and the pretended Python."""
    folder = tmp_path / "checkout"
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "install", folder / ".ci" / "install")
    (folder / "requirements.txt").write_text("-c constraints.txt\ndjango\n")
    (folder / "constraints.txt").write_text("django==5.2.19\n")
    python = folder / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    return folder


def start(checkout: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [".ci/install", "requirements.txt"],
        cwd=checkout,
        env={**os.environ, "PYTHON": str(checkout / "python"), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def install(checkout: Path, **environment: str) -> tuple[int, str]:
    """The exit code and what was complained of."""
    process = start(checkout, **environment)
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def calls(checkout: Path) -> int:
    path = checkout / "pip-calls"
    return len(path.read_text().splitlines()) if path.is_file() else 0


def assert_one_line(result: tuple[int, str], *words: str) -> None:
    code, said = result
    assert code == 1
    assert said.startswith("AstrID cannot be installed: ")
    assert said.count("\n") == 1, said
    for word in words:
        assert word in said


def test_what_is_installed_is_not_installed_again(checkout: Path) -> None:
    assert install(checkout) == (0, "")
    assert install(checkout) == (0, "")
    assert calls(checkout) == 1
    (checkout / "constraints.txt").write_text("django==5.2.20\n")
    assert install(checkout) == (0, "")
    assert calls(checkout) == 2


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("WARNING: Retrying ... NewConnectionError('Connection refused')", "network, proxy"),
        ("ERROR: No matching distribution found for torch==2.9.1", "no torch==2.9.1 that fits"),
        (
            "ERROR: Could not find a version that satisfies the requirement django==5.2.19 "
            "(from versions: none)\nERROR: No matching distribution found for django==5.2.19",
            "gives no django at all: it does not answer, or lacks it; check network, proxy",
        ),
        ("ERROR: Cannot install django because these package versions", "no django that fits"),
        ("error: x\nERROR: Failed building wheel for sep", "no sep that fits"),
        ("ERROR: [Errno 28] No space left on device", "the disk is full; make room"),
        ("ERROR: something new", "something new; run make again"),
    ],
)
def test_a_failure_of_pip_is_one_line_with_a_remedy(checkout: Path, said: str, words: str) -> None:
    result = install(checkout, FAKE_PIP_SAYS=said, FAKE_PIP_ENDS="1")
    assert_one_line(result, words, "all pip said: .venv/install.log")
    # nothing of the failed try is trusted
    assert install(checkout) == (0, "")


def test_a_python_that_is_missing_or_too_old_is_named(checkout: Path) -> None:
    assert_one_line(install(checkout, PYTHON="no-such-python"), "no-such-python that runs")
    assert_one_line(install(checkout, FAKE_TOO_OLD="1"), "Python 3.9.1 is too old", "python3.11")
    assert not (checkout / ".venv").exists()


def test_a_folder_that_cannot_be_written_to_is_named(checkout: Path) -> None:
    # root may write anywhere but there
    script = (checkout / ".ci" / "install").read_text().replace("mkdir .venv", "mkdir /proc/x")
    (checkout / ".ci" / "install").write_text(script)
    assert_one_line(install(checkout), f"cannot write to {checkout}")


def test_an_environment_that_is_broken_is_made_anew(checkout: Path) -> None:
    install(checkout)
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python")
    assert install(checkout) == (0, "")
    assert not python.is_symlink()
    (python.parent / "no-pip").touch()
    assert install(checkout) == (0, "")
    assert not (python.parent / "no-pip").exists()
    assert calls(checkout) == 3


def test_an_installation_that_was_killed_is_begun_anew(checkout: Path) -> None:
    half = checkout / ".venv" / "half"
    process = start(checkout, FAKE_PIP_DOES="touch .venv/half; sleep 60")
    servers.wait_until(half.exists, within_s=20, what="pip is at work")
    assert_one_line(install(checkout), f"process {process.pid} is installing")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)
    assert install(checkout) == (0, "")
    assert not half.exists()


@pytest.mark.slow
def test_the_real_pip_without_a_network_gives_one_line(checkout: Path) -> None:
    index = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "1"}
    offline = index | {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
    }
    result = install(checkout, PYTHON=sys.executable, **offline)
    assert_one_line(result, "the package index does not answer")


def test_a_missing_package_is_told_in_one_line(tmp_path: Path) -> None:
    shutil.copy(ROOT / "manage.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "manage.py", "run_astrid"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("AstrID cannot start: the package django is missing")
    assert done.stderr.count("\n") == 1
