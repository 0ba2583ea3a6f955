"""`make bench`: everything is measured beside a peer or a raw limit, in one run on one machine.

Writes benchmarks/results.json and benchmarks/RESULTS.md. `python -m benchmarks append relay` runs only those.
"""

import importlib
import inspect
import json
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil
from rich.console import Console

from benchmarks.results import Row
from benchmarks.servers import found_by

HERE: Final = Path(__file__).parent
SUITES: Final = (
    "append",
    "relay",
    "rebuild",
    "reports",
    "http",
    "usage_ingest",
    "usage_aggregate",
    "usage_end_to_end",
    "entitlement_check",
    "log_ins",
    "renewal_run",
    "invoice_wire",
    "codec",
    "billing_mathematics",
    "recurring_report",
)
PACKAGES: Final = (
    "asyncpg",
    "aiokafka",
    "faust-streaming",
    "fastapi",
    "uvicorn",
    "uvloop",
    "eventsourcing",
    "pydantic",
)
ROW_FIELDS: Final = {"id", "ours", "unit", "ratios", "notes"}

console = Console(stderr=True)


def main(arguments: Sequence[str]) -> int:
    """Run the suites; results of suites that are not run, or not to their end, are kept from the last run."""
    unknown = set(arguments) - set(SUITES)
    if unknown:
        console.print(f"[red]Not a benchmark:[/red] {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}.")
        return 2
    kept = {row["id"]: row for row in _last_run()} if arguments else {}
    for place, suite in enumerate(arguments or SUITES, start=1):
        console.rule(f"{suite} ({place} of {len(arguments or SUITES)})")
        start = time.monotonic()
        for row in _run(suite):
            kept[row["id"]] = row
            console.print(_line(row))
        console.print(f"{time.monotonic() - start:.0f} s")
        _write(list(kept.values()))
    console.print(f"Written: {HERE / 'RESULTS.md'}, {HERE / 'results.json'}")
    return 0


def _run(suite: str) -> list[dict[str, Any]]:
    rows = importlib.import_module(f"benchmarks.{suite}").rows
    found = found_by(rows()) if inspect.iscoroutinefunction(rows) else rows()
    return [_as_json(row) for row in found]


def _as_json(row: Row | dict[str, Any]) -> dict[str, Any]:
    if isinstance(row, dict):
        return row
    return {
        "id": row.id,
        "ours": round(row.ours, 1 if row.ours < 1_000 else None),
        "unit": row.unit,
        "ratios": {name: round(ratio, 2) for name, ratio in row.ratios.items()},
        **({"notes": row.notes} if row.notes else {}),
    }


def _last_run() -> list[dict[str, Any]]:
    file = HERE / "results.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["rows"] if file.exists() else []
    return rows


def _write(rows: list[dict[str, Any]]) -> None:
    (HERE / "results.json").write_text(
        json.dumps({"rows": rows}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (HERE / "RESULTS.md").write_text(_markdown(rows), encoding="utf-8")


def _markdown(rows: list[dict[str, Any]]) -> str:
    lines = [
        "# Results",
        "",
        "Written by `make bench`. A ratio is ours divided by the peer's in one run: above 1, ours is faster.",
        "What each row measures stands at the top of its file in this folder.",
        "",
        f"- Date: {datetime.now(UTC):%Y-%m-%d}",
        f"- Machine: {psutil.cpu_count()} cores ({_processor()}), {psutil.virtual_memory().total / 2**30:.0f} GiB",
        f"- Python {platform.python_version()}, {platform.system()} {platform.release()}; "
        + ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "- PostgreSQL 18 (durable: fsync and synchronous_commit on) and Kafka 4.3.1, embedded, on the same machine",
        "",
        "| row | ours | unit | ratios | notes |",
        "|---|---:|---|---|---|",
    ]
    for row in rows:
        ratios = ", ".join(f"{name} {ratio:g}×" for name, ratio in row["ratios"].items())
        more = "; ".join(f"{name} {value}" for name, value in row.items() if name not in ROW_FIELDS)
        notes = "; ".join(filter(None, (str(row.get("notes", "")), more)))
        lines.append(f"| {row['id']} | {row['ours']:,} | {row['unit']} | {ratios} | {notes} |")
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    ratios = ", ".join(f"{name} {ratio:g}×" for name, ratio in row["ratios"].items())
    return f"{row['id']}: {row['ours']:,} {row['unit']}  {ratios}  {row.get('notes', '')}"


def _processor() -> str:
    try:
        described = subprocess.run(["lscpu"], capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in described.splitlines() if line.startswith("Model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
