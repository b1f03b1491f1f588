"""Documents that cannot rot: every command, address, file and setting in them exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from django.urls import Resolver404, resolve

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXT = {page: page.read_text() for page in PAGES}


def found(pattern: str) -> list[tuple[str, str]]:
    return [
        (page.name, match) for page, text in TEXT.items() for match in re.findall(pattern, text)
    ]


@pytest.mark.parametrize(("page", "line"), found(r"manage\.py ([a-z_]+[^`\n|]*)"))
def test_every_command_line_is_understood(page: str, line: str) -> None:
    words = [w.strip('"') for w in re.findall(r'"[^"]*"|\S+', line)]
    name, rest = words[0], words[1:]
    if rest == ["--help"] or name == "COMMAND":
        return
    app = get_commands().get(name)
    assert app, f"{page}: there is no command {name}"
    command = load_command_class(app, name) if isinstance(app, str) else app
    parser = command.create_parser("manage.py", name)
    options = {option for action in parser._actions for option in action.option_strings}
    for word in rest:
        if word.startswith("--"):
            assert word in options, f"{page}: {name} has no option {word}"


@pytest.mark.parametrize(("page", "target"), found(r"(?m)(?:^|`)make ([a-z]+)"))
def test_every_make_target_exists(page: str, target: str) -> None:
    result = subprocess.run(
        ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )
    assert result.returncode == 0, f"{page}: make {target}: {result.stderr}"


@pytest.mark.parametrize(("page", "address"), found(r"(/api/v1/[\w/-]*)"))
def test_every_address_resolves(page: str, address: str) -> None:
    if address == "/api/v1/":
        return
    try:
        # a document's "{file_format}" is cut off here
        resolve(f"{address}csv/" if address.endswith("/export/") else address)
    except Resolver404:
        pytest.fail(f"{page}: {address} leads nowhere")


@pytest.mark.parametrize(("page", "target"), found(r"\]\(([^)#:]+)\)"))
def test_every_link_leads_somewhere(page: str, target: str) -> None:
    folders = [p.parent for p in PAGES if p.name == page]
    assert any((folder / target).exists() for folder in folders), f"{page}: {target}"


def test_the_readme_fits_on_two_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 60
