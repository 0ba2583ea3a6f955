"""Looking for things by what people know of them: ids and their beginnings, numbers, others' ids, names, and words.

Every query asks an index for at most so many rows, under the row security of whoever asks.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from domain.identity.search_terms import is_found, terms_of
from infra.commitments import Person
from infra.vault import Vault
from projections.read_model import ReadModel
from projections.reading import Reader

LAST: Final = "\U0010ffff"
"""Behind every text that begins alike, by code points, as the columns are sorted."""

_EXTERNAL_IDS: Final = """
SELECT kind, owner AS id, value AS said FROM log.claims
WHERE tenant_id = $1 AND kind = $2 AND value >= $3 AND value < $4 ORDER BY value LIMIT $5
"""
# The newest first. Each further term is one probe of the index for each person who has the first.
_PEOPLE: Final = """
SELECT s.person_id AS id FROM vault.search_terms s WHERE s.tenant_id = $1 AND s.digest = $2
    AND NOT EXISTS (
        SELECT FROM unnest($3::bigint[]) AS further (digest) WHERE NOT EXISTS (
            SELECT FROM vault.search_terms t
            WHERE t.tenant_id = $1 AND t.digest = further.digest AND t.person_id = s.person_id))
ORDER BY s.person_id DESC LIMIT $4
"""
_NEWEST: Final = """
SELECT DISTINCT ON (person_id) person_id, reference FROM vault.personal_data
WHERE tenant_id = $1 AND person_id = ANY ($2::text[]) AND starts_with(reference, 'pd_') ORDER BY person_id, written DESC
"""
_TEXTS: Final = "SELECT kind, id, said FROM read.search_texts($1, $2, $3) ORDER BY rank DESC, id DESC LIMIT $3"


class Hit(NamedTuple):
    """Something that was found; `said` is what it says of itself where that was looked at."""

    kind: str
    id: str
    said: str | None


async def ids(connection: Reader, model: ReadModel[Any], tenant_id: str, beginning: str, most: int) -> list[Hit]:
    """Those whose id begins so, the newest first."""
    column = model.key[-1]
    query = (
        f"SELECT {column} AS id FROM read.{model.name} WHERE tenant_id = $1 AND {column} >= $2 "  # noqa: S608
        f"AND {column} < $3 ORDER BY {column} DESC LIMIT $4"
    )
    rows = await connection.fetch(query, tenant_id, beginning, beginning + LAST, most)
    return [Hit(model.name, row["id"], None) for row in rows]


async def numbers(connection: Reader, model: ReadModel[Any], tenant_id: str, beginning: str, most: int) -> list[Hit]:
    """Invoices, or credit notes, whose number begins so."""
    query = (
        f"SELECT {model.key[-1]} AS id, number AS said FROM read.{model.name} WHERE tenant_id = $1 "  # noqa: S608
        "AND number >= $2 AND number < $3 ORDER BY number DESC LIMIT $4"
    )
    rows = await connection.fetch(query, tenant_id, beginning, beginning + LAST, most)
    return [Hit(model.name, row["id"], row["said"]) for row in rows]


async def external_ids(
    connection: Reader, tenant_id: str, kind: str, claim: str, beginning: str, most: int
) -> list[Hit]:
    """What other systems know by an id that begins so."""
    rows = await connection.fetch(_EXTERNAL_IDS, tenant_id, claim, beginning, beginning + LAST, most)
    return [Hit(kind, row["id"], row["said"]) for row in rows]


async def people(connection: Reader, vault: Vault, tenant_id: str, terms: Sequence[str], most: int) -> list[Hit]:
    """Customers who have all of these terms (`domain.identity.search_terms`), the newest first, by what the vault says
    of them now: a read model may lag behind a new name.
    """
    digests = vault.search_digests(tenant_id, terms)
    if not digests:
        return []
    ids = [row[0] for row in await connection.fetch(_PEOPLE, tenant_id, digests[0], list(digests[1:]), most)]
    newest = {row[0]: row[1] for row in await connection.fetch(_NEWEST, tenant_id, ids)}
    opened = await vault.open_many(connection, tenant_id, newest.items())
    known = [(person_id, opened.get((person_id, newest.get(person_id, "")), {})) for person_id in ids]
    # A digest has 64 bits, so two terms may share one: it is the person that decides.
    return [Hit("customers", person_id, _title(person)) for person_id, person in known if _is(person, terms)]


def _is(person: Person, terms: Sequence[str]) -> bool:
    return is_found(terms_of(person.get("name"), person.get("email")), terms)


def _title(person: Person) -> str | None:
    return next((each for name in ("name", "email") if isinstance(each := person.get(name), str)), None)


async def texts(connection: Reader, wanted: str, kinds: Sequence[str], most: int) -> list[Hit]:
    """Things of these read models whose words match, as `websearch_to_tsquery` reads what is wanted; the best first."""
    rows = await connection.fetch(_TEXTS, wanted, list(kinds), most)
    return [Hit(row["kind"], row["id"], row["said"]) for row in rows]
