"""The shape of the code itself: what imports what, how long things are, what must not be there."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "astrid_site",
    "observations",
    "preprocessing",
    "differencing",
    "detection",
    "catalog",
    "curation",
)
FILES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if "migrations" not in path.parts
)
PURE = [
    path
    for path in FILES
    if path.name != "__init__.py"
    and ("algorithms" in path.parts or "networks" in path.parts or "imaging" in path.parts)
]
#: Code that serves people may not invent numbers; the simulator and training may draw them, and
#: what puts sources into a frame to prove its depth, seeded by the frame itself.
MAY_DRAW = ("simulation", "sky_", "simulated", "train", "injection", "limiting_magnitude")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_science_modules_import_without_the_framework() -> None:
    """One process imports them all while Django and its kin cannot be imported."""
    blocked = ["django", "celery", "rest_framework", "channels", "environ"]
    program = (
        "import sys, importlib\n"
        f"for name in {blocked!r}: sys.modules[name] = None\n"
        f"for name in {[module_name(p) for p in PURE]!r}: importlib.import_module(name)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]


def test_neither_start_up_nor_web_loads_torch() -> None:
    """Torch in the parent of a fork deadlocks its children, and it costs every start a second."""
    program = (
        "import os, sys\n"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'\n"
        "import django; django.setup()\n"
        "import astrid_site.celery, astrid_site.urls, astrid_site.pipeline\n"
        "from django.urls import get_resolver; get_resolver().url_patterns\n"
        "heavy = {'torch', 'mlflow', 'photutils', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {sorted(heavy)}' if heavy else 0)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_and_functions_stay_small(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= 400
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert code_lines(node) <= 60, node.name


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = node.body[0]
    has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if has_docstring else 0
    return (node.end_lineno or 0) - node.lineno + 1 - docstring


@pytest.mark.parametrize(
    "path", [p for p in FILES if not any(w in module_name(p) for w in MAY_DRAW)], ids=module_name
)
def test_nothing_that_serves_people_draws_random_numbers_or_mocks(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Attribute):
            names = [node.attr]
        assert not {"random", "mock", "unittest.mock", "pickle"} & set(names), ast.dump(node)


@pytest.mark.parametrize("word", ["utils", "helpers", "manager", "processor", "common", "misc"])
def test_no_module_has_a_name_that_says_nothing(word: str) -> None:
    assert not [path for path in FILES if path.stem == word or path.parent.name == word]
