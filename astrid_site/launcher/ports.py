"""Whether something can listen on a port, or does."""

from __future__ import annotations

import socket

from django.core.management.base import CommandError


def read_port(text: str | int) -> int:
    """The port that a text names.

    Raises
    ------
    CommandError
        If it is no number.
    """
    try:
        return int(text)
    except ValueError:
        msg = f"{text}: a port is a number from 1 to {2**16 - 1}, e.g. make run PORT=8001"
        raise CommandError(msg) from None


def port_problem(host: str, port: int) -> str:
    """Why nothing can listen there; empty when something can."""
    if not 0 < port < 2**16:
        return f"{host}:{port}: a port is a number from 1 to {2**16 - 1}"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return f"{host}:{port}: {error.strerror or error}"
    return ""


def is_listening(host: str, port: int) -> bool:
    """Whether something answers on the port."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
