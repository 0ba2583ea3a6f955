"""A cell in which everything that bears a secret or an address is used, and misused as clients do; what was seen of
them is kept, to be looked for.
"""

import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

import bcrypt
import httpx2

from cli.user_file import FileUser
from cli.user_import import import_users
from cli.users import create_admin
from domain.identity.browser import PORTAL_COOKIE
from domain.identity.permissions import Role
from infra.identity.one_time_tokens import Grant, Purpose
from infra.identity.opening import Identity
from infra.ids import new_id
from infra.settings import MASTER_KEY_FILE, vault_master_key
from testing.cell import Whole
from testing.people import Browser
from testing.processors_cell import until
from testing.requests import TENANT
from testing.traces import Trace, random_secret, trace

ADA: Final = "ada.quxworth@example.org"
EVE: Final = "eve+billing@quxworth.example"
DAN: Final = "dan.quxworth@example.com"
CARL: Final = "carl.quxworth@example.com"
DORA: Final = "dora.quxworth@example.com"
FAY: Final = "fay.quxworth@example.com"
GUS: Final = "gus.quxworth@example.com"
NOBODY: Final = "nobody.quxworth@example.net"
ADDRESSES: Final = {
    "Ada's": ADA,
    "Eve's": EVE,
    "Dan's": DAN,
    "Carl's": CARL,
    "Dora's": DORA,
    "Fay's": FAY,
    "Gus's": GUS,
    "an unknown": NOBODY,
}
PASSWORDS: Final = {
    "Ada's": "seven zebras sing to Ada",
    "Ada's second": "eight zebras sing to Ada",
    "Ada's third": "nine zebras sing to Ada",
    "Eve's": "Évora, 9 Löwen & 1 Gnu",
    "Dan's": "ten zebras sing to Dan",
    "Carl's": "Carl's zebras do not sing",
    "Fay's": "eleven zebras sing to Fay",
    "a wrong": "seven zebras sang to Ada",
}
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


LETTERS: Final = "mail"
"""The folder that stands for a mail server: a letter bears its address, and its link the token."""


@dataclass(kw_only=True)
class Scene:
    """A cell, a client of its API, and every secret and address that was seen."""

    whole: Whole
    identity: Identity
    http: httpx2.AsyncClient
    traces: list[Trace] = field(default_factory=list)

    def saw(self, *traces: Trace) -> None:
        self.traces += traces

    def drew(self, name: str, secret: str, *, allowed: Sequence[str] = ()) -> None:
        """A secret of 256 bits, whose last part is the secret alone."""
        self.saw(*random_secret(name, secret.rpartition("_")[2], allowed=allowed))

    async def letter_to(self, address: str, about: str) -> str:
        """Wait for a letter; the token in its link, if it has one."""
        folder = self.whole.cell.settings.general.data_dir / LETTERS
        found: list[str] = []

        async def came() -> bool:
            letters = [each.read_text() for each in folder.glob("*.eml")]
            found.extend(each for each in letters if f"To: {address}" in each and about in each)
            return bool(found)

        await until(came, f"a letter to {address}: {about}")
        token = re.search("#token=([a-z2-7]+)", found[0])
        return token[1] if token else ""

    async def bearer(self, token: str, method: str, path: str, body: object = None) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": new_id("k_")}
        return await self.http.request(method, path, json=body, headers=headers)


async def customers(scene: Scene) -> str:
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
    found = await whole.send("GET", f"/v1/search?q={quote(later['email'])}")
    assert customer_id.encode() in found.content
    for nobody in (PERSON["email"], later["name"] + " junior"):
        assert (await whole.send("GET", f"/v1/search?q={quote(str(nobody))}")).status == 200
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


async def users(scene: Scene) -> None:
    """Users who sign in in every way, and fail to in every way."""
    settings, dsn = scene.whole.cell.settings, scene.whole.cell.settings.database.url
    assert dsn is not None
    where: dict[str, Any] = {"dsn": dsn.get_secret_value(), "settings": settings, "tenant_id": TENANT}
    ada = await create_admin(**where, email=ADA, name="Ada Quxworth", password=PASSWORDS["Ada's"])
    await create_admin(**where, email=EVE, name="Eve Quxworth", password=PASSWORDS["Eve's"])
    link = await create_admin(**where, email=EVE, link=Purpose.RESET_PASSWORD)
    assert link.token is not None
    scene.drew("the operator's link", link.token)
    for name, address in ADDRESSES.items():
        scene.saw(trace(f"{name} address", address, guessable=True, allowed=[LETTERS]))
    for name, password in PASSWORDS.items():
        scene.saw(trace(f"{name} password", password, guessable=True))
    for name in ("Ada Quxworth", "Eve Quxworth", "Dan Quxworth", "Fay Quxworth"):
        scene.saw(trace("a user's name", name, guessable=True))
    await _in_a_browser(scene, ada.user_id)
    await _in_a_program(scene)
    await _by_letters(scene)
    await _invited(scene)
    await _imported(scene, where)
    await _badly(scene)


async def _in_a_browser(scene: Scene, user_id: str) -> None:
    page = Browser(http=scene.http)
    assert (await page.log_in(ADA, PASSWORDS["Ada's"])).status_code == 200
    scene.drew("a session's cookie", page.cookie)
    scene.saw(trace("a session's CSRF token", page.csrf_token))
    assert (await page.send("GET", "/v1/auth/me")).json()["user"]["email"] == ADA
    assert (await page.send("POST", "/v1/products", {"name": "P"})).status_code == 201
    refused = await page.send("POST", "/v1/products", {"name": "P"}, {"X-CSRF-Token": page.cookie})
    assert refused.status_code == 403
    for password, status in ((PASSWORDS["a wrong"], 403), (PASSWORDS["Ada's"], 200)):
        body = {"password": password}
        assert (await page.send("POST", "/v1/auth/confirm-password", body)).status_code == status
    scene.drew("a cookie after the password was confirmed", page.cookie)
    changed = {"current_password": PASSWORDS["Ada's"], "new_password": PASSWORDS["Ada's second"]}
    assert (await page.send("POST", "/v1/auth/change-password", changed)).status_code == 200
    scene.drew("a cookie after the password was changed", page.cookie)
    phone = "+49 30 66613366"
    scene.saw(trace("a user's telephone", phone, guessable=True))
    assert (await page.send("PATCH", "/v1/auth/profile", {"phone": phone})).json()["phone"] == phone
    assert (await page.send("POST", "/v1/auth/logout", {})).status_code == 200
    grant = Grant(purpose=Purpose.FIRST_LOG_IN, subject_id=user_id)
    token = await scene.identity.one_time.make(grant, lasts=timedelta(minutes=10), now=scene.identity.clock())
    scene.drew("a link that signs in", token)
    page = Browser(http=scene.http)
    assert (await page.send("POST", "/v1/auth/login-link", {"token": token})).status_code == 200
    scene.drew("the cookie of a link", page.cookie)


async def _in_a_program(scene: Scene) -> None:
    body = {"email": EVE, "password": PASSWORDS["Eve's"], "kind": "program", "tenant": TENANT}
    told = (await scene.http.post("/v1/auth/login", json=body)).json()
    first = str(told["refresh_token"])
    for _ in range(2):
        access, refresh = str(told["access_token"]), str(told["refresh_token"])
        scene.saw(trace("an access token's signature", access.rpartition(".")[2]))
        scene.drew("a refresh token", refresh)
        told = (await scene.http.post("/v1/auth/refresh", json={"refresh_token": refresh})).json()
    assert (await scene.bearer(access, "GET", "/v1/auth/me")).json()["user"]["email"] == EVE
    assert (await scene.bearer(access[:-3] + "abc", "GET", "/v1/auth/me")).status_code == 401
    # What belongs into a header or a body, in the URL: a mistake of many clients.
    for path in (f"/v1/products?access_token={access}", f"/v1/products?refresh_token={refresh}"):
        assert (await scene.bearer(access, "GET", path)).status_code in REFUSED
    assert (await scene.bearer(access, "GET", f"/v1/{refresh}")).status_code == 404
    assert (await scene.bearer(refresh, "GET", "/v1/products")).status_code == 401
    assert (await scene.http.post("/v1/auth/refresh", json={"refresh_token": first})).status_code == 401
    await scene.letter_to(EVE, "used twice")
    assert (await scene.bearer(access, "GET", "/v1/auth/me")).status_code == 401


async def _by_letters(scene: Scene) -> None:
    """Whoever registers and verifies their address, and whoever forgot their password."""
    new = {"email": DAN, "password": PASSWORDS["Dan's"], "name": "Dan Quxworth"}
    assert (await scene.http.post("/v1/auth/register", json=new)).status_code == 202
    token = await scene.letter_to(DAN, "Is this your address")
    scene.drew("a verification's token", token, allowed=[LETTERS])
    proof = {"token": token, "password": PASSWORDS["Dan's"]}
    assert (await scene.http.post("/v1/auth/verify-email", json=proof)).status_code == 200
    assert (await scene.http.post("/v1/auth/register", json=new)).status_code == 202
    await scene.letter_to(DAN, "registered already")
    for address in (NOBODY, ADA):
        assert (await scene.http.post("/v1/auth/forgot-password", json={"email": address})).status_code == 202
    token = await scene.letter_to(ADA, "Choose another password")
    scene.drew("a reset's token", token, allowed=[LETTERS])
    body = {"token": token, "password": PASSWORDS["Ada's third"]}
    assert (await scene.http.post("/v1/auth/reset-password", json=body)).status_code == 200
    again = {"token": token, "password": PASSWORDS["a wrong"]}
    assert (await scene.http.post("/v1/auth/reset-password", json=again)).status_code >= 400
    assert (await scene.http.get(f"/v1/auth/verify-email?token={token}")).status_code >= 400


async def _invited(scene: Scene) -> None:
    """One who is invited and comes, and one who has not come yet."""
    for address in (FAY, GUS):
        made = await scene.whole.post("/v1/invitations", {"email": address, "role": "viewer"}, key=f"to-{address[:3]}")
        assert made.status == 201, made.body
        token = await scene.letter_to(address, "Join")
        scene.drew("an invitation's token", token, allowed=[LETTERS])
        again = await scene.whole.post("/v1/invitations", {"email": address, "role": "viewer"}, key=f"to-{address[:3]}")
        assert address.encode() not in again.content
        body = {"token": token, "email": FAY, "password": PASSWORDS["Fay's"], "name": "Fay Quxworth"}
        answer = await scene.http.post("/v1/auth/accept-invitation", json=body)
        assert (answer.status_code == 200) == (address == FAY), answer.text
    assert GUS.encode() in (await scene.whole.send("GET", "/v1/invitations")).content
    assert FAY.encode() in (await scene.whole.send("GET", "/v1/users")).content


async def _imported(scene: Scene, where: Mapping[str, Any]) -> None:
    """Users of another system: one signs in and gets a hash of ours, the other has not yet."""
    people = []
    for line, address in enumerate((CARL, DORA), start=1):
        made = bcrypt.hashpw(PASSWORDS["Carl's"].encode(), bcrypt.gensalt(rounds=4))
        people.append(FileUser(line=line, email=address, name="", password_hash=made, role=None))
        scene.saw(trace(f"the hash of line {line}", made, allowed=["access.passwords"] * (address == DORA)))
    await import_users(
        where["dsn"],
        where["settings"],
        people,
        tenant_id=TENANT,
        default_role=Role.USER,
        is_dry=False,
        tell=lambda _done: None,
    )
    body = {"email": CARL, "password": PASSWORDS["Carl's"], "kind": "program"}
    assert (await scene.http.post("/v1/auth/login", json=body)).status_code == 200


async def _badly(scene: Scene) -> None:
    async def refused(body: Mapping[str, object], *statuses: int) -> None:
        answer = await scene.http.post("/v1/auth/login", json=body)
        assert answer.status_code in statuses, answer.text

    program, password = {"kind": "program"}, PASSWORDS["Ada's third"]
    await refused({**program, "email": ADA, "password": PASSWORDS["a wrong"]}, 401)
    await refused({**program, "email": NOBODY, "password": password}, 401)
    await refused({**program, "email": password, "password": ADA}, *REFUSED)
    await refused({**program, "email": ADA, "password": password, password: ADA}, *REFUSED)
    await refused({"kind": password, "email": ADA, "password": password}, *REFUSED)
    await refused({**program, "email": ADA, "password": password, "tenant": ADA}, *REFUSED, 403)
    broken = f'{{"email": "{ADA}", "password": "{password}", "kind": program}}'
    answer = await scene.http.post("/v1/auth/login", content=broken, headers={"Content-Type": "application/json"})
    assert answer.status_code in REFUSED


async def foreign_subjects(scene: Scene) -> None:
    """A member whom a tenant links to how another issuer names them, again under the same key, and wrongly."""
    whole = scene.whole
    people: Any = (await whole.send("GET", "/v1/users")).body["data"]
    user_id = next(each["id"] for each in people if each["email"] == FAY)
    subject, issuer = "fay.subject@quxworth.example", "https://login.example.com"
    scene.saw(trace("a foreign subject", subject, guessable=True))
    body = {"user": user_id, "issuer": issuer, "subject": subject}
    for _ in range(2):
        assert (await whole.post("/v1/identity-links", body, key="link-fay")).status == 201
    await scene.letter_to(FAY, "act as you")
    assert (await whole.post("/v1/identity-links", body)).status == 409
    for wrong in ({"user": subject}, {"subject": [subject]}, {"issuer": subject, subject: issuer}, {"more": subject}):
        assert (await whole.post("/v1/identity-links", {**body, **wrong})).status in REFUSED
    assert (await whole.send("GET", f"/v1/identity-links/{subject}")).status == 404
    assert (await whole.send("GET", f"/v1/identity-links?subject={quote(subject)}")).status in REFUSED


async def api_keys(scene: Scene) -> None:
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


async def portal(scene: Scene, customer_id: str) -> None:
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


async def documents(scene: Scene, customer_id: str) -> None:
    """An invoice's PDF, made and sent by a link, which is also used as clients misuse it."""
    line = {"description": "Set-up", "amount": {"amount": 100, "currency": "EUR"}}
    draft = await scene.whole.post("/v1/invoices", {"customer": customer_id, "currency": "EUR", "lines": [line]})
    path = f"/v1/invoices/{draft.id}"
    assert (await scene.whole.post(f"{path}/finalize", {})).status == 200
    url = str((await scene.whole.post(f"{path}/pdf-link", {})).body["url"])
    token = url.rpartition("/")[2]
    scene.saw(trace("a link to a document", token))
    opened = await scene.http.get(f"/v1/invoice-pdfs/{token}")
    assert opened.content == (await scene.bearer(scene.whole.key, "GET", f"{path}/pdf")).content
    assert opened.content.startswith(b"%PDF")
    assert (await scene.http.get(f"/v1/invoice-pdfs/{token[:-2]}AA")).status_code == 404
    assert (await scene.http.get(f"/v1/invoice-pdfs?token={token}")).status_code == 404
    assert (await scene.bearer(token, "GET", path)).status_code == 401


async def cells_own(scene: Scene) -> None:
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
