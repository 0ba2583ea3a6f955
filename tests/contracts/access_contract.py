"""Who may do what changes in the commit of its event, in every event store alike."""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

import pytest

from domain.catalogue import STREAMS
from domain.identity.api_key import CELLS_LIMITS, CreateApiKey, KeyLimits, RevokeApiKey, UpdateApiKey
from domain.identity.foreign_subject import LinkSubject, UnlinkSubject
from domain.identity.permissions import Role
from domain.identity.second_factors import FactorKind
from domain.identity.team import AddMember, ChangeMemberRole, RemoveMember
from domain.identity.tenant import PLATFORM, CreateTenant, ReactivateTenant, SuspendTenant
from domain.identity.user import AddSecondFactor, EraseUser, RegisterUser, RemoveSecondFactor, SuspendUser
from domain.kernel.access import (
    AccessChange,
    AccessKey,
    ApiKeyAccess,
    MembershipAccess,
    TenantAccess,
    UserAccess,
    apply,
)
from domain.kernel.stream import Command
from domain.kernel.tenant_mode import TenantMode
from domain.kernel.unchanged import UNCHANGED
from infra.event_store.port import Credential, CredentialKind, Log, Outcome
from infra.event_store.storage import CredentialMismatch
from infra.event_store.writer import GroupCommitWriter
from schemas.codec import default_codec
from testing.examples.identity import terms
from testing.examples.streams import PERSONAL
from testing.requests import request

ACME, OTHER = "acme", "other"
ONE, TWO = bytes(32), bytes(31) + b"\x01"


class AccessCell(Protocol):
    """One database, or what stands for it, with writers that decide by the domain's own rules."""

    @property
    def log(self) -> Log: ...

    def domain_writer(self) -> GroupCommitWriter:
        """A writer of its own, as another process would have; closed at the end of the test."""
        ...

    async def access(self) -> Mapping[AccessKey, AccessChange]:
        """The rows that say who may do what."""
        ...

    async def credentials(self) -> Mapping[tuple[CredentialKind, str], bytes]:
        """The digests, by what they are and whose."""
        ...


def create_tenant(tenant_id: str = ACME) -> CreateTenant:
    return CreateTenant(tenant_id=tenant_id, name="Acme", mode=TenantMode.TEST)


def create_key(key_id: str, tenant_id: str = ACME) -> CreateApiKey:
    own = terms(expires_at=None, allowed_networks=("192.0.2.0/24",), limits=CELLS_LIMITS)
    return CreateApiKey(tenant_id=tenant_id, key_id=key_id, prefix="abcdefgh", terms=own, by=None)


def digest_of(key_id: str, digest: bytes = ONE) -> Credential:
    return Credential(CredentialKind.API_KEY, key_id, digest)


def register(user_id: str) -> RegisterUser:
    return RegisterUser(user_id=user_id, personal=PERSONAL, is_verified=True)


def email_of(user_id: str, digest: bytes = ONE) -> Credential:
    return Credential(CredentialKind.EMAIL, user_id, digest)


def password_of(user_id: str, digest: bytes = b"$argon2id$1") -> Credential:
    return Credential(CredentialKind.PASSWORD, user_id, digest)


class AccessContract:
    """Subclasses give a `cell` fixture."""

    @pytest.fixture
    def access_cell(self, cell: Any) -> AccessCell:
        found: AccessCell = cell
        return found

    async def folded(self, cell: AccessCell) -> Mapping[AccessKey, AccessChange]:
        """What the log says."""
        rows: dict[AccessKey, AccessChange] = {}
        states: dict[tuple[str, str, str], Any] = {}
        codec = default_codec()
        for recorded in await cell.log.read(after=0, limit=10_000):
            stream = STREAMS[recorded.stream_type]
            key = (recorded.tenant_id, recorded.stream_type, recorded.stream_id)
            event = codec.decode_event(recorded.payload)
            state = states[key] = stream.evolve(states.get(key), event)
            for change in stream.access(event, state) if stream.access else ():
                apply(rows, recorded.tenant_id, change)
        return rows

    async def do(self, cell: AccessCell, *commands: Command, tenant_id: str = ACME) -> None:
        writer = cell.domain_writer()
        for command in commands:
            outcome = await writer.submit(request(command, tenant_id=tenant_id))
            assert outcome.refusal_code is None
        assert await cell.access() == await self.folded(cell)

    async def test_a_tenant_and_its_key_are_there_with_their_events(self, access_cell: AccessCell) -> None:
        cell = access_cell
        await self.do(cell, create_tenant())
        writer = cell.domain_writer()
        await writer.submit(request(create_key("key_1"), credentials=(digest_of("key_1"),)))
        rows = await cell.access()
        assert rows == await self.folded(cell)
        tenant, key = rows["tenants", ACME], rows["api_keys", ACME, "key_1"]
        assert isinstance(tenant, TenantAccess)
        assert (tenant.name, tenant.mode, tenant.suspended_at) == ("Acme", "test", None)
        assert isinstance(key, ApiKeyAccess)
        assert (key.scope, key.allowed_networks) == ("write", ("192.0.2.0/24",))
        assert await cell.credentials() == {(CredentialKind.API_KEY, "key_1"): ONE}

    async def test_later_events_change_the_rows(self, access_cell: AccessCell) -> None:
        cell = access_cell
        limits = KeyLimits(reads_per_hour=5, writes_per_hour=None, admin_per_hour=None)
        await self.do(cell, create_tenant(), SuspendTenant(tenant_id=ACME, reason="unpaid"), create_key("key_1"))
        suspended = (await cell.access())["tenants", ACME]
        assert isinstance(suspended, TenantAccess)
        assert suspended.suspended_at is not None
        await self.do(
            cell,
            ReactivateTenant(tenant_id=ACME),
            UpdateApiKey(
                tenant_id=ACME,
                key_id="key_1",
                name=UNCHANGED,
                allowed_networks=UNCHANGED,
                limits=limits,
                by=None,
            ),
            RevokeApiKey(tenant_id=ACME, key_id="key_1", by=None),
        )
        key = (await cell.access())["api_keys", ACME, "key_1"]
        assert isinstance(key, ApiKeyAccess)
        assert key.reads_per_hour == 5
        assert key.revoked_at is not None

    async def test_a_batch_leaves_the_rows_of_its_last_events(self, access_cell: AccessCell) -> None:
        cell = access_cell
        await self.do(cell, create_tenant())
        writer = cell.domain_writer()
        commands: list[Command] = [
            AddMember(tenant_id=ACME, user_id="user_1", role=Role.ADMIN, by=None),
            AddMember(tenant_id=ACME, user_id="user_2", role=Role.VIEWER, by="user_1"),
            AddMember(tenant_id=ACME, user_id="user_3", role=Role.VIEWER, by="user_1"),
            ChangeMemberRole(tenant_id=ACME, user_id="user_2", role=Role.ADMIN, by="user_1"),
            RemoveMember(tenant_id=ACME, user_id="user_3", by="user_2"),
        ]
        outcomes = await asyncio.gather(*(writer.submit(request(command)) for command in commands))
        refused = [outcome.refusal_code for outcome in outcomes]
        assert refused == [None] * 5, refused
        rows = await cell.access()
        assert rows == await self.folded(cell)
        members = [row for row in rows.values() if isinstance(row, MembershipAccess)]
        assert {row.user_id: row.role for row in members} == {"user_1": Role.ADMIN, "user_2": Role.ADMIN}

    async def test_a_refused_command_leaves_neither_rows_nor_digests(self, access_cell: AccessCell) -> None:
        cell = access_cell
        writer = cell.domain_writer()
        refused = request(create_key("key_1"), credentials=(digest_of("key_1"),))
        outcomes = await asyncio.gather(
            writer.submit(refused), writer.submit(request(create_tenant(OTHER), tenant_id=OTHER))
        )
        assert [outcome.refusal_code for outcome in outcomes] == ["tenant_not_found", None]
        assert set(await cell.access()) == {("tenants", OTHER)}
        assert await cell.credentials() == {}

    async def test_a_digest_is_one_subjects_alone(self, access_cell: AccessCell) -> None:
        cell = access_cell
        await self.do(cell, create_tenant())
        writer = cell.domain_writer()
        await writer.submit(request(create_key("key_1"), credentials=(digest_of("key_1"),)))
        head = await cell.log.head()
        with pytest.raises(CredentialMismatch):
            await writer.submit(request(create_key("key_2"), credentials=(digest_of("key_1"), digest_of("key_2"))))
        with pytest.raises(CredentialMismatch):
            await writer.submit(request(create_key("key_2"), credentials=(digest_of("key_3", TWO),)))
        assert await cell.log.head() == head
        assert await cell.access() == await self.folded(cell)
        assert await cell.credentials() == {(CredentialKind.API_KEY, "key_1"): ONE}

    async def test_of_two_who_register_an_address_at_once_one_does(self, access_cell: AccessCell) -> None:
        cell = access_cell
        users = ("user_1", "user_2")

        async def registered(user_id: str) -> Outcome:
            command = request(register(user_id), tenant_id=PLATFORM, credentials=(email_of(user_id),))
            return await cell.domain_writer().submit(command)

        outcomes = await asyncio.gather(*map(registered, users), return_exceptions=True)
        assert sum(isinstance(outcome, CredentialMismatch) for outcome in outcomes) == 1
        assert len(await cell.access()) == 1
        assert await cell.access() == await self.folded(cell)

    async def test_a_key_is_its_tenants(self, access_cell: AccessCell) -> None:
        cell = access_cell
        await self.do(cell, create_tenant(), create_key("key_1"))
        await self.do(cell, create_tenant(OTHER), tenant_id=OTHER)
        writer = cell.domain_writer()
        with pytest.raises(CredentialMismatch):
            await writer.submit(request(create_key("key_1", OTHER), tenant_id=OTHER))
        with pytest.raises(CredentialMismatch):
            await writer.submit(
                request(create_key("key_2", OTHER), tenant_id=OTHER, credentials=(digest_of("key_1", TWO),))
            )
        assert await cell.access() == await self.folded(cell)

    async def test_who_is_erased_is_known_by_nothing_any_more(self, access_cell: AccessCell) -> None:
        cell = access_cell
        writer = cell.domain_writer()
        known = (email_of("user_1"), password_of("user_1"))
        await writer.submit(request(register("user_1"), tenant_id=PLATFORM, credentials=known))
        changed = request(
            SuspendUser(user_id="user_1"), tenant_id=PLATFORM, credentials=(password_of("user_1", b"$argon2id$2"),)
        )
        await writer.submit(changed)
        assert await cell.credentials() == {
            (CredentialKind.EMAIL, "user_1"): ONE,
            (CredentialKind.PASSWORD, "user_1"): b"$argon2id$2",
        }
        await self.do(cell, EraseUser(user_id="user_1"), tenant_id=PLATFORM)
        assert await cell.credentials() == {}
        assert await cell.access() == {
            ("users", "user_1"): UserAccess(user_id="user_1", status="erased", is_super_admin=False)
        }
        await writer.submit(request(register("user_2"), tenant_id=PLATFORM, credentials=(email_of("user_2"),)))
        assert await cell.credentials() == {(CredentialKind.EMAIL, "user_2"): ONE}

    async def test_a_second_factor_is_there_until_it_is_removed(self, access_cell: AccessCell) -> None:
        cell = access_cell
        added = [AddSecondFactor(user_id="user_1", factor_id=f"fac_{n}", kind=FactorKind.TOTP) for n in (1, 2)]
        await self.do(cell, register("user_1"), *added, tenant_id=PLATFORM)
        assert set(await cell.access()) == {
            ("users", "user_1"),
            ("second_factors", "user_1", "fac_1"),
            ("second_factors", "user_1", "fac_2"),
        }
        await self.do(cell, RemoveSecondFactor(user_id="user_1", factor_id="fac_1"), tenant_id=PLATFORM)
        await self.do(cell, EraseUser(user_id="user_1"), tenant_id=PLATFORM)
        assert set(await cell.access()) == {("users", "user_1")}

    async def test_recovery_codes_come_with_the_first_second_factor_and_go_with_the_last(
        self, access_cell: AccessCell
    ) -> None:
        cell = access_cell
        writer = cell.domain_writer()
        await self.do(cell, register("user_1"), tenant_id=PLATFORM)
        kept = {(CredentialKind.RECOVERY_CODES, "user_1"): ONE + TWO}
        for factor_id, codes in (("fac_1", ONE + TWO), ("fac_2", TWO + TWO)):
            added = AddSecondFactor(user_id="user_1", factor_id=factor_id, kind=FactorKind.TOTP)
            beside = Credential(CredentialKind.RECOVERY_CODES, "user_1", codes)
            await writer.submit(request(added, tenant_id=PLATFORM, credentials=(beside,)))
            assert await cell.credentials() == kept
        await self.do(cell, RemoveSecondFactor(user_id="user_1", factor_id="fac_1"), tenant_id=PLATFORM)
        assert await cell.credentials() == kept
        await self.do(cell, RemoveSecondFactor(user_id="user_1", factor_id="fac_2"), tenant_id=PLATFORM)
        assert await cell.credentials() == {}
        suspend = request(
            SuspendUser(user_id="user_1"),
            tenant_id=PLATFORM,
            credentials=(Credential(CredentialKind.RECOVERY_CODES, "user_1", ONE),),
        )
        with pytest.raises(CredentialMismatch):
            await writer.submit(suspend)

    async def test_a_link_is_there_until_it_or_its_member_is_removed(self, access_cell: AccessCell) -> None:
        cell = access_cell
        users = [AddMember(tenant_id=ACME, user_id=f"user_{n}", role=Role.ADMIN, by=None) for n in (1, 2)]
        links = [
            LinkSubject(
                tenant_id=ACME,
                link_id=f"idl_{n}",
                user_id="user_2",
                issuer="https://login.example.com",
                subject_digest=f"{n}" * 64,
                by="user_1",
            )
            for n in (1, 2)
        ]
        await self.do(cell, create_tenant(), *users, *links)
        assert {key for key in await cell.access() if key[0] == "identity_links"} == {
            ("identity_links", ACME, "idl_1"),
            ("identity_links", ACME, "idl_2"),
        }
        await self.do(cell, UnlinkSubject(tenant_id=ACME, link_id="idl_1", by=None))
        assert {key for key in await cell.access() if key[0] == "identity_links"} == {("identity_links", ACME, "idl_2")}
        await self.do(cell, RemoveMember(tenant_id=ACME, user_id="user_2", by=None))
        assert not {key for key in await cell.access() if key[0] == "identity_links"}

    async def test_of_two_admins_who_remove_each_other_at_once_one_remains(self, access_cell: AccessCell) -> None:
        cell = access_cell
        first, second = cell.domain_writer(), cell.domain_writer()
        for tenant_id in (f"team-{number}" for number in range(10)):
            await self.do(
                cell,
                create_tenant(tenant_id),
                AddMember(tenant_id=tenant_id, user_id="user_1", role=Role.ADMIN, by=None),
                AddMember(tenant_id=tenant_id, user_id="user_2", role=Role.ADMIN, by="user_1"),
                tenant_id=tenant_id,
            )
            one = RemoveMember(tenant_id=tenant_id, user_id="user_2", by="user_1")
            other = RemoveMember(tenant_id=tenant_id, user_id="user_1", by="user_2")
            outcomes = await asyncio.gather(
                first.submit(request(one, tenant_id=tenant_id)), second.submit(request(other, tenant_id=tenant_id))
            )
            assert sorted(outcome.refusal_code or "" for outcome in outcomes) == ["", "not_allowed"]
            left = [key for key in await cell.access() if key[:2] == ("memberships", tenant_id)]
            assert len(left) == 1
        assert await cell.access() == await self.folded(cell)
