#!/usr/bin/env python
"""AstrID's command line."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Run one management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "astrid_site.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ModuleNotFoundError as error:
        sys.exit(_missing(error))
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"AstrID cannot start: {error}")
    except ModuleNotFoundError as error:
        if (Path(__file__).parent / (error.name or "").split(".")[0]).is_dir():
            raise  # a module of our own: a defect, and no half-made installation
        sys.exit(_missing(error))


def _missing(error: ModuleNotFoundError) -> str:
    return (
        f"AstrID cannot start: the package {error.name} is missing from {sys.prefix}; "
        "remove .venv and run make again"
    )


if __name__ == "__main__":
    main()
