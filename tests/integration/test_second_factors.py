"""Second factors on a real database: codes of apps, passkeys, recovery codes; each is taken once."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyotp
import pytest

from domain.identity.second_factors import FactorKind
from domain.identity.tenant import PLATFORM
from domain.identity.user import AddSecondFactor, EraseUser, RegisterUser, RemoveSecondFactor
from domain.kernel.stream import Command
from infra.database import Pool
from infra.event_store.opening import open_writer
from infra.event_store.port import Credential, CredentialKind
from infra.event_store.storage import CredentialMismatch
from infra.identity.authenticator_apps import AuthenticatorApps
from infra.identity.factor_proofs import proofs_of
from infra.identity.keyring import Keyring
from infra.identity.passkeys import Passkeys, PasskeySite
from infra.identity.recovery_codes import RecoveryCodes
from infra.settings import WriterSettings
from testing.authenticator import Authenticator
from testing.credentials import DAY, MASTER_KEY, NOW, Credentials, open_credentials
from testing.examples.identity import ADA, BOB
from testing.examples.streams import PERSONAL
from testing.requests import request
from testing.services import FreshDatabase

ORIGIN = "https://billing.example.com"
STEP = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """All of them, over one database, with Ada and Bob as users."""

    dsn: str
    credentials: Credentials
    apps: AuthenticatorApps
    passkeys: Passkeys
    recovery: RecoveryCodes

    @property
    def pool(self) -> Pool:
        return self.credentials.pool

    async def do(self, command: Command, *credentials: Credential) -> None:
        writer = open_writer(self.dsn, WriterSettings())
        try:
            asked = request(command, tenant_id=PLATFORM, credentials=credentials)
            assert (await writer.submit(asked)).refusal_code is None
        finally:
            await writer.close()

    async def app_of(self, user_id: str) -> pyotp.TOTP:
        """An app that is the user's second factor, its code of NOW taken by the confirmation."""
        offer = await self.apps.offer(user_id, account="ada@example.com", name="phone", now=NOW)
        app = pyotp.TOTP(offer.secret)
        assert await self.apps.confirm(user_id, offer.factor_id, app.at(NOW), NOW)
        await self.do(AddSecondFactor(user_id=user_id, factor_id=offer.factor_id, kind=FactorKind.TOTP))
        return app

    async def passkey_of(self, user_id: str, device: Authenticator) -> str:
        options = await self.passkeys.offer(user_id, account="ada@example.com", now=NOW)
        factor_id = await self.passkeys.keep(user_id, device.create(options), name="stick", now=NOW)
        assert factor_id is not None
        await self.do(AddSecondFactor(user_id=user_id, factor_id=factor_id, kind=FactorKind.PASSKEY))
        return factor_id

    async def takes_code(self, user_id: str, code: str, now: datetime) -> bool:
        return await self.apps.check(user_id, await proofs_of(self.pool, user_id), code, now)

    async def takes_passkey(self, user_id: str, answer: str, now: datetime) -> bool:
        return await self.passkeys.check(user_id, await proofs_of(self.pool, user_id), answer, now)

    async def replaced_codes(self, user_id: str) -> Sequence[str]:
        codes = await self.recovery.replace(user_id)
        assert codes is not None
        return codes

    async def secrets(self) -> int:
        found: int = await self.pool.fetchval("SELECT count(*) FROM access.factor_secrets")
        return found


@pytest.fixture
async def factors(database: FreshDatabase) -> AsyncIterator[Factors]:
    keyring = Keyring(MASTER_KEY)
    async with open_credentials(database.dsn) as opened:
        made = Factors(
            dsn=database.dsn,
            credentials=opened,
            apps=AuthenticatorApps(opened.pool, keyring),
            passkeys=Passkeys(opened.pool, opened.one_time, PasskeySite(origin=ORIGIN)),
            recovery=RecoveryCodes(opened.pool, keyring),
        )
        for user_id in (ADA, BOB):
            await made.do(RegisterUser(user_id=user_id, personal=PERSONAL, is_verified=True))
        yield made


async def test_a_code_of_an_app_is_good_for_its_time_and_once(factors: Factors) -> None:
    app = await factors.app_of(ADA)
    assert not await factors.takes_code(ADA, app.at(NOW), NOW)  # taken by the confirmation
    later = NOW + 10 * STEP
    assert not await factors.takes_code(ADA, app.at(later), later + 2 * STEP)
    assert not await factors.takes_code(ADA, app.at(later + 2 * STEP), later)
    code = app.at(later)
    found = await asyncio.gather(*(factors.takes_code(ADA, code, later) for _ in range(20)))
    assert sum(found) == 1
    # The one before is over with it, even within the time in which a clock may be apart.
    assert not await factors.takes_code(ADA, app.at(later - STEP), later)
    assert await factors.takes_code(ADA, f" {app.at(later + STEP)[:3]} {app.at(later + STEP)[3:]}", later)


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "0" * 1_000_000, "12345\n"])
async def test_what_has_not_the_form_of_a_code_is_none(factors: Factors, code: str) -> None:
    await factors.app_of(ADA)
    assert not await factors.takes_code(ADA, code, NOW + DAY)


async def test_a_code_is_its_users_alone(factors: Factors) -> None:
    app = await factors.app_of(ADA)
    await factors.app_of(BOB)
    assert not await factors.takes_code(BOB, app.at(NOW + DAY), NOW + DAY)


async def test_an_app_that_was_only_offered_proves_nothing(factors: Factors) -> None:
    offer = await factors.apps.offer(ADA, account="ada@example.com", name="phone", now=NOW)
    app = pyotp.TOTP(offer.secret)
    assert not await factors.takes_code(ADA, app.at(NOW), NOW)
    assert not await factors.apps.confirm(BOB, offer.factor_id, app.at(NOW), NOW)
    assert not await factors.apps.confirm(ADA, offer.factor_id, app.at(NOW + DAY), NOW)
    assert await factors.apps.confirm(ADA, offer.factor_id, app.at(NOW), NOW)
    assert not await factors.takes_code(ADA, app.at(NOW + DAY), NOW + DAY)  # not in the log yet


async def test_the_secret_of_an_app_lies_sealed(factors: Factors) -> None:
    offer = await factors.apps.offer(ADA, account="ada@example.com", name="phone", now=NOW)
    assert offer.uri.startswith("otpauth://totp/Tallybook:ada%40example.com?")
    sealed = await factors.pool.fetchval("SELECT sealed FROM access.factor_secrets")
    assert offer.secret.encode() not in sealed
    assert pyotp.TOTP(offer.secret).byte_secret() not in sealed


@pytest.mark.parametrize("counts", [True, False])
async def test_a_passkey_answers_each_challenge_once(factors: Factors, *, counts: bool) -> None:
    device = Authenticator(ORIGIN, counts=counts)
    await factors.passkey_of(ADA, device)
    for _ in range(3):
        options = await factors.passkeys.ask(ADA, NOW)
        assert options is not None
        answer = device.get(options)
        found = await asyncio.gather(*(factors.takes_passkey(ADA, answer, NOW) for _ in range(10)))
        assert sum(found) == 1


async def test_a_passkey_is_its_users_alone(factors: Factors) -> None:
    ada, bob = Authenticator(ORIGIN), Authenticator(ORIGIN)
    await factors.passkey_of(ADA, ada)
    await factors.passkey_of(BOB, bob)
    options = await factors.passkeys.ask(ADA, NOW)
    assert options is not None
    assert not await factors.takes_passkey(BOB, ada.get(options), NOW)
    theirs, own = await factors.passkeys.ask(ADA, NOW), await factors.passkeys.ask(BOB, NOW)
    assert theirs is not None
    assert own is not None
    # Bob's challenge, signed by Ada's device.
    assert not await factors.takes_passkey(BOB, ada.get({**theirs, "challenge": own["challenge"]}), NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"origin": "https://billing.example.com.evil.example"},
        {"origin": "http://billing.example.com"},
        {"type": "webauthn.create"},
        {"challenge": "AAAA"},
        {"rp_id": "evil.example"},
        {"flags": 0},
    ],
)
async def test_what_was_signed_for_another_page_or_by_nobody_is_refused(
    factors: Factors, changed: dict[str, object]
) -> None:
    device = Authenticator(ORIGIN)
    await factors.passkey_of(ADA, device)
    options = await factors.passkeys.ask(ADA, NOW)
    assert options is not None
    assert not await factors.takes_passkey(ADA, device.get(options, **changed), NOW)  # type: ignore[arg-type]


async def test_a_copied_device_is_noticed_by_its_count(factors: Factors) -> None:
    device = Authenticator(ORIGIN)
    await factors.passkey_of(ADA, device)
    for uses, is_taken in ((5, True), (5, False), (2, False), (9, True)):
        options = await factors.passkeys.ask(ADA, NOW)
        assert options is not None
        device.uses = uses - 1
        assert await factors.takes_passkey(ADA, device.get(options), NOW) is is_taken


async def test_a_challenge_is_over_after_five_minutes(factors: Factors) -> None:
    device = Authenticator(ORIGIN)
    await factors.passkey_of(ADA, device)
    options = await factors.passkeys.ask(ADA, NOW)
    assert options is not None
    assert not await factors.takes_passkey(ADA, device.get(options), NOW + timedelta(minutes=5))


async def test_an_answer_to_no_offer_of_ours_makes_no_passkey(factors: Factors) -> None:
    device = Authenticator(ORIGIN)
    options = await factors.passkeys.offer(ADA, account="ada@example.com", now=NOW)
    assert await factors.passkeys.keep(BOB, device.create(options), name="stick", now=NOW) is None
    options = await factors.passkeys.offer(ADA, account="ada@example.com", now=NOW)
    other = device.create(options, origin="https://evil.example")
    assert await factors.passkeys.keep(ADA, other, name="stick", now=NOW) is None
    options = await factors.passkeys.offer(ADA, account="ada@example.com", now=NOW)
    answer = device.create(options)
    assert await factors.passkeys.keep(ADA, answer, name="stick", now=NOW) is not None
    assert await factors.passkeys.keep(ADA, answer, name="stick", now=NOW) is None
    assert await factors.passkeys.ask(ADA, NOW) is None  # not in the log yet


@pytest.mark.parametrize(
    "answer",
    ["", "{}", "[]", "null", "[" * 10_000, json.dumps({"response": {"clientDataJSON": "e30"}}), '{"response":1}', "x"],
)
async def test_hostile_answers_are_refused(factors: Factors, answer: str) -> None:
    await factors.passkey_of(ADA, Authenticator(ORIGIN))
    assert not await factors.takes_passkey(ADA, answer, NOW)
    assert await factors.passkeys.keep(ADA, answer, name="stick", now=NOW) is None


async def test_answers_with_parts_of_other_kinds_are_refused(factors: Factors) -> None:
    device = Authenticator(ORIGIN)
    await factors.passkey_of(ADA, device)
    for part in ("id", "rawId", "type", "response", "authenticatorData", "signature"):
        others: tuple[object, ...] = (None, 1, "", "AA", [], {})
        for other in others:
            options = await factors.passkeys.ask(ADA, NOW)
            assert options is not None
            answer = json.loads(device.get(options))
            place = answer if part in answer else answer["response"]
            place[part] = other
            assert not await factors.takes_passkey(ADA, json.dumps(answer), NOW), (part, other)


async def test_a_recovery_code_is_good_once_and_for_its_user(factors: Factors) -> None:
    await factors.app_of(ADA)
    codes = await factors.replaced_codes(ADA)
    assert len(set(codes)) == 10
    assert not await factors.recovery.take(BOB, codes[0], NOW)
    found = await asyncio.gather(*(factors.recovery.take(ADA, codes[0], NOW) for _ in range(10)))
    assert sum(found) == 1
    assert await factors.recovery.take(ADA, codes[1].upper().replace("-", " "), NOW)
    assert await factors.recovery.left(ADA) == 8
    again = await factors.replaced_codes(ADA)
    assert not await factors.recovery.take(ADA, codes[2], NOW)
    assert await factors.recovery.take(ADA, again[2], NOW)


async def test_recovery_codes_come_in_the_commit_of_the_first_factor_or_not_at_all(factors: Factors) -> None:
    assert await factors.recovery.replace(ADA) is None, "there is nothing that they could stand in for"
    first, further = factors.recovery.draw(ADA), factors.recovery.draw(ADA)
    stranger = Credential(CredentialKind.EMAIL, "user_0000000000000000000000000z", bytes(32))
    added = AddSecondFactor(user_id=ADA, factor_id="fac_1", kind=FactorKind.TOTP)
    codes = Credential(CredentialKind.RECOVERY_CODES, ADA, first.digests)
    with pytest.raises(CredentialMismatch):
        await factors.do(added, codes, stranger)
    assert (await proofs_of(factors.pool, ADA), await factors.recovery.left(ADA)) == ([], 0)
    await factors.do(added, codes)
    assert await factors.recovery.are_kept(ADA, first)
    assert await factors.recovery.take(ADA, first.codes[0], NOW)
    second = AddSecondFactor(user_id=ADA, factor_id="fac_2", kind=FactorKind.TOTP)
    await factors.do(second, Credential(CredentialKind.RECOVERY_CODES, ADA, further.digests))
    assert not await factors.recovery.are_kept(ADA, further)
    assert await factors.recovery.left(ADA) == 9, "those that there are stay as they were"


async def test_of_lists_that_are_asked_for_at_once_one_is_good(factors: Factors) -> None:
    await factors.app_of(ADA)
    lists = await asyncio.gather(*(factors.replaced_codes(ADA) for _ in range(8)))
    assert await factors.recovery.left(ADA) == 10
    assert sum([await factors.recovery.take(ADA, codes[0], NOW) for codes in lists]) == 1


async def test_a_device_whose_passkey_became_no_factor_may_try_again(factors: Factors) -> None:
    """Who is killed between keeping the key and the event has an offer, which is not to be taken for a factor."""
    device = Authenticator(ORIGIN)
    options = await factors.passkeys.offer(ADA, account="ada@example.com", now=NOW)
    assert await factors.passkeys.keep(ADA, device.create(options), name="stick", now=NOW) is not None
    assert (await factors.passkeys.offer(ADA, account="ada@example.com", now=NOW))["excludeCredentials"] == []
    await factors.passkey_of(ADA, device)
    assert len((await factors.passkeys.offer(ADA, account="ada@example.com", now=NOW))["excludeCredentials"]) == 1


async def test_what_proves_a_factor_goes_with_it(factors: Factors) -> None:
    await factors.app_of(ADA)
    stick = await factors.passkey_of(ADA, Authenticator(ORIGIN))
    await factors.replaced_codes(ADA)
    await factors.do(RemoveSecondFactor(user_id=ADA, factor_id=stick))
    assert await factors.secrets() == 1
    assert await factors.recovery.left(ADA) == 10
    await factors.do(EraseUser(user_id=ADA))
    assert await factors.secrets() == 0
    assert await factors.recovery.left(ADA) == 0
