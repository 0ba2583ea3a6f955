"""The call of `log.append` (infra/migrations/repeatable/append.sql): a batch as the function's arguments, by name.

The order of the function's parameters is nobody's business, and a parameter that it gains with a default can be left
out: the processes of the release before go on writing while a new one is rolled out.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Final

from infra.event_store.port import ENVELOPE_VALUES, Envelope
from infra.event_store.storage import AccessRow, CredentialRow, ReadRow, ResultRow, StreamRow, TermsRow, Write

Arguments = dict[str, Any]


class _NoTexts(str):
    """No texts, as the text of an array: the driver looks at every element of an array, at a text once."""

    __slots__ = ()


class _NoIntegers(str):
    """No integers, as the text of an array."""

    __slots__ = ()


_NO_TEXTS: Final = _NoTexts("{}")
_NO_INTEGERS: Final = _NoIntegers("{}")
_ENVELOPE: Final = tuple(field.name for field in fields(Envelope))
_CASTS: Final[Mapping[type, str]] = {_NoTexts: "::text::text[]", _NoIntegers: "::text::int[]"}


def arguments(write: Write, *, clock_apart_max: timedelta) -> Arguments:
    """What a batch comes to; always the same names in the same order."""
    found = _NOTHING.copy()
    for name, columns in _GROUPS.items():
        rows = getattr(write, name)
        if rows:  # most batches have few of the groups
            found.update(columns(rows))
    found["batch_decided_at"] = write.decided_at
    found["clock_apart_max"] = clock_apart_max
    return found


def _streams(rows: Sequence[StreamRow]) -> Arguments:
    tenants, types, ids, versions, changes = _transposed(rows, 5)
    return {
        "stream_tenants": _texts(tenants),
        "stream_types": _texts(types),
        "stream_ids": _texts(ids),
        "stream_versions": _integers(versions),
        "stream_changes": _integers(changes),
    }


def _reads(rows: Sequence[ReadRow]) -> Arguments:
    tenants, types, ids, versions = _transposed(rows, 4)
    return {
        "read_tenants": _texts(tenants),
        "read_types": _texts(types),
        "read_ids": _texts(ids),
        "read_versions": _integers(versions),
    }


def _results(rows: Sequence[ResultRow]) -> Arguments:
    tenants, keys, hashes, refusals, answers, people, upto, events = _transposed(rows, 8)
    return {
        "result_tenants": _texts(tenants),
        "result_keys": _texts(keys),
        "result_hashes": b"".join(hashes),
        "result_refusals": _texts([code or "" for code in refusals]),
        **_bytes("result_answers", "answer", answers, none=-1),
        "result_people": _texts([person or "" for person in people]),
        "result_upto": _integers(upto),
        "result_events": _integers(events),
    }


def _events(rows: Sequence[Envelope]) -> Arguments:
    values = _transposed([ENVELOPE_VALUES(row) for row in rows], len(_ENVELOPE))
    columns = dict(zip(_ENVELOPE, values, strict=True))
    times: dict[datetime, int] = {}  # each once, in order, with its place
    places = [times.setdefault(time, len(times) + 1) for time in columns["effective_at"]]
    return {
        "event_ids": _texts(columns["event_id"]),
        "event_tenants": _texts(columns["tenant_id"]),
        "event_streams": _texts(columns["stream_type"]),
        "event_stream_ids": _texts(columns["stream_id"]),
        "event_versions": _integers(columns["stream_version"]),
        "event_types": _texts(columns["event_type"]),
        "event_schemas": _integers(columns["schema_id"]),
        **_bytes("event_payloads", "payload", columns["payload"], none=0),
        **_bytes("event_postings", "postings", columns["postings"], none=0),
        **_bytes("event_decisions", "decision", columns["decision"], none=0),
        "event_keys": _texts(columns["partition_key"]),
        "event_times": list(times),
        "event_time_places": _integers(places),
        "event_correlations": _texts(columns["correlation_id"]),
        "event_causations": _texts([causation or "" for causation in columns["causation_id"]]),
        "event_actors": _texts(columns["actor"]),
    }


def _search_terms(rows: Sequence[TermsRow]) -> Arguments:
    """As `_access`. Of a person who was changed twice, the last ones count."""
    newest = {row[:2]: row.digests for row in rows}
    told = [
        {"tenant": tenant_id, "person": person_id, "digests": digests}
        for (tenant_id, person_id), digests in newest.items()
    ]
    return {"search_terms": json.dumps(told) if rows else None}


def _access(rows: Sequence[AccessRow | CredentialRow]) -> Arguments:
    """Few batches have any, and those a handful: one document, null where there is none."""
    return {
        "access_changes": json.dumps([_access_row(row) for row in rows], default=datetime.isoformat) if rows else None
    }


def _access_row(row: AccessRow | CredentialRow) -> dict[str, Any]:
    if isinstance(row, AccessRow):
        return {"table": row.change.table, "tenant_id": row.tenant_id, **asdict(row.change)}
    kind, subject, digest, keeps = row.credential
    text = f"\\x{digest.hex()}"
    return {"table": kind.value, "tenant_id": row.tenant_id, "subject": subject, "digest": text, "keeps": keeps}


def _transposed(rows: Sequence[tuple[Any, ...]], width: int) -> Sequence[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _columns(group: str, *names: str) -> Callable[[Sequence[tuple[Any, ...]]], Arguments]:
    """The columns of a group's rows, as they are."""
    arguments = [f"{group}_{name}" for name in names]
    return lambda rows: dict(zip(arguments, _transposed(rows, len(arguments)), strict=True))


def _texts(column: Sequence[str]) -> str:
    if not column:
        return _NO_TEXTS
    all_in_one = "".join(column)
    if '"' in all_in_one or "\\" in all_in_one:
        column = [text.replace("\\", "\\\\").replace('"', '\\"') for text in column]
    return '{"' + '","'.join(column) + '"}'


def _integers(numbers: Sequence[int]) -> str:
    return f"{{{str([*numbers])[1:-1]}}}" if numbers else _NO_INTEGERS


def _bytes(name: str, part: str, column: Sequence[bytes | None], *, none: int) -> Arguments:
    """Byte strings end to end, with where each starts (from 1) and its length (`none` for None)."""
    lengths = [none if content is None else len(content) for content in column]
    *starts, _ = accumulate(lengths if none == 0 else (max(length, 0) for length in lengths), initial=1)
    return {
        name: b"".join(filter(None, column)),
        f"{part}_starts": _integers(starts),
        f"{part}_lengths": _integers(lengths),
    }


_GROUPS: Final[Mapping[str, Callable[[Any], Arguments]]] = {
    "streams": _streams,
    "reads": _reads,
    "results": _results,
    "events": _events,
    "freed": _columns("freed", "tenants", "kinds", "values", "owners"),
    "absent": _columns("absent", "tenants", "kinds", "values"),
    "taken": _columns("taken", "tenants", "kinds", "values", "owners"),
    "finished": _columns("done", "tenants", "kinds", "subjects"),
    "scheduled": _columns(
        "work", "tenants", "kinds", "subjects", "due", "after_ms", "clocks", "causes", "correlations"
    ),
    "erased": _columns("erased", "tenants", "people"),
    "keys": _columns("key", "tenants", "people", "wrapped", "salts"),
    "personal": _columns("data", "tenants", "people", "references", "sealed"),
    "access": _access,
    "terms": _search_terms,
}
"""What a `Write` holds, and the arguments that it comes to."""
_NOTHING: Final[Arguments] = {
    **{name: empty for columns in _GROUPS.values() for name, empty in columns(()).items()},
    "batch_decided_at": datetime.min.replace(tzinfo=UTC),
    "clock_apart_max": timedelta(),
}
APPEND: Final = (
    "SELECT base, recorded FROM log.append("  # noqa: S608  names, numbers and casts only
    + ", ".join(
        f"{name} => ${place}{_CASTS.get(type(value), '')}"
        for place, (name, value) in enumerate(_NOTHING.items(), start=1)
    )
    + ")"
)
