"""Where the files of the tests' servers lie, and that nothing is left there."""

import os
import tempfile
from pathlib import Path

import pytest

from testing import services
from testing.services import FOLDER_PREFIX, end_leftovers, session_folder

TOO_MUCH = 2**60
NOBODYS_PID = 2**22 + 1
"""Above what Linux gives to a process."""


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(services, "MEMORY", tmp_path)
    monkeypatch.setattr(services, "MEMORY_MIN_BYTES", 0)
    return tmp_path


def test_they_lie_in_memory_and_are_gone_afterwards(memory: Path) -> None:
    with session_folder() as folder:
        assert folder.parent == memory
        (folder / "postgres").mkdir()
    assert list(memory.iterdir()) == []


def test_they_lie_on_a_disk_where_memory_is_short(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MEMORY_MIN_BYTES", TOO_MUCH)
    with session_folder() as folder:
        assert folder.parent == Path(tempfile.gettempdir()) != memory


def test_they_lie_where_the_environment_says(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = memory / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("TMPDIR", str(elsewhere))
    with session_folder() as folder:
        assert folder.parent == elsewhere


def test_what_a_killed_run_left_in_memory_is_removed(memory: Path) -> None:
    left = memory / f"{FOLDER_PREFIX}{os.geteuid()}-{NOBODYS_PID}-abc"
    running = memory / f"{FOLDER_PREFIX}{os.geteuid()}-{os.getpid()}-abc"
    for folder in (left, running):
        (folder / "postgres").mkdir(parents=True)
    end_leftovers()
    assert list(memory.iterdir()) == [running]
