"""Starts the whole of AstrID on this machine: web, workers, sweeper, first images."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections

from astrid_site.core import jobs, tasking
from astrid_site.core.management.commands.load_demo import is_loaded
from astrid_site.launcher.first_account import CURATOR, ensure_curator
from astrid_site.launcher.lock import only_launcher, running_launcher
from astrid_site.launcher.ports import is_listening, port_problem, read_port
from astrid_site.launcher.supervisor import Supervisor

logger = logging.getLogger(__name__)

WEB_PATIENCE_S = 60.0


class Command(BaseCommand):
    """The launcher behind ``make run``."""

    help = "Start AstrID on this machine and open it for the first curator."
    # The launcher makes the folders and tables the checks would ask for.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the address, the images and the number of workers."""
        parser.add_argument("--images", help="folder of FITS images to take in")
        parser.add_argument("--survey", default="My images", help="survey of those images")
        parser.add_argument("--host", default="127.0.0.1")
        # a word that is no number gets one line from us, not a page of usage
        parser.add_argument("--port", default="8000")
        parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1))
        parser.add_argument("--no-demo", action="store_true", help="no simulated survey")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check, prepare, start, tell, and watch until stopped."""
        options["port"] = read_port(options["port"])
        self._check(options)
        stopping = _stop_on_signals()
        with only_launcher(Path(settings.DATA_DIR), _address(options)):
            password = self._prepare()
            supervisor = Supervisor(
                Path(settings.DATA_DIR) / "logs",
                say=self._say,
                environment=_environment(),
                mourn=_expire_leases,
            )
            try:
                self._start(supervisor, options, stopping)
                self._tell(options, password)
                while not stopping.wait(0.5):
                    supervisor.watch()
            finally:
                self._say("Stopping ...")
                supervisor.stop()
                _release_jobs()
        self._say("AstrID has stopped.")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def _check(self, options: dict[str, Any]) -> None:
        """Refuse in one line what cannot work."""
        if options["workers"] < 1:
            msg = "--workers: at least 1"
            raise CommandError(msg)
        if options["images"] and not Path(options["images"]).is_dir():
            msg = f"{options['images']}: there is no such folder of images"
            raise CommandError(msg)
        # nothing is written before the address is known to be free
        if said := running_launcher(Path(settings.DATA_DIR)):
            raise CommandError(said)
        if problem := port_problem(options["host"], options["port"]):
            msg = f"cannot listen on {problem}; choose another port, e.g. make run PORT=8001"
            raise CommandError(msg)
        if problem := _folder_problem(Path(settings.DATA_DIR)):
            msg = f"cannot write to the data folder {problem}; set ASTRID_DATA_DIR to another"
            raise CommandError(msg)

    def _prepare(self) -> str | None:
        """Bring tables, folders and the first account up to date."""
        self._say("Preparing the database ...")
        try:
            call_command("migrate", interactive=False, verbosity=0)
        except DatabaseError as error:
            msg = f"the database does not answer or cannot be migrated: {error}"
            raise CommandError(msg) from error
        tasking.prepare_broker_folder()
        Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
        str(settings.SECRET_KEY)  # made once, before processes that would each make one
        if tasking.is_embedded():
            # No worker of this folder can be alive: this launcher holds the lock.
            jobs.expire_leases()
        password = ensure_curator()
        connections.close_all()
        return password

    def _start(
        self, supervisor: Supervisor, options: dict[str, Any], stopping: threading.Event
    ) -> None:
        """Start the web first, so that the address can be given soon."""
        supervisor.start("web", _web_command(options["host"], options["port"]))
        deadline = time.monotonic() + WEB_PATIENCE_S
        while not is_listening(options["host"], options["port"]):
            supervisor.watch()
            if supervisor.has_ended("web") or time.monotonic() > deadline:
                msg = f"the web server does not start; see {supervisor.log_path('web')}"
                raise CommandError(msg)
            if stopping.wait(0.1):
                return
        supervisor.start("sweeper", [*_manage(), "sweep_jobs", "--forever"])
        for number in range(1, options["workers"] + 1):
            supervisor.start(f"worker{number}", _worker_command(number))
        if options["images"]:
            folder = str(Path(options["images"]).resolve())
            command = [*_manage(), "ingest", folder, "--survey", options["survey"]]
            supervisor.start("import", command, is_service=False)
        elif not options["no_demo"] and _wants_demo():
            supervisor.start("import", [*_manage(), "load_demo"], is_service=False)

    def _tell(self, options: dict[str, Any], password: str | None) -> None:
        again = f"{_python()} manage.py reset_curator_password"
        kept = f"the one given at the first start ({again} makes a new one)"
        self._say("")
        self._say("AstrID is running. Stop it with Ctrl-C.")
        self._say(f"  Address:  {_address(options)}")
        self._say(f"  Account:  {CURATOR}")
        self._say(f"  Password: {password or kept}")
        self._say("")


def _address(options: dict[str, Any]) -> str:
    host = f"[{options['host']}]" if ":" in options["host"] else options["host"]
    return f"http://{host}:{options['port']}/"


def _python() -> str:
    """How a person in the folder of AstrID calls the Python that runs it."""
    python = Path(sys.executable)
    own = Path(settings.BASE_DIR)
    return str(python.relative_to(own) if python.is_relative_to(own) else python)


def _manage() -> list[str]:
    return [sys.executable, str(Path(settings.BASE_DIR) / "manage.py")]


def _web_command(host: str, port: int) -> list[str]:
    # Without the limit an open event stream would hold the server up for ever at its end.
    return [
        *(sys.executable, "-m", "uvicorn", "astrid_site.asgi:application"),
        *("--host", host, "--port", str(port), "--lifespan", "off", "--no-server-header"),
        *("--timeout-graceful-shutdown", "3", "--log-level", "warning", "--no-access-log"),
        # Nothing stands in front of it: a client's X-Forwarded-For is only a claim.
        *("--no-proxy-headers", "--app-dir", str(settings.BASE_DIR)),
    ]


def _worker_command(number: int) -> list[str]:
    return [
        *(sys.executable, "-m", "celery", "--app", "astrid_site"),
        *("--workdir", str(settings.BASE_DIR), "worker", "--pool", "solo"),
        *("--queues", "cpu,gpu", "--hostname", f"worker{number}@%h", "--loglevel", "INFO"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "astrid_site.settings"),
        "ASTRID_DATA_DIR": str(settings.DATA_DIR),
    }


def _wants_demo() -> bool:
    """Whether the demonstration is still to be loaded, and nobody's own images are in its way."""
    if is_loaded():
        return False
    observations = apps.get_model("observations", "Observation")
    own = observations._base_manager.filter(is_simulated=False).exists()
    connections.close_all()
    return not own


def _folder_problem(folder: Path) -> str:
    """Why the folder cannot be written to; empty when it can."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        return f"{folder} ({error.strerror})"
    return ""


def _stop_on_signals() -> threading.Event:
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


def _expire_leases(pid: int) -> None:
    """Let the sweeper return a dead worker's job at once instead of at the end of its lease."""
    try:
        jobs.expire_leases(worker=jobs.worker_name(pid))
    except DatabaseError as error:
        logger.warning("the job of process %d waits for the end of its lease: %s", pid, error)
    finally:
        connections.close_all()


def _release_jobs() -> None:
    """Hand back what the stopped workers were at, so that the next start need not wait."""
    if tasking.is_embedded():
        jobs.release_running()
