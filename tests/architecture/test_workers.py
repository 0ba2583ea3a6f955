"""How a run is spread over processes: `tests/workers.py`."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.workers import LONG_FILES, MEMORY_PER_WORKER_BYTES, WORKERS_MAX, how_many, long_files_first

ROOT = Path(__file__).parents[2]
PLENTY = 64 * MEMORY_PER_WORKER_BYTES


@pytest.mark.parametrize(("cores", "workers"), [(1, 0), (2, 3), (3, 4), (64, WORKERS_MAX)])
def test_there_are_three_processes_for_two_cores_up_to_a_bound(cores: int, workers: int) -> None:
    assert how_many(["tests"], cores=cores, memory_bytes=PLENTY) == workers


@pytest.mark.parametrize(("fits", "workers"), [(0, 0), (1, 0), (2, 2), (3, 3)])
def test_there_are_no_more_processes_than_fit_into_memory(fits: int, workers: int) -> None:
    assert how_many(["tests"], cores=64, memory_bytes=fits * MEMORY_PER_WORKER_BYTES) == workers


def test_there_are_no_more_processes_than_files() -> None:
    here, lengths = str(Path(__file__)), str(Path(__file__).with_name("test_lengths.py"))
    assert how_many([here], cores=4, memory_bytes=PLENTY) == 0
    assert how_many([f"{here}::one", f"{here}::two"], cores=4, memory_bytes=PLENTY) == 0
    assert how_many([here, lengths], cores=4, memory_bytes=PLENTY) == 2
    assert how_many([here, str(ROOT / "tests")], cores=4, memory_bytes=PLENTY) == 4


def test_the_files_that_take_long_exist_and_come_first() -> None:
    assert [name for name in LONG_FILES if not (ROOT / name).is_file()] == []
    assert len(set(LONG_FILES)) == len(LONG_FILES)
    short = "tests/architecture/test_workers.py"
    names = [f"{short}::b", f"{LONG_FILES[-1]}::b", f"{short}::a", f"{LONG_FILES[0]}::b", f"{LONG_FILES[0]}::a"]
    items: list[Any] = [SimpleNamespace(nodeid=name) for name in names]
    assert [item.nodeid for item in long_files_first(items)] == [names[3], names[4], names[1], names[0], names[2]]


def test_tests_of_one_id_are_refused() -> None:
    twins: list[Any] = [SimpleNamespace(nodeid="tests/test_a.py::one")] * 2
    with pytest.raises(pytest.UsageError, match="several tests"):
        long_files_first(twins)
