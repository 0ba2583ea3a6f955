"""Each decision has a number of its own and a line in the index."""

import re
from collections import Counter
from pathlib import Path

DECISIONS = Path(__file__).parents[2] / "docs" / "decisions"


def test_each_decision_has_a_number_of_its_own_and_a_line_in_the_index() -> None:
    files = sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
    assert [number for number, count in Counter(name[:4] for name in files).items() if count > 1] == []
    listed = re.findall(r"^\| \[(\d{4})\]\(([^)]+)\)", (DECISIONS / "README.md").read_text(encoding="utf-8"), re.M)
    assert sorted(file for _, file in listed) == files
    assert [number for number, file in listed if number != file[:4]] == []
