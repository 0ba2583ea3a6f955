"""After everything that bears a secret was used, no table, topic, log or metric holds a password, token, secret or
address: in plain, encoded, or as a digest that tells it.
"""

from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import pyotp
import pytest

from cli.users import create_admin
from domain.identity.browser import PORTAL_COOKIE
from domain.identity.second_factors import FactorKind
from domain.identity.tenant import PLATFORM
from domain.identity.user import AddSecondFactor
from host.embedded.databases import PostgresServer
from host.embedded.postgres import EmbeddedPostgres
from infra.database import Role, open_pool
from infra.identity.authenticator_apps import AuthenticatorApps
from infra.identity.opening import Identity, open_identity
from infra.identity.recovery_codes import RecoveryCodes
from infra.ids import new_id
from infra.settings import MASTER_KEY_FILE, vault_master_key
from testing.cell import Whole, open_whole
from testing.people import Browser
from testing.processors_cell import Cell, until
from testing.requests import TENANT, request
from testing.services import KafkaServer
from testing.traces import Trace, file_of, found_in, places_of, random_secret, trace

ADA: Final = "ada.quxworth@example.org"
ADAS_PASSWORD: Final = "seven zebras sing to Ada"
EVE: Final = "eve+billing@quxworth.example"
EVES_PASSWORD: Final = "Évora, 9 Löwen & 1 Gnu"
WRONG_PASSWORD: Final = "seven zebras sang to Ada"
NOBODY: Final = "nobody.quxworth@example.net"
PERSON: Final = {
    "name": "Zebulon Quxworth",
    "email": "zebulon.quxworth@example.org",
    "phone": "+49 30 77713377",
    "address": {"line1": "Quxworthgasse 9", "city": "Zebulonia", "country": "DE"},
    "metadata": {"nickname": "quxzeb"},
}
CARD: Final = "tok_visa_then_mastercard"
GATEWAYS_STORE: Final = "gateway/sandbox.sqlite3"
REFUSED: Final = (400, 422)


@dataclass(kw_only=True)
class Scene:
    """A cell, a client of its API, and every secret and address that was seen."""

    whole: Whole
    identity: Identity
    http: httpx2.AsyncClient
    traces: list[Trace] = field(default_factory=list)

    def saw(self, *traces: Trace) -> None:
        self.traces += traces

    def drew(self, name: str, secret: str) -> None:
        """A secret of 256 bits, whose last part is the secret alone."""
        self.saw(*random_secret(name, secret.rpartition("_")[2]))

    async def bearer(self, token: str, method: str, path: str, body: object = None) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": new_id("k_")}
        return await self.http.request(method, path, json=body, headers=headers)


@pytest.fixture
async def scene(
    postgres_server: PostgresServer, template_database: str, kafka_server: KafkaServer, services_folder: Path
) -> AsyncIterator[Scene]:
    async with (
        open_whole(
            postgres_server,
            template_database,
            kafka_server,
            services_folder,
            instances=1,
            # All that anybody can ever have the roles log.
            TALLYBOOK_TELEMETRY_LOG_LEVEL="debug",
        ) as whole,
    ):
        settings = whole.cell.settings
        assert settings.database.url is not None
        pool = await open_pool(settings.database.url.get_secret_value(), Role.ACCESS, settings.database)
        port = next(role.port for role in whole.cell.supervisor.roles if role.role == "api")
        try:
            async with (
                open_identity(settings, pool) as identity,
                httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
            ):
                yield Scene(whole=whole, identity=identity, http=http)
        finally:
            await pool.close()


async def test_nothing_that_is_kept_or_told_holds_a_secret_or_an_address(
    scene: Scene, postgres_server: PostgresServer
) -> None:
    customer_id = await _customers(scene)
    user_id = await _users(scene)
    await _second_factors(scene, user_id)
    await _api_keys(scene)
    await _portal(scene, customer_id)
    await _cells_own(scene)
    await _is_told(scene.whole.cell)
    await scene.whole.at_rest()
    places = [place async for place in places_of(scene.whole.cell)]
    if isinstance(postgres_server, EmbeddedPostgres):
        places.append(file_of(postgres_server.log_file))
    # Each place is really looked into: what must be there is.
    for kind, name, text in (
        ("table", "log.events", customer_id),
        ("topic", "billing.events.v1", customer_id),
        ("file", "roles/logs/api-1.log", '"route":"/v1/customers/{customer_id}"'),
        ("file", "gateway/sandbox.sqlite3", "payment"),
        ("command line", "relay-1", "relay"),
        ("/metrics", "/metrics of processors-1", "tallybook_"),
        ("/metrics", "/metrics of api-1", "tallybook_"),
    ):
        content = b"".join(place.content for place in places if (place.kind, place.name) == (kind, name))
        assert text.encode() in content, (name, sorted(place.name for place in places if place.kind == kind))
    assert [line for place in places for line in found_in(place, scene.traces)] == []


async def _customers(scene: Scene) -> str:
    """A customer who is charged, changed and refunded, and of whom requests tell in places where nobody should."""
    whole = scene.whole
    customer_id, invoice_id = await whole.subscribed(PERSON, token=CARD)
    await whole.cell.reaches(invoice_id, "invoice.paid")
    later = {"email": "zebulon@quxworth.example", "name": "Zebulon Quxworth-Smith"}
    assert (await whole.send("PATCH", f"/v1/customers/{customer_id}", later)).status == 200
    payment = {"customer": customer_id, "amount": {"amount": 700, "currency": "EUR"}, "confirm": True}
    payment_id = (await whole.post("/v1/payments", payment)).id
    await whole.cell.reaches(payment_id, "payment.captured")
    await whole.post("/v1/refunds", {"payment": payment_id, "amount": {"amount": 100, "currency": "EUR"}})
    await whole.cell.reaches(payment_id, "refund.succeeded")
    for refused in (
        {"currency": "EUR", **PERSON, "secret_name": PERSON["name"]},
        {"currency": PERSON["name"], **PERSON},
        {"currency": "EUR", "email": PERSON["name"]},
    ):
        assert (await whole.post("/v1/customers", refused)).status in REFUSED
    assert (await whole.send("GET", f"/v1/customers?email={PERSON['email']}")).status in REFUSED
    assert (await whole.send("GET", f"/v1/{PERSON['email']}")).status == 404
    guessable = {
        **{name: PERSON[name] for name in ("name", "email", "phone")},
        **{f"{k} then": v for k, v in later.items()},
    }
    address = PERSON["address"]
    assert isinstance(address, Mapping)
    guessable |= {"street": address["line1"], "city": address["city"], "nickname": "quxzeb"}
    scene.saw(*(trace(f"a customer's {name}", str(value), guessable=True) for name, value in guessable.items()))
    scene.saw(trace("a card's token", CARD, guessable=True, allowed=[GATEWAYS_STORE]))
    return customer_id


async def _users(scene: Scene) -> str:
    """Users who sign in in every way, and fail to in every way; Eve's id."""
    settings, dsn = scene.whole.cell.settings, scene.whole.cell.settings.database.url
    assert dsn is not None
    where: dict[str, Any] = {"dsn": dsn.get_secret_value(), "settings": settings, "tenant_id": TENANT}
    await create_admin(**where, email=ADA, name="Ada Quxworth", password=ADAS_PASSWORD)
    eve = await create_admin(**where, email=EVE, name="Eve Quxworth", password=EVES_PASSWORD)
    link = await create_admin(**where, email=EVE)
    assert link.token is not None
    scene.drew("a reset's token", link.token)
    for name, value in (("Ada's address", ADA), ("Eve's address", EVE), ("an unknown address", NOBODY)):
        scene.saw(trace(name, value, guessable=True))
    for name, value in (("Ada's", ADAS_PASSWORD), ("Eve's", EVES_PASSWORD), ("a wrong", WRONG_PASSWORD)):
        scene.saw(trace(f"{name} password", value, guessable=True))
    for name in ("Ada Quxworth", "Eve Quxworth"):
        scene.saw(trace("a user's name", name, guessable=True))
    await _in_a_browser(scene)
    await _in_a_program(scene)
    await _badly(scene)
    return eve.user_id


async def _in_a_browser(scene: Scene) -> None:
    page = Browser(http=scene.http)
    assert (await page.log_in(ADA, ADAS_PASSWORD)).status_code == 200
    scene.drew("a session's cookie", page.cookie)
    scene.saw(trace("a session's CSRF token", page.csrf_token))
    assert (await page.send("GET", "/v1/auth/me")).json()["user"]["email"] == ADA
    assert (await page.send("POST", "/v1/products", {"name": "P"})).status_code == 201
    refused = await page.send("POST", "/v1/products", {"name": "P"}, {"X-CSRF-Token": page.cookie})
    assert refused.status_code == 403
    assert (await page.send("POST", "/v1/auth/logout", {})).status_code == 200


async def _in_a_program(scene: Scene) -> None:
    body = {"email": EVE, "password": EVES_PASSWORD, "kind": "program", "tenant": TENANT}
    told = (await scene.http.post("/v1/auth/login", json=body)).json()
    access, refresh = str(told["access_token"]), str(told["refresh_token"])
    scene.saw(trace("an access token's signature", access.rpartition(".")[2]))
    scene.drew("a refresh token", refresh)
    assert (await scene.bearer(access, "GET", "/v1/auth/me")).json()["user"]["email"] == EVE
    assert (await scene.bearer(access[:-3] + "abc", "GET", "/v1/auth/me")).status_code == 401
    # What belongs into a header or a body, in the URL: a mistake of many clients.
    for path in (f"/v1/products?access_token={access}", f"/v1/products?refresh_token={refresh}"):
        assert (await scene.bearer(access, "GET", path)).status_code in REFUSED
    assert (await scene.bearer(access, "GET", f"/v1/{refresh}")).status_code == 404
    assert (await scene.bearer(refresh, "GET", "/v1/products")).status_code == 401


async def _badly(scene: Scene) -> None:
    async def refused(body: Mapping[str, object], *statuses: int) -> None:
        answer = await scene.http.post("/v1/auth/login", json=body)
        assert answer.status_code in statuses, answer.text

    program = {"kind": "program"}
    await refused({**program, "email": ADA, "password": WRONG_PASSWORD}, 401)
    await refused({**program, "email": NOBODY, "password": ADAS_PASSWORD}, 401)
    await refused({**program, "email": ADAS_PASSWORD, "password": ADA}, *REFUSED)
    await refused({**program, "email": ADA, "password": ADAS_PASSWORD, ADAS_PASSWORD: ADA}, *REFUSED)
    await refused({"kind": ADAS_PASSWORD, "email": ADA, "password": ADAS_PASSWORD}, *REFUSED)
    await refused({**program, "email": ADA, "password": ADAS_PASSWORD, "tenant": ADA}, *REFUSED, 403)
    broken = f'{{"email": "{ADA}", "password": "{ADAS_PASSWORD}", "kind": program}}'
    answer = await scene.http.post("/v1/auth/login", content=broken, headers={"Content-Type": "application/json"})
    assert answer.status_code in REFUSED


async def _second_factors(scene: Scene, user_id: str) -> None:
    """An authenticator app and recovery codes, as the edge keeps them."""
    identity, now = scene.identity, scene.identity.clock()
    apps = AuthenticatorApps(identity.pool, identity.keyring)
    offer = await apps.offer(user_id, account=EVE, name="phone", now=now)
    code = pyotp.TOTP(offer.secret).at(now)
    assert await apps.confirm(user_id, offer.factor_id, code, now)
    added = AddSecondFactor(user_id=user_id, factor_id=offer.factor_id, kind=FactorKind.TOTP)
    outcome = await scene.whole.cell.writer.submit(request(added, tenant_id=PLATFORM))
    assert outcome.refusal_code is None
    scene.saw(*random_secret("an app's secret", offer.secret))
    codes: Sequence[str] = await RecoveryCodes(identity.pool, identity.keyring).make(user_id)
    for each in codes:
        scene.saw(trace("a recovery code", each, guessable=True))
        scene.saw(trace("a recovery code without its dash", each.replace("-", ""), guessable=True))


async def _api_keys(scene: Scene) -> None:
    """A key that is made, used, changed for its successor, refused and revoked."""
    whole = scene.whole
    scene.drew("the tenant's first key", whole.key)
    made = await whole.post("/v1/api-keys", {"name": "reads", "scope": "read"}, key="make-a-key")
    key, key_id = str(made.body.get("secret")), made.id
    scene.drew("a key", key)
    again = await whole.post("/v1/api-keys", {"name": "reads", "scope": "read"}, key="make-a-key")
    assert again.body["secret"] is None
    assert (await scene.bearer(key, "GET", "/v1/products")).status_code == 200
    assert (await scene.bearer(key, "POST", "/v1/products", {"name": "P"})).status_code == 403
    assert (await scene.bearer(key, "GET", f"/v1/products?api_key={key}")).status_code in REFUSED
    assert (await scene.bearer(f"{key[:-1]}?", "GET", "/v1/products")).status_code == 401
    successor = (await whole.post(f"/v1/api-keys/{key_id}/rotate", {"overlap_hours": 0})).body
    scene.drew("a key's successor", str(successor["secret"]))
    assert (await scene.bearer(key, "GET", "/v1/products")).status_code == 401
    assert (await whole.post(f"/v1/api-keys/{successor['id']}/revoke", {})).status == 200


async def _portal(scene: Scene, customer_id: str) -> None:
    """A customer who enters by a link, changes their address and leaves."""
    made = (await scene.whole.post(f"/v1/customers/{customer_id}/portal-sessions", {})).body
    code = str(made["code"])
    scene.drew("a portal link's code", code)
    visitor = Browser(http=scene.http, keeps=PORTAL_COOKIE)
    assert (await visitor.send("POST", "/v1/portal/login", {"code": code})).status_code == 200
    scene.drew("a visit's cookie", visitor.cookie)
    scene.saw(trace("a visit's CSRF token", visitor.csrf_token))
    moved = {"email": "zeb@quxworth.example"}
    scene.saw(trace("a customer's newest address", moved["email"], guessable=True))
    assert (await visitor.send("PATCH", f"/v1/customers/{customer_id}", moved)).status_code == 200
    used = await visitor.send("POST", "/v1/portal/login", {"code": code}, {"Cookie": "a=b"})
    assert used.status_code == 401
    assert (await visitor.send("POST", "/v1/portal/logout", {})).status_code == 200


async def _cells_own(scene: Scene) -> None:
    """The master key, and the keys that sign."""
    master_key = vault_master_key(scene.whole.cell.settings)
    scene.saw(trace("the master key", master_key, allowed=[MASTER_KEY_FILE]))
    keys = await scene.identity.signing.at(scene.identity.clock())
    assert keys.can_sign
    for each in keys.keys:
        private = each.key.as_dict(private=True)
        for name in ("d", "p", "q"):
            number = str(private[name])
            scene.saw(trace(f"a signing key's {name}", number))
            scene.saw(trace(f"a signing key's {name}, its bytes", urlsafe_b64decode(number + "==")))
        scene.saw(trace("a signing key", each.key.as_der(private=True)))


async def _is_told(cell: Cell) -> None:
    """The auth log is written a moment after the requests that it tells of."""

    async def written() -> bool:
        rows = await cell.pool.fetch("SELECT DISTINCT kind FROM access.auth_events")
        return {row[0] for row in rows} >= {"logged_in", "log_in_failed", "request_refused"}

    await until(written, "the auth log")
