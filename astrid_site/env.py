"""Typed readers of the environment; a bad value stops start-up with one clear line."""

from __future__ import annotations

from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

env = environ.Env()


def read_text(name: str, default: str = "") -> str:
    """Value of a variable, stripped."""
    return str(env.str(name, default=default)).strip()


def read_flag(name: str, *, default: bool) -> bool:
    """True or false; anything but the usual spellings is refused."""
    value = read_text(name, "true" if default else "false").lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off", ""}:
        return False
    msg = f"{name}: expected true or false, got {value!r}"
    raise ImproperlyConfigured(msg)


def read_number(name: str, default: float, *, minimum: float) -> float:
    """A number not below ``minimum``."""
    text = read_text(name, str(default))
    try:
        value = float(text)
    except ValueError:
        msg = f"{name}: expected a number, got {text!r}"
        raise ImproperlyConfigured(msg) from None
    if not value >= minimum:
        msg = f"{name}: must be at least {minimum}, got {value}"
        raise ImproperlyConfigured(msg)
    return value


def read_choice(name: str, default: str, *, choices: tuple[str, ...]) -> str:
    """One of several words."""
    value = read_text(name, default)
    if value not in choices:
        msg = f"{name}: must be one of {', '.join(filter(None, choices))}, got {value!r}"
        raise ImproperlyConfigured(msg)
    return value


def read_list(name: str, default: str = "") -> list[str]:
    """Comma-separated values, empty ones dropped."""
    return [part.strip() for part in read_text(name, default).split(",") if part.strip()]


def read_folder(name: str, default: Path) -> Path:
    """An absolute folder path; it is not created here."""
    return Path(read_text(name, str(default))).expanduser().resolve()
