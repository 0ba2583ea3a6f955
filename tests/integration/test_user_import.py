"""Users of another system come in by a file, with the passwords that they have; as often as it is tried, once."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import bcrypt
import pytest

from cli.line_file import Unreadable
from cli.user_file import FileUser, read_users
from cli.user_import import Came, CannotImport, Imported, import_users
from domain.identity.permissions import Role
from domain.identity.team import MEMBERS_MAX
from infra.identity.profiles import profile_of
from infra.settings import vault_master_key
from infra.vault import Vault
from testing.api_client import Api, running_api
from testing.people import PASSWORD, admin, program
from testing.services import FreshDatabase

HASH: Final = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(rounds=4)).decode()
ADA, BOB, CAT = "ada@example.com", "bob@example.com", "cat@example.com"
PEOPLE: Final = (
    {"email": BOB, "name": "Bob", "password_hash": HASH, "role": "billing_viewer"},
    {"email": ADA, "name": "Ada Lovelace", "password_hash": HASH, "role": "Admin"},
    {"email": CAT},
)


@pytest.fixture
async def api(database: FreshDatabase) -> AsyncIterator[Api]:
    async with running_api(database) as running:
        await running.tenant("acme")
        yield running


def file_of(folder: Path, people: Sequence[Mapping[str, object]]) -> Path:
    path = folder / "people.jsonl"
    path.write_text("\n".join(json.dumps(each) for each in people), encoding="utf-8")
    return path


def read(folder: Path, people: Sequence[Mapping[str, object]] = PEOPLE) -> Sequence[FileUser]:
    users, wrong = read_users(file_of(folder, people))
    assert wrong == []
    return users


async def run(api: Api, users: Sequence[FileUser], *, is_dry: bool = False, tenant: str = "acme") -> list[Imported]:
    told: list[int] = []
    done = await import_users(
        api.database.dsn,
        api.parts.settings,
        users,
        tenant_id=tenant,
        default_role=Role.VIEWER,
        is_dry=is_dry,
        tell=told.append,
    )
    assert told == sorted(told)
    assert told[-1:] == ([len(users)] if users else [])
    return list(done)


def came(done: Sequence[Imported]) -> list[Came]:
    return [each.came for each in done]


async def roles(api: Api) -> dict[str, str]:
    """Who is a member of acme, by address."""
    found = {}
    vault = Vault(vault_master_key(api.parts.settings))
    rows = await api.parts.access_pool.fetch("SELECT user_id, role FROM access.memberships WHERE tenant_id = 'acme'")
    async with api.parts.reader.of("platform") as connection:
        for user_id, role in rows:
            found[(await profile_of(vault, connection, user_id)).text("email")] = role
    return found


async def test_who_is_imported_signs_in_with_the_password_that_they_have(api: Api, tmp_path: Path) -> None:
    assert came(await run(api, read(tmp_path))) == [Came.NEW] * 3
    assert await roles(api) == {ADA: "admin", BOB: "viewer", CAT: "viewer"}
    hashes = "SELECT count(*) FROM access.passwords WHERE starts_with(convert_from(hash, 'UTF8'), '$2b$')"
    assert await api.parts.access_pool.fetchval(hashes) == 2
    asks = await program(api, ADA)
    me = (await asks.send("GET", "/v1/auth/me")).json()
    assert (me["user"]["name"], me["role"]) == ("Ada Lovelace", "admin")
    assert await api.parts.access_pool.fetchval(hashes) == 1, "replaced when they sign in"
    await program(api, ADA)
    body = {"email": CAT, "password": PASSWORD, "kind": "program"}
    refused = await api.http.post("/v1/auth/login", json=body)
    assert refused.json()["code"] == "wrong_credentials", "without a hash there is no password yet"


async def test_an_import_that_is_run_again_changes_nothing(api: Api, tmp_path: Path) -> None:
    first = await run(api, read(tmp_path))
    head = await api.head()
    again = await run(api, read(tmp_path))
    assert came(again) == [Came.ALREADY] * 3
    assert [each.user_id for each in again] == [each.user_id for each in first]
    assert await api.head() == head


async def test_an_import_that_was_cut_off_does_what_is_left(api: Api, tmp_path: Path) -> None:
    users = read(tmp_path)
    await run(api, users[1:2])
    # Cut off between the user and their membership: as far as anybody can tell, they are of another tenant.
    await admin(api, BOB, tenant="other")
    assert came(await run(api, users)) == [Came.JOINED, Came.ALREADY, Came.NEW]
    assert await roles(api) == {ADA: "admin", BOB: "viewer", CAT: "viewer"}


async def test_two_imports_at_once_make_each_user_once(api: Api, tmp_path: Path) -> None:
    users = read(tmp_path, [*PEOPLE, *({"email": f"user{number}@example.com"} for number in range(40))])
    both = await asyncio.gather(run(api, users), run(api, users))
    assert not [each for done in both for each in done if each.came is Came.REFUSED]
    assert [each.user_id for each in both[0]] == [each.user_id for each in both[1]]
    assert await api.parts.access_pool.fetchval("SELECT count(*) FROM access.users") == len(users)
    assert len(await roles(api)) == len(users)


async def test_who_is_there_keeps_password_and_role(api: Api, tmp_path: Path) -> None:
    await admin(api, BOB)
    other = bcrypt.hashpw(b"another sentence of words", bcrypt.gensalt(rounds=4)).decode()
    (done,) = await run(api, read(tmp_path, [{"email": "BOB@example.com", "password_hash": other, "role": "user"}]))
    assert done.came is Came.OTHER_ROLE
    assert await roles(api) == {BOB: "admin"}
    await program(api, BOB)


async def test_a_dry_run_says_what_would_be_done_and_does_nothing(api: Api, tmp_path: Path) -> None:
    await admin(api, BOB, tenant="other")
    head = await api.head()
    assert came(await run(api, read(tmp_path), is_dry=True)) == [Came.JOINED, Came.NEW, Came.NEW]
    assert await api.head() == head
    assert await roles(api) == {}


async def test_a_team_without_an_admin_and_no_tenant_at_all_are_told_before_anything_is_done(
    api: Api, tmp_path: Path
) -> None:
    head = await api.head()
    with pytest.raises(CannotImport, match="begins with an admin"):
        await run(api, read(tmp_path, [{"email": CAT}]))
    with pytest.raises(CannotImport, match="no tenant nobody"):
        await run(api, read(tmp_path), tenant="nobody")
    assert await api.head() == head


async def test_what_a_team_refuses_is_told_of_its_line(api: Api, tmp_path: Path) -> None:
    users = read(tmp_path, [{"email": f"user{number}@example.com", "role": "admin"} for number in range(MEMBERS_MAX)])
    await admin(api, ADA)
    done = await run(api, users)
    assert came(done).count(Came.NEW) == MEMBERS_MAX - 1
    (refused,) = [each for each in done if each.came is Came.REFUSED]
    assert refused.reason == "team_full"


def test_csv_and_json_are_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(
        "\ufeffrole,email,name,password_hash\n"
        f'viewer,{BOB},Bob,{HASH}\n"admin",{ADA},"Ada ""A"" Lovelace",\n,{CAT},,\n',
        encoding="utf-8",
    )
    users, wrong = read_users(path)
    assert wrong == []
    assert [(each.email, each.name, each.role, each.password_hash) for each in users] == [
        (BOB, "Bob", Role.VIEWER, HASH.encode()),
        (ADA, 'Ada "A" Lovelace', Role.ADMIN, None),
        (CAT, "", None, None),
    ]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"email": "ada"}, "email: Must be an e-mail address"),
        ({"name": "Ada"}, "email: Must be given"),
        ({"email": ADA, "role": "super_admin"}, "role: Must be one of admin, billing_admin, merchant, user, viewer"),
        ({"email": ADA, "role": "king"}, "role: Must be one of admin, billing_admin, merchant, user, viewer"),
        ({"email": ADA, "password_hash": HASH.replace("$2b$", "$1$")}, "password_hash: a password hash must be one of"),
        ({"email": ADA, "password_hash": "$2b$31$" + HASH[7:]}, "password_hash: a bcrypt hash must have a cost"),
        ({"email": ADA, PASSWORD: "x"}, "There is a field that is none of email, name, password_hash, role"),
        ({"email": ADA, "name": "a\x00b"}, "name: Must hold no control characters"),
        ({"email": ADA, "name": 7}, "name: Must be a string"),
    ],
)
def test_what_is_wrong_is_told_by_its_line_and_never_by_its_value(
    tmp_path: Path, entry: Mapping[str, object], told: str
) -> None:
    users, wrong = read_users(file_of(tmp_path, [{"email": BOB}, entry]))
    assert [each.email for each in users] == [BOB]
    assert len(wrong) == 1
    assert wrong[0].startswith(f"line 2: {told}"), wrong
    for value in (ADA, PASSWORD, HASH[7:]):
        assert value not in wrong[0]


def test_an_address_twice_in_one_file_is_told(tmp_path: Path) -> None:
    users, wrong = read_users(file_of(tmp_path, [{"email": ADA}, {"email": "Ada@Example.COM"}]))
    assert len(users) == 1
    assert wrong == ["line 2: email: It is the address of line 1"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"e-mail,name\nada@example.com,Ada\n", "must name the columns"),
        (b"email,email\nada@example.com,Ada\n", "must name the columns"),
        (b"", "must name the columns"),
        (b"email\n\xff\xfe\n", "not text in UTF-8"),
        (b'email\n"ada@example.com\n', "is no CSV"),
    ],
)
def test_what_is_no_such_file_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=told):
        read_users(path)
    with pytest.raises(Unreadable, match="cannot be read"):
        read_users(tmp_path / "nothing.csv")


def test_lines_that_are_no_entries_are_told(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(f"email,name\n{ADA},Ada,more\n{BOB}\n", encoding="utf-8")
    users, wrong = read_users(path)
    assert users == []
    assert wrong == [f"line {line}: It has not as many values as there are columns" for line in (2, 3)]
    path = tmp_path / "people.jsonl"
    path.write_text(f'[]\n{{"email"\n\n{"[" * 5_000}\n{"x" * 20_000}\n"{ADA}"\n', encoding="utf-8")
    users, wrong = read_users(path)
    assert users == []
    assert [each.partition(":")[0] for each in wrong] == [f"line {line}" for line in (1, 2, 4, 5, 6)]
    assert ADA not in "".join(wrong)
