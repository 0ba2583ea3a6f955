"""What must not be found where a cell keeps anything: each secret in every form that would give it away, looked for in
all tables, topics, files of the roles, and what they tell of themselves.

Everything is compared without case: an address is known again in lower case, and hexadecimal in either.
"""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

import aiohttp
import asyncpg
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition

from infra.kafka.topics import TopicName, full_name
from testing.processors_cell import Cell

SHORTEST_BYTES: Final = 6
"""What is shorter would be found by chance."""
_PAGE_ROWS: Final = 1_000
_BYTEA: Final = re.compile(rb"\\x((?:[0-9a-f]{2})+)")
_TABLES: Final = """
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (c.relkind IN ('r', 'm') AND NOT c.relispartition OR c.relkind = 'p')
    AND n.nspname NOT LIKE 'pg_%' AND n.nspname <> 'information_schema'
"""
_IS: Final = rb"(?:[^0-9a-z%]|%[0-9a-f]{2}|u00[0-9a-f]{2}){1,16}"
"""What parts a field from its value."""
_DIGESTS: Final = ("md5", "sha1", "sha256", "sha512")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Something that nobody may find. `name` says what it is; `allowed` where it belongs: how the names of
    those places begin.

    `is_guessable`: whoever finds a digest of it finds it by trying, so that a digest without a key is as good as the
    thing itself. Of a random secret a digest is what is kept.
    `field`: it is too short to be looked for by itself, and is known only as the value of a field of this name.
    """

    name: str
    value: bytes
    is_guessable: bool = False
    allowed: Sequence[str] = ()
    field: str = ""

    def found_in(self, content: bytes) -> Iterator[str]:
        """The forms in which it stands in a content in lower case."""
        if self.field:
            if re.search(self.field.encode() + _IS + re.escape(self.value) + rb"(?![0-9a-z])", content):
                yield f"as {self.field}"
            return
        for name, form in self.forms():
            if form in content:
                yield name

    def forms(self) -> Sequence[tuple[str, bytes]]:
        """Every form in which it would be known again, in lower case, with its name."""
        found = list(_encodings(self.value))
        if self.is_guessable:
            for digest in _DIGESTS:
                for value in {self.value, self.value.lower()}:
                    hashed = hashlib.new(digest, value, usedforsecurity=False).digest()
                    found += [(f"{digest}, {name}", form) for name, form in _encodings(hashed)]
        return [(name, form.lower()) for name, form in found]


def trace(name: str, value: str | bytes, *, guessable: bool = False, allowed: Sequence[str] = ()) -> Trace:
    """A trace of a text or of bytes, which must be long enough to mean something."""
    content = value.encode() if isinstance(value, str) else value
    assert len(content) >= SHORTEST_BYTES, f"{name} would be found by chance"
    return Trace(name=name, value=content, is_guessable=guessable, allowed=allowed)


def short_code(name: str, code: str, *, field: str) -> Trace:
    """A trace of a code of a few digits, in the field that it was sent in: JSON, a form or a query, escaped or not.

    By itself it would be found by chance: six digits are the fraction of any time, and every sixth digit of an id.
    """
    return Trace(name=name, value=code.encode(), field=field)


def random_secret(name: str, text: str, *, allowed: Sequence[str] = ()) -> Iterator[Trace]:
    """Traces of a secret in base32: as it is shown, and the bytes that it stands for."""
    yield trace(name, text, allowed=allowed)
    padded = text.upper() + "=" * (-len(text) % 8)
    yield trace(f"{name}, its bytes", base64.b32decode(padded), allowed=allowed)


def _encodings(value: bytes) -> Iterator[tuple[str, bytes]]:
    """Encoded by itself or within a longer text: of base32 and base64, what the neighbours do not change."""
    text = value.decode("utf-8", "replace")
    yield "plain", value
    yield "lower case", text.lower().encode()
    yield "upper case", text.upper().encode()
    yield "UTF-16", text.encode("utf-16-le")
    yield "hex", value.hex().encode()
    yield "escaped", "".join(f"%{byte:02x}" for byte in value).encode()
    yield "path", quote(value).encode()
    yield "urlencoded", quote(value, safe="").encode()
    yield "form", quote_plus(value).encode()
    yield "JSON", json.dumps(text)[1:-1].encode()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + value)
        form = encoded[-(-before * 8 // 6) : (before + len(value)) * 8 // 6]
        yield f"base64, {before} before", form
        yield f"base64url, {before} before", form.translate(bytes.maketrans(b"+/", b"-_"))
    for before in range(5):
        encoded = base64.b32encode(bytes(before) + value)
        yield f"base32, {before} before", encoded[-(-before * 8 // 5) : (before + len(value)) * 8 // 5]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place where something is kept: its kind and name, and all that it holds, in lower case."""

    kind: str
    name: str
    content: bytes


def found_in(place: Place, traces: Sequence[Trace]) -> list[str]:
    """What is in the place and does not belong there: the trace and its form."""
    return [
        f"{place.name}: {each.name} ({name})"
        for each in traces
        if not place.name.startswith(tuple(each.allowed))
        for name in each.found_in(place.content)
    ]


async def places_of(cell: Cell) -> AsyncIterator[Place]:
    """Every place where a cell, which is at rest, keeps or tells anything."""
    async for place in tables_of(cell):
        yield place
    async for place in topics_of(cell):
        yield place
    for place in await asyncio.to_thread(files_of, cell):
        yield place
    async for place in _told_by(cell):
        yield place


async def tables_of(cell: Cell) -> AsyncIterator[Place]:
    """All tables of the database: their rows as text, and each value of bytes in it as it is."""
    assert cell.settings.database.url is not None
    connection = await asyncpg.connect(cell.settings.database.url.get_secret_value())
    try:
        for (table,) in await connection.fetch(_TABLES):
            parts: list[bytes] = []
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                async for row in connection.cursor(f"SELECT t::text FROM {table} t", prefetch=_PAGE_ROWS):  # noqa: S608
                    text = row[0].encode()
                    parts.append(text)
                    parts += [bytes.fromhex(each.decode()) for each in _BYTEA.findall(text)]
            yield Place(kind="table", name=table, content=b"\n".join(parts).lower())
    finally:
        await connection.close()


async def topics_of(cell: Cell) -> AsyncIterator[Place]:
    """All topics: keys, values and headers of their records."""
    kafka = cell.settings.kafka
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        names = {full_name(kafka.topic_prefix, topic): topic.value for topic in TopicName}
        places = [TopicPartition(name, number) for name in names for number in range(kafka.partitions)]
        consumer.assign(places)
        left = sum((await consumer.end_offsets(places)).values())
        parts: dict[str, list[bytes]] = {topic: [] for topic in names.values()}
        while left > 0:
            for place, records in (await consumer.getmany(timeout_ms=200)).items():
                left -= len(records)
                for record in records:
                    parts[names[place.topic]] += [
                        record.key or b"",
                        record.value or b"",
                        *(value for _, value in record.headers),
                    ]
    finally:
        await consumer.stop()
    for topic, records in parts.items():
        yield Place(kind="topic", name=topic, content=b"\n".join(records).lower())


def files_of(cell: Cell) -> list[Place]:
    """All files of the roles: their logs, the gateway's store, what they keep besides."""
    folder = cell.settings.general.data_dir
    return [
        Place(kind="file", name=str(path.relative_to(folder)), content=path.read_bytes().lower())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


def file_of(path: Path) -> Place:
    """A file beside the roles': a server's log."""
    return Place(kind="file", name=path.name, content=path.read_bytes().lower())


async def _told_by(cell: Cell) -> AsyncIterator[Place]:
    """What each role tells anybody who asks: its metrics, its health, and its command line."""
    async with aiohttp.ClientSession() as http:
        for role in cell.supervisor.roles:
            assert role.pid is not None, role.name
            command = " ".join(psutil.Process(role.pid).cmdline())
            yield Place(kind="command line", name=role.name, content=command.encode().lower())
            for path in ("/metrics", "/health", "/health/ready", "/openapi.json"):
                async with http.get(f"http://127.0.0.1:{role.port}{path}") as answer:
                    yield Place(kind=path, name=f"{path} of {role.name}", content=(await answer.read()).lower())
