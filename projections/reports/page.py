"""docs/reporting.md: every report with its columns. `python -m projections.reports.page` writes it."""

from projections.reports.catalogue import REPORTS
from projections.reports.report import Kind, Report

SQL_TYPES = {
    Kind.TEXT: "text",
    Kind.INTEGER: "bigint",
    Kind.DECIMAL: "numeric",
    Kind.INSTANT: "timestamptz",
    Kind.DAY: "date",
    Kind.FLAG: "boolean",
    Kind.JSON: "jsonb",
}


def reports_markdown() -> str:
    """The page."""
    lines = [
        "# Reports",
        "",
        "What the views of the schema `reporting` hold ([how to read them](guides/reporting.md)), and exports",
        "([how to get them](guides/exports.md)), column by column.",
        "Written by `python -m projections.reports.page` from the declarations themselves.",
    ]
    for report in REPORTS:
        lines += ["", *_section(report)]
    return "\n".join(lines) + "\n"


def _section(report: Report) -> list[str]:
    rows = [f"| `{column.name}` | {SQL_TYPES[column.kind]} | {column.about} |" for column in report.columns]
    return [f"## {report.name}", "", report.about, "", "| column | type | |", "|---|---|---|", *rows]


if __name__ == "__main__":
    print(reports_markdown(), end="")  # noqa: T201  its output is the file
