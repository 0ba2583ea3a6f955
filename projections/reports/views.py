"""The reports as views of the schema `reporting`, with a comment on each and on each column.

They are the owner's and show the rows of one tenant, that of the login that asks. They read the tables that the read
models' views show, not those views, which take their reader's rights. A rebuild swaps these tables, so the views are
dropped and made anew with that, in the same transaction.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final

import asyncpg
import structlog

from infra.database import REPORTERS, Connection
from projections.catalogue import BY_NAME
from projections.reports.catalogue import REPORTS
from projections.reports.report import Report

log = structlog.get_logger(__name__)

SCHEMA: Final = "reporting"
PATIENCE_S: Final = 5
"""How long a report may have been read when the tables under it are swapped; then its session is ended."""

_LOCK: Final = 7_345_004  # two processes that start at once take turns on it
_OTHER_LAYOUT: Final = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.DatatypeMismatchError,
    asyncpg.CannotCoerceError,
)
"""What is said where a read model is another release's as yet, or is filled for the first time."""

_MADE: Final = "SELECT name, made_of FROM reporting.definitions WHERE to_regclass('reporting.' || name) IS NOT NULL"
_NOTE: Final = """
INSERT INTO reporting.definitions (name, made_of) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET made_of = excluded.made_of
"""
_SHOWN: Final = "SELECT name, table_version FROM read.models WHERE to_regclass('read.' || name) IS NOT NULL"
_READ: Final = re.compile(r"\bread\.([a-z_]+)\b")

_OVER: Final = r"""
SELECT DISTINCT v.relname FROM pg_depend d
JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
JOIN pg_class v ON v.oid = w.ev_class JOIN pg_class r ON d.refclassid = 'pg_class'::regclass AND r.oid = d.refobjid
WHERE v.relnamespace = 'reporting'::regnamespace AND r.relnamespace = 'read'::regnamespace
    AND regexp_replace(r.relname, '_v[0-9]+$', '') = ANY($1::text[])
ORDER BY v.relname
"""
_END_READERS: Final = """
SELECT pg_terminate_backend(a.pid, 1000) FROM pg_stat_activity a JOIN reporting.logins l ON l.login = a.usename
WHERE a.datname = current_database() AND a.xact_start < clock_timestamp() - make_interval(secs => $1)
"""


def view_sql(report: Report, versions: Mapping[str, int]) -> str:
    """The view with its comments and rights, over these versions of the read models' tables. A barrier: no condition of
    a reader's sees a row of another tenant.
    """
    view = f"{SCHEMA}.{report.name}"
    columns = ",\n    ".join(f"{column.sql} AS {column.name}" for column in report.columns)
    rows = _READ.sub(
        lambda found: f"({BY_NAME[found[1]].view.format(table=f'{found[0]}_v{versions[found[1]]}')})",
        report.rows("(SELECT reporting.tenant())"),
    )
    lines = [
        f"CREATE VIEW {view} WITH (security_barrier = true) AS\nSELECT {columns}\n{rows}",
        f"COMMENT ON VIEW {view} IS {_quoted(report.about)}",
        *(f"COMMENT ON COLUMN {view}.{column.name} IS {_quoted(column.about)}" for column in report.columns),
        f"GRANT SELECT ON {view} TO {REPORTERS}",
    ]
    return ";\n".join(lines) + ";\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _made_of(script: str) -> str:
    return hashlib.sha256(script.encode()).hexdigest()


async def _scripts(owner: Connection) -> dict[str, str]:
    """What makes each view now; of those whose read models are all shown."""
    versions = {record["name"]: record["table_version"] for record in await owner.fetch(_SHOWN)}
    return {report.name: view_sql(report, versions) for report in REPORTS if report.read_models <= versions.keys()}


async def renew(owner: Connection, *, lock_timeout_ms: int) -> None:
    """Make what is missing or was made by another text, and drop what is no report any more; safe to run by several
    processes at once. A view that somebody reads all the while is left for the next time.
    """
    try:
        async with owner.transaction():
            await owner.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            await owner.execute(f"SET LOCAL lock_timeout = {lock_timeout_ms}")
            made = {record["name"]: record["made_of"] for record in await owner.fetch(_MADE)}
            wanted = {name: _made_of(script) for name, script in (await _scripts(owner)).items()}
            await _drop(owner, sorted(name for name, text in made.items() if wanted.get(name) != text))
            await make(owner, [report for report in REPORTS if made.get(report.name) != wanted.get(report.name)])
    except asyncpg.LockNotAvailableError:
        log.info("reports_still_in_use")


async def make(owner: Connection, reports: Iterable[Report]) -> None:
    """Make these views; one whose read models are another release's comes with their swap."""
    scripts = await _scripts(owner)
    for report in reports:
        try:
            async with owner.transaction():
                script = scripts[report.name]
                await owner.execute(f"DROP VIEW IF EXISTS {SCHEMA}.{report.name};\n{script}")
                await owner.execute(_NOTE, report.name, _made_of(script))
        except (KeyError, *_OTHER_LAYOUT) as error:
            log.info("report_waits_for_its_read_models", report=report.name, why=str(error))


async def drop_over(owner: Connection, read_models: frozenset[str]) -> None:
    """Drop the views that rest on these read models' views, whichever release made them. Until the transaction is over
    nobody makes others over them.
    """
    await owner.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    await _drop(owner, [record["relname"] for record in await owner.fetch(_OVER, sorted(read_models))])


async def _drop(owner: Connection, names: list[str]) -> None:
    for name in names:
        await owner.execute(f'DROP VIEW IF EXISTS {SCHEMA}."{name}"')
    await owner.execute("DELETE FROM reporting.definitions WHERE name = ANY($1::text[])", names)


async def end_long_readers(owner: Connection) -> None:
    """End the sessions that have read a report for longer than PATIENCE_S, or leave a transaction open: a swap would
    wait for them, and everybody else for the swap.
    """
    ended = await owner.fetch(_END_READERS, PATIENCE_S)
    if ended:
        log.warning("reports_ended_for_a_swap", sessions=len(ended))
