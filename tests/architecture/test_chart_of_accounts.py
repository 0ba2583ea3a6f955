"""The guide to the books names every account of the chart, and says truly which are control accounts."""

from pathlib import Path

from domain.kernel.accounts import CHART

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "books.md"


def test_the_guide_says_of_every_account_what_compares_it_and_whether_it_takes_entries_by_hand() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    chart = text[text.index("## The chart of accounts") : text.index("## What is posted when")]
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in chart.splitlines() if "| `" in line]
    assert {code: (kind, "I8" in compared, by_hand) for code, kind, _, compared, by_hand in rows} == {
        code: (account.type.value, account.control is not None, "no" if account.control else "yes")
        for code, account in CHART.items()
    }
