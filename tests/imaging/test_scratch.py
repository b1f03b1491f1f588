"""Work folders: private, gone with their block, and cleared after a process that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from astrid_site.imaging import scratch
from astrid_site.imaging.scratch import remove_abandoned, scratch_folder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def no_youth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a folder be judged as soon as it is made."""
    monkeypatch.setattr(scratch, "_YOUNG_S", 0.0)


def test_a_folder_lasts_as_long_as_its_block(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        (folder / "pixels").write_bytes(b"1")
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_youth")
def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        assert remove_abandoned(tmp_path) == 0
        assert folder.is_dir()


@pytest.mark.usefixtures("no_youth")
def test_the_folder_of_a_killed_process_is_removed_with_all_in_it(tmp_path: Path) -> None:
    (tmp_path / "somebody-elses").mkdir()
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from astrid_site.imaging.scratch import scratch_folder\n"
        "with scratch_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'deep').mkdir()\n"
        "    (folder / 'deep' / 'pixels').write_bytes(b'1')\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        assert remove_abandoned(tmp_path) == 0
        os.kill(owner.pid, signal.SIGKILL)
    assert remove_abandoned(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["somebody-elses"]


def test_a_folder_just_made_is_given_time_to_be_locked(tmp_path: Path) -> None:
    folder = tmp_path / f"{scratch.PREFIX}new"
    folder.mkdir()
    assert remove_abandoned(tmp_path) == 0
    assert time.time() - folder.stat().st_ctime < scratch._YOUNG_S
