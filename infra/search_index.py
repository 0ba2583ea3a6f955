"""The search index made anew: what people are found by from the vault, and the indexes of texts from their tables.

People first: each is looked at, and whoever is found by other digests than the vault says gets theirs written anew,
some at a time and under the log's head, so that a name that changes at the same moment comes before or after, never
between. It may be broken off anywhere and begun again: who is right already is only read.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import asyncpg

from domain.identity.search_terms import terms_of
from domain.kernel.identifiers import CUSTOMER, PERSONAL_DATA
from infra.database import Pool
from infra.vault import Unsealable, Vault

READ_AT_ONCE: Final = 500
WRITTEN_AT_ONCE: Final = 100
"""People whose digests are written under one lock of the log's head: a few milliseconds in which no event is."""

Progress = Callable[[int, int], None]
"""Told how many people are looked at, and of how many."""
PersonId = tuple[str, str]
"""Tenant and person."""
_Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

_COUNT: Final = "SELECT count(*) FROM vault.people WHERE starts_with(person_id, $1)"
_PAGE: Final = """
SELECT tenant_id, person_id FROM vault.people
WHERE (tenant_id, person_id) > ($1, $2) AND starts_with(person_id, $3) ORDER BY tenant_id, person_id LIMIT $4
"""
_FOUND_BY: Final = """
SELECT p.tenant_id, p.person_id, d.reference, p.wrapped_key, d.sealed, ARRAY (
    SELECT s.digest FROM vault.search_terms s
    WHERE s.tenant_id = p.tenant_id AND s.person_id = p.person_id ORDER BY s.digest) AS digests
FROM unnest($1::text[], $2::text[]) AS w (tenant_id, person_id) JOIN vault.people p USING (tenant_id, person_id)
LEFT JOIN LATERAL (
    SELECT d.reference, d.sealed FROM vault.personal_data d
    WHERE d.tenant_id = p.tenant_id AND d.person_id = p.person_id AND starts_with(d.reference, $3)
    ORDER BY d.written DESC LIMIT 1) AS d ON true
"""
_DROP: Final = """
DELETE FROM vault.search_terms s USING unnest($1::text[], $2::text[]) AS w (tenant_id, person_id)
WHERE s.tenant_id = w.tenant_id AND s.person_id = w.person_id
"""
_ADD: Final = """
INSERT INTO vault.search_terms (tenant_id, digest, person_id) SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[])
"""
_TEXT_INDEXES: Final = """
SELECT format('%I.%I', n.nspname, c.relname) AS name, i.indisvalid AS is_valid
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_am a ON a.oid = c.relam
WHERE n.nspname = 'read' AND a.amname = 'gin' AND (i.indisvalid OR c.relname ~ '_cc(new|old)[0-9]*$')
ORDER BY c.relname
"""


@dataclass(slots=True)
class Remade:
    """What was done. `unreadable` are people whose data do not open with this master key: they were left as they were,
    as `tenant/person`.
    """

    people: int = 0
    changed: int = 0
    unreadable: list[str] = field(default_factory=list)


async def remake_people(pool: Pool, vault: Vault, *, progress: Progress) -> Remade:
    """Have everybody found by what the vault says of them. The pool's role is the owner's."""
    remade = Remade()
    total = await pool.fetchval(_COUNT, CUSTOMER)
    progress(0, total)
    after: PersonId = ("", "")
    while page := [(row[0], row[1]) for row in await pool.fetch(_PAGE, *after, CUSTOMER, READ_AT_ONCE)]:
        async with pool.acquire() as connection:
            wrong, unreadable = await _wrong(connection, vault, page)
            remade.unreadable += [f"{tenant_id}/{person_id}" for tenant_id, person_id in unreadable]
            for start in range(0, len(wrong), WRITTEN_AT_ONCE):
                some = list(wrong)[start : start + WRITTEN_AT_ONCE]
                remade.changed += await _rewrite(connection, vault, some)
        after = page[-1]
        remade.people += len(page)
        progress(remade.people, max(total, remade.people))
    return remade


async def _rewrite(connection: _Connection, vault: Vault, people: Sequence[PersonId]) -> int:
    """Write the digests of these people, by what the vault says of them under the lock; how many were wrong."""
    async with connection.transaction():
        await connection.execute("SELECT FROM log.head FOR UPDATE")
        # Only in a later statement: one that locks and reads at once would read what was there before it waited.
        wrong, _ = await _wrong(connection, vault, people)
        tenants, persons = [each[0] for each in wrong], [each[1] for each in wrong]
        await connection.execute(_DROP, tenants, persons)
        rows = [(tenant_id, digest, person_id) for (tenant_id, person_id), all_ in wrong.items() for digest in all_]
        if rows:
            await connection.execute(_ADD, *zip(*rows, strict=True))
    return len(wrong)


async def _wrong(
    connection: _Connection, vault: Vault, people: Sequence[PersonId]
) -> tuple[dict[PersonId, tuple[int, ...]], list[PersonId]]:
    """Those who are found by other digests than they should be, with those; and those whose data do not open."""
    tenants, persons = [each[0] for each in people], [each[1] for each in people]
    wrong: dict[PersonId, tuple[int, ...]] = {}
    unreadable: list[PersonId] = []
    for tenant_id, person_id, reference, key, sealed, found in await connection.fetch(
        _FOUND_BY, tenants, persons, PERSONAL_DATA
    ):
        try:
            person = {} if reference is None else vault.unseal(tenant_id, person_id, reference, key, sealed)
        except Unsealable:
            unreadable.append((tenant_id, person_id))
            continue
        digests = vault.search_digests(tenant_id, terms_of(person.get("name"), person.get("email")))
        if list(digests) != found:
            wrong[tenant_id, person_id] = digests
    return wrong, unreadable


async def remake_texts(connection: _Connection) -> list[str]:
    """Make the indexes of texts anew, while they are searched and written; their names. The role is the owner's.

    What a run that was broken off has left behind is dropped first.
    """
    await connection.execute("SET statement_timeout = 0; SET transaction_timeout = 0")
    remade = []
    for name, is_valid in await connection.fetch(_TEXT_INDEXES):
        if not is_valid:
            await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            continue
        # A read model may be swapped for a newer one meanwhile, whose indexes are new.
        with contextlib.suppress(asyncpg.UndefinedObjectError, asyncpg.UndefinedTableError):
            await connection.execute(f"REINDEX INDEX CONCURRENTLY {name}")
            remade.append(name)
    return remade
