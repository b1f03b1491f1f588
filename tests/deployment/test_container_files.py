"""The container files, as far as a machine without an engine can judge them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {
    "POSTGRES_PASSWORD": "a",
    "REDIS_PASSWORD": "b",
    "S3_ACCESS_KEY": "c",
    "S3_SECRET_KEY": "d",
}


def run(*command: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def tool(name: str) -> str:
    beside = Path(os.sys.executable).parent / name  # type: ignore[attr-defined]
    found = str(beside) if beside.is_file() else shutil.which(name)
    if not found:
        reason = f"{name} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    result = run(tool("hadolint"), "Dockerfile")
    assert result.returncode == 0, result.stdout


def test_the_compose_file_is_valid_and_needs_every_secret(tmp_path: Path) -> None:
    compose = tool("docker-compose")
    (tmp_path / "docker-compose.yml").write_text((ROOT / "docker-compose.yml").read_text())
    (tmp_path / ".env").write_text("")
    whole = run(compose, "config", "-q", cwd=tmp_path, **SECRETS)
    assert whole.returncode == 0, whole.stderr
    for name in SECRETS:
        partly = run(compose, "config", "-q", cwd=tmp_path, **(SECRETS | {name: ""}))
        assert partly.returncode != 0
        assert name in partly.stderr


def test_every_role_has_its_service() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert {
        "web",
        "worker-cpu",
        "worker-gpu",
        "beat",
        "postgres",
        "redis",
        "s3",
        "mlflow",
    } <= services.keys()
    assert "noeviction" in services["redis"]["command"]
    assert services["web"]["ports"] == ["127.0.0.1:8000:8000"]


def test_the_example_environment_names_every_setting_the_code_reads() -> None:
    import re

    read = set(
        re.findall(r'read_\w+\(\s*"(ASTRID_\w+)"', (ROOT / "astrid_site/settings.py").read_text())
    )
    example = (ROOT / ".env.example").read_text() + (ROOT / "docker-compose.yml").read_text()
    missing = {name for name in read if name not in example}
    assert not missing
