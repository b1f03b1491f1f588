"""Real servers for the tests, on free loopback ports; each ends with its ``with`` block.

``python -m tests.servers postgres -- COMMAND ...`` runs a command with DATABASE_URL set to a
PostgreSQL of its own.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_PATIENCE_S = 30.0


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(is_true: Callable[[], bool], *, within_s: float, what: str) -> None:
    """Wait for something, or fail saying what did not come."""
    deadline = time.monotonic() + within_s
    while not is_true():
        if time.monotonic() > deadline:
            msg = f"not within {within_s} s: {what}"
            raise TimeoutError(msg)
        time.sleep(0.05)


def is_open(port: int) -> bool:
    """Whether something listens on the loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _postgres_binary(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: p.parts[4])
    if found:
        return str(found[-1])
    path = shutil.which(name)
    if path is None:
        msg = f"{name} is not installed; install PostgreSQL to run these tests"
        raise FileNotFoundError(msg)
    return path


def _as_postgres() -> list[str]:
    """PostgreSQL refuses to run as root: become its own user then."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL server; yields its database URL."""
    # Not below pytest's folder: that is 0700 and the server runs as another user.
    folder = Path(tempfile.mkdtemp(prefix="astrid-pg-", dir="/tmp"))
    port = free_port()
    control = _as_postgres()
    if control:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
    data = str(folder / "data")
    # Through exec, so that the process we stop is the server itself.
    subprocess.run(
        [
            *(*control, _postgres_binary("initdb"), "-A", "trust", "-U", "postgres"),
            *("--no-sync", "-E", "UTF8", "--locale=C", "-D", data),
        ],
        check=True,
        capture_output=True,
        cwd="/",
        timeout=60,
    )
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(*control, _postgres_binary("postgres"), "-D", data, "-p", str(port)),
                *("-k", str(folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"),
                *("-c", "max_connections=200", "-c", "full_page_writes=off"),
            ],
            stdout=log,
            stderr=log,
            cwd="/",
        )
    try:
        wait_until(lambda: is_open(port), within_s=START_PATIENCE_S, what="PostgreSQL")
        yield f"postgres://postgres@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # "fast": do not wait for clients
        _end(server)
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Redis:
    """A Redis server without persistence that tests may kill and start again."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty."""
        binary = shutil.which("redis-server")
        if binary is None:
            msg = "redis-server is not installed; install Redis to run these tests"
            raise FileNotFoundError(msg)
        self.process = subprocess.Popen(
            [
                *(binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
                *("--appendonly", "no", "--dir", str(self.folder)),
                *("--maxmemory-policy", "noeviction"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: is_open(self.port), within_s=START_PATIENCE_S, what="Redis")

    def kill(self) -> None:
        """End it without warning; everything in it is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=10)


@contextmanager
def redis() -> Iterator[Redis]:
    """A Redis server without persistence."""
    with tempfile.TemporaryDirectory(prefix="astrid-redis-") as folder:
        server = Redis(free_port(), Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def object_store() -> Iterator[str]:
    """An S3 server in memory; yields its endpoint."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: is_open(port), within_s=START_PATIENCE_S, what="the S3 server")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        _end(server)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=10)


def main(arguments: list[str]) -> int:
    """Run a command beside a PostgreSQL of its own."""
    if arguments[:2] != ["postgres", "--"] or len(arguments) < 3:
        sys.exit("usage: python -m tests.servers postgres -- COMMAND ...")
    with postgres() as url:
        environment = {**os.environ, "DATABASE_URL": url}
        return subprocess.run(arguments[2:], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
