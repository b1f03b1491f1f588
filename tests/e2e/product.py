"""The product as a stranger starts it: one launcher with everything it starts below it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
START_PATIENCE_S = 120.0
STOP_PATIENCE_S = 30.0
_ACCOUNT = re.compile(
    r"Address: +(?P<address>\S+)/\s+Account: +(?P<name>\S+)\s+Password: +(?P<password>\S{16})\s"
)


@dataclass(frozen=True)
class Product:
    """A running AstrID and the account it printed."""

    address: str
    name: str
    password: str
    folder: Path

    def complaints(self) -> list[str]:
        """Lines of the logs that tell of an error."""
        return [
            f"{path.name}: {line}"
            for path in sorted((self.folder / "logs").glob("*.log"))
            for line in path.read_text(errors="replace").splitlines()
            if re.search(r"Traceback|\bERROR\b|\bCRITICAL\b", line)
        ]


@contextmanager
def running_product(folder: Path) -> Iterator[Product]:
    """AstrID without images, with two workers; afterwards nothing it started may be left."""
    process = subprocess.Popen(
        [
            *(sys.executable, "manage.py", "run_astrid", "--no-demo"),
            *("--port", str(free_port()), "--workers", "2"),
        ],
        cwd=ROOT,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    said: list[str] = []
    listener = threading.Thread(target=_listen, args=(process, said), daemon=True)
    listener.start()
    try:
        yield _told(process, said, folder)
        assert len(processes_of(folder)) >= 5, "launcher, web, sweeper and two workers"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=STOP_PATIENCE_S) == 0, "".join(said)
        assert processes_of(folder) == {}
    finally:
        for pid in {process.pid, *processes_of(folder)}:
            _kill(pid)
        process.wait(timeout=10)
        listener.join(timeout=10)


def write_survey(folder: Path) -> list[Path]:
    """One small field over five nights, with more than twenty things that change."""
    subprocess.run(
        [
            *(sys.executable, "manage.py", "simulate_survey", str(folder), "--verbosity", "0"),
            *("--seed", "7", "--fields", "1", "--epochs", "5", "--size", "512"),
            *("--supernovae", "30", "--variables", "3", "--asteroids", "0"),
        ],
        cwd=ROOT,
        env=_environment(folder.parent / "no-data"),
        check=True,
        timeout=120,
    )
    return sorted(folder.glob("*.fits"))


def processes_of(folder: Path) -> dict[int, str]:
    """Every process that works on a data folder, whatever group it is in."""
    wanted = f"ASTRID_DATA_DIR={folder}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                command = (entry / "cmdline").read_bytes()
                found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended meanwhile, or belongs to somebody else
            continue
    return found


def _environment(folder: Path) -> dict[str, str]:
    """The caller's environment, less what would point the product at other data."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ASTRID_") and name not in {"DATABASE_URL", "DJANGO_SETTINGS_MODULE"}
    }
    return kept | {"ASTRID_DATA_DIR": str(folder)}


def _listen(process: subprocess.Popen[str], said: list[str]) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        said.extend(iter(lines.readline, ""))


def _told(process: subprocess.Popen[str], said: list[str], folder: Path) -> Product:
    """Wait for the launcher to tell where it is and whom it lets in."""
    deadline = time.monotonic() + START_PATIENCE_S
    while not (found := _ACCOUNT.search("".join(said))):
        assert process.poll() is None, f"the launcher ended: {''.join(said)}"
        assert time.monotonic() < deadline, f"the launcher is silent: {''.join(said)}"
        time.sleep(0.1)
    return Product(found["address"], found["name"], found["password"], folder)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
