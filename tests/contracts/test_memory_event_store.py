"""The in-memory event store keeps the contract."""

import copy
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from domain import commands
from domain.kernel.access import AccessChange, AccessKey
from infra.event_store.memory import MemoryDueWork, MemoryLog, MemoryStorage, MemoryStore
from infra.event_store.port import CredentialKind
from infra.event_store.writer import GroupCommitWriter
from infra.settings import WriterSettings
from schemas.codec import default_codec
from testing.requests import TENANT
from tests.contracts.access_contract import AccessContract
from tests.contracts.counter_stream import HANDLERS, CounterCodec
from tests.contracts.due_work_contract import DueWorkContract
from tests.contracts.event_store_contract import EventStoreContract
from tests.contracts.rehearsal_contract import RehearsalContract, RehearsingCell
from tests.contracts.together_contract import TogetherContract


class MemoryCell:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.log = MemoryLog(self.store)
        self.due_work = MemoryDueWork(self.store)
        self.writers: list[GroupCommitWriter] = []

    def open_writer(self, **limits: int) -> GroupCommitWriter:
        writer = GroupCommitWriter(
            MemoryStorage(self.store), handlers=HANDLERS, codec=CounterCodec(), settings=WriterSettings(**limits)
        )
        self.writers.append(writer)
        return writer

    def domain_writer(self) -> GroupCommitWriter:
        writer = GroupCommitWriter(
            MemoryStorage(self.store), handlers=commands.HANDLERS, codec=default_codec(), settings=WriterSettings()
        )
        self.writers.append(writer)
        return writer

    async def everything(self) -> object:
        store = self.store
        kept = (store.events, store.streams, store.results, store.claims, store.work, store.people, store.personal)
        return copy.deepcopy((kept, store.terms, store.access, store.credentials, store.snapshots))

    async def access(self) -> Mapping[AccessKey, AccessChange]:
        return dict(self.store.access)

    async def credentials(self) -> Mapping[tuple[CredentialKind, str], bytes]:
        return dict(self.store.credentials)

    async def person_rows(self, person_id: str) -> tuple[int, Sequence[str]]:
        references = sorted(key[2] for key in self.store.personal if key[:2] == (TENANT, person_id))
        return int((TENANT, person_id) in self.store.people), references


@pytest.fixture
async def cell() -> AsyncIterator[RehearsingCell]:
    cell = MemoryCell()
    yield cell
    for writer in cell.writers:
        await writer.close()


class TestMemoryEventStore(EventStoreContract, DueWorkContract, AccessContract, RehearsalContract, TogetherContract):
    pass
