"""Tokens of foreign issuers at the API: whoever is linked acts by their role here, and everybody else is a stranger."""

import base64
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc import jws
from joserfc.jwk import KeySet, RSAKey

from api.letters import identity_linked, identity_unlinked
from cli.identity_links import link_subject, tell_member, unlink_subject
from domain.identity.permissions import Role
from domain.identity.team import AddMember, ChangeMemberRole, RemoveMember
from domain.identity.user import EraseUser, ReactivateUser, SuspendUser
from domain.kernel.stream import Command
from infra.clock import system_clock
from infra.settings import ApiSettings, AuthSettings, GeneralSettings
from testing.api_client import Api, Client, running_api
from testing.mailbox import keep_letters, letters
from testing.people import admin
from testing.requests import request
from testing.services import FreshDatabase

ISSUER, OTHER_ISSUER = "https://login.example.com", "https://sso.example.org"
ADA, BOB = "ada@example.com", "bob@example.com"
PRODUCT = {"name": "P"}
NO_CACHE = ApiSettings(key_cache_s=0, anonymous_rate_per_min=100_000, log_ins_per_min=100_000)


@dataclass(kw_only=True)
class Scene:
    """An API that believes two issuers, and a tenant with Ada, an ADMIN."""

    api: Api
    keys: dict[str, RSAKey]
    acme: Client
    ada: str

    def token(self, sub: str = "00u1", *, iss: str = ISSUER, header: object = None, key: str = "", **more: Any) -> str:
        """A token that `iss` has signed, or that looks so."""
        now = int(system_clock().timestamp())
        claims = {"iss": iss, "aud": "tallybook-api", "sub": sub, "iat": now, "exp": now + 600, **more}
        signing = key or iss
        head = header or {"alg": "RS256", "kid": self.keys[signing].kid, "typ": "JWT"}
        text = f"{b64(head)}.{b64(claims)}"
        proof = jws.JWSRegistry.algorithms["RS256"].sign(text.encode(), self.keys[signing])
        return f"{text}.{base64.urlsafe_b64encode(proof).decode().rstrip('=')}"

    async def ask(
        self, token: str, method: str = "POST", path: str = "/v1/products", body: object = None, tenant: str = ""
    ) -> httpx2.Response:
        """Ask with a token."""
        named = {"X-Tenant-ID": tenant} if tenant else {}
        asker = Client(http=self.api.http, key=token, tenant_id="", parts=self.api.parts)
        return await asker.send(method, path, body if body is not None or method == "GET" else PRODUCT, headers=named)

    async def link(self, user: str, subject: str = "00u1", issuer: str = ISSUER) -> httpx2.Response:
        """Link by the tenant's own admin."""
        body = {"user": user, "issuer": issuer, "subject": subject}
        return await self.acme.post("/v1/identity-links", body)

    async def do(self, command: Command, tenant_id: str = "acme") -> None:
        """What another process writes."""
        outcome = await self.api.parts.writer.submit(request(command, tenant_id=tenant_id))
        assert outcome.refusal_code is None

    async def is_stranger(self, token: str) -> None:
        """Answered to the letter as one who shows nothing that is known."""
        headers = {"X-Request-Id": "same"}
        answers = [
            await self.api.http.get("/v1/products", headers={"Authorization": f"Bearer {shown}", **headers})
            for shown in (token, "x")
        ]
        assert answers[0].status_code == 401, answers[0].text
        assert answers[0].content == answers[1].content


def b64(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.fixture
async def scene(database: FreshDatabase, tmp_path: Path) -> AsyncIterator[Scene]:
    keys = {
        issuer: RSAKey.generate_key(2048, {"kid": f"key-{number}"}, private=True)
        for number, issuer in enumerate((ISSUER, OTHER_ISSUER))
    }
    named = []
    for number, (issuer, key) in enumerate(keys.items()):
        file = tmp_path / f"{number}.jwks"
        file.write_text(json.dumps(KeySet([key]).as_dict(private=False)))
        named.append(f"{issuer}={file}")
    async with running_api(database, NO_CACHE, auth=AuthSettings(foreign_issuers=",".join(named))) as api:
        acme = await api.tenant("acme")
        yield Scene(api=api, keys=keys, acme=acme, ada=await admin(api, ADA))


async def test_who_is_linked_acts_by_their_role_and_under_their_name(scene: Scene) -> None:
    await scene.is_stranger(scene.token())
    made = await scene.link(scene.ada)
    assert made.status_code == 201, made.text
    assert made.json()["is_believed"]
    assert "00u1" not in made.text
    done = await scene.ask(scene.token(role="viewer", tid="other", email=BOB))
    assert done.status_code == 201, done.text
    events = (await scene.acme.get(f"/v1/events?stream=product/{done.json()['id']}")).json()["data"]
    assert [each["actor"] for each in events] == [f"user:{scene.ada}"]
    assert (await scene.ask(scene.token(), tenant="other")).json()["code"] == "tenant_mismatch"


async def test_neither_an_address_nor_anything_else_that_a_token_claims_makes_a_user(scene: Scene) -> None:
    for claims in ({"email": ADA, "email_verified": True}, {"sub": scene.ada}, {"sub": ADA}, {"tid": "acme"}):
        await scene.is_stranger(scene.token(**claims))


async def test_a_token_that_is_not_the_issuers_for_us_is_a_strangers(scene: Scene) -> None:
    assert (await scene.link(scene.ada)).status_code == 201
    ours, others = scene.keys[ISSUER].kid, scene.keys[OTHER_ISSUER].kid
    for token in (
        scene.token(aud="another-api"),
        scene.token(aud=None),
        scene.token(iss="https://evil.example.com", key=ISSUER),
        scene.token(iss=ISSUER + "/", key=ISSUER),
        scene.token(key=OTHER_ISSUER),  # another issuer's key, by its own kid
        scene.token(header={"alg": "RS256", "kid": ours, "typ": "JWT"}, key=OTHER_ISSUER),  # and by this one's
        scene.token(header={"alg": "RS256", "kid": others, "typ": "JWT"}),
        scene.token(header={"alg": "PS256", "kid": ours, "typ": "JWT"}),
        scene.token(header={"alg": "RS256", "kid": ours, "typ": "JWT", "jku": "https://evil.example.com"}),
        scene.token(exp=1),
    ):
        await scene.is_stranger(token)
    head = {"alg": "HS256", "kid": ours, "typ": "JWT"}
    body = scene.token().split(".")[1]
    for secret in (scene.keys[ISSUER].as_pem(private=False), scene.keys[ISSUER].as_der(private=False)):
        proof = hmac.digest(secret, f"{b64(head)}.{body}".encode(), "sha256")
        await scene.is_stranger(f"{b64(head)}.{body}.{base64.urlsafe_b64encode(proof).decode().rstrip('=')}")
    await scene.is_stranger(f"{b64({**head, 'alg': 'none'})}.{body}.")
    assert (await scene.ask(scene.token())).status_code == 201


async def test_a_subject_of_one_issuer_is_nobody_at_another_and_is_linked_once(scene: Scene) -> None:
    assert (await scene.link(scene.ada)).status_code == 201
    await scene.is_stranger(scene.token(iss=OTHER_ISSUER))
    again = await scene.link(scene.ada)
    assert (again.status_code, again.json()["code"]) == (409, "subject_already_linked")
    assert (await scene.link(scene.ada, issuer=OTHER_ISSUER)).status_code == 201
    assert (await scene.ask(scene.token(iss=OTHER_ISSUER))).status_code == 201
    assert (await scene.link("user_01m7ywe9z7e398x54gfbrtqnk7", "2")).json()["code"] == "member_not_found"


async def test_what_is_taken_away_is_gone_with_the_next_request(scene: Scene) -> None:
    bob = await admin(scene.api, BOB)
    link = (await scene.link(bob)).json()["id"]
    token = scene.token()
    assert (await scene.ask(token)).status_code == 201
    await scene.do(ChangeMemberRole(tenant_id="acme", user_id=bob, role=Role.VIEWER, by=None))
    assert (await scene.ask(token)).json()["code"] == "permission_denied"
    await scene.do(SuspendUser(user_id=bob), "platform")
    await scene.is_stranger(token)
    await scene.do(ReactivateUser(user_id=bob), "platform")
    assert (await scene.ask(token, "GET")).status_code == 200
    removed = await scene.acme.send("DELETE", f"/v1/identity-links/{link}")
    assert (removed.status_code, removed.json()["user"]) == (200, None)
    await scene.is_stranger(token)
    assert (await scene.link(bob)).status_code == 201
    await scene.do(RemoveMember(tenant_id="acme", user_id=bob, by=None))
    await scene.is_stranger(token)
    await scene.do(AddMember(tenant_id="acme", user_id=bob, role=Role.ADMIN, by=None))
    await scene.is_stranger(token)
    assert (await scene.link(bob)).status_code == 201
    await scene.do(EraseUser(user_id=bob), "platform")
    await scene.is_stranger(token)


async def test_a_link_gives_nothing_beyond_its_tenant_and_nothing_that_takes_a_password(scene: Scene) -> None:
    await admin(scene.api, ADA, tenant="other")
    assert (await scene.link(scene.ada)).status_code == 201
    token = scene.token()
    assert (await scene.ask(token, tenant="other")).json()["code"] == "tenant_mismatch"
    for method, path, body in (
        ("GET", "/v1/auth/me", None),
        ("GET", "/v1/auth/sessions", None),
        ("PATCH", "/v1/auth/profile", {"name": "Eve"}),
        ("POST", "/v1/auth/change-password", {"current_password": "x", "new_password": "a sentence of Eve's"}),
        ("POST", "/v1/auth/logout-all", {}),
        ("POST", "/v1/auth/second-factors/totp", {}),
    ):
        answer = await scene.ask(token, method, path, body)
        assert answer.json()["code"] == "permission_denied", (path, answer.text)
    answer = await scene.ask(token, "POST", "/v1/invitations", {"email": "eve@example.com", "role": "admin"})
    assert answer.json()["code"] == "password_confirmation_required", answer.text
    assert (await scene.ask(token, "POST", "/v1/auth/logout", {})).status_code < 500


async def test_who_is_linked_in_two_tenants_says_in_which_and_is_whom_each_says(scene: Scene) -> None:
    dsn, settings = scene.api.database.dsn, scene.api.parts.settings
    bob = await admin(scene.api, BOB, tenant="other")
    assert (await scene.link(scene.ada)).status_code == 201
    wanted = {"tenant_id": "other", "email": BOB, "issuer": ISSUER, "subject": "00u1"}
    made = await link_subject(dsn, settings, **wanted)
    token = scene.token()
    assert (await scene.ask(token)).json()["code"] == "tenant_required"
    for tenant in ("acme", "other"):
        assert (await scene.ask(token, tenant=tenant)).status_code == 201
    assert made.user_id == bob
    await unlink_subject(dsn, settings, tenant_id="other", link_id=made.link_id)
    assert (await scene.ask(token, tenant="other")).json()["code"] == "tenant_mismatch"


async def test_whoever_is_linked_gets_a_letter_once_whoever_links_them(scene: Scene, tmp_path: Path) -> None:
    keep_letters(scene.api, tmp_path)
    assert (await scene.link(scene.ada)).status_code == 201
    assert (await scene.link(scene.ada)).status_code == 409
    body = {"user": scene.ada, "issuer": ISSUER, "subject": "00u2"}
    for _ in range(2):
        made = await scene.acme.post("/v1/identity-links", body, idempotency_key="k")
        assert made.status_code == 201, made.text
    sent = await letters(scene.api, tmp_path)
    assert [(str(letter["To"]), ISSUER in letter.get_content()) for letter in sent] == [(ADA, True)] * 2
    assert not any("00u" in letter.as_string() for letter in sent)


async def test_whom_the_operator_links_gets_the_letter_too(scene: Scene, tmp_path: Path) -> None:
    settings = replace(scene.api.parts.settings, general=GeneralSettings(data_dir=tmp_path))
    wanted = {"tenant_id": "acme", "user_id": scene.ada, "issuer": ISSUER}
    for letter in (identity_linked, identity_unlinked):
        await tell_member(scene.api.database.dsn, settings, letter, **wanted)
    sent = await letters(scene.api, tmp_path)
    assert [(str(each["To"]), ISSUER in each.get_content()) for each in sent] == [(ADA, True)] * 2
    assert "no more" in str(sent[1]["Subject"])


async def test_whose_link_is_removed_gets_a_letter(scene: Scene, tmp_path: Path) -> None:
    link = (await scene.link(scene.ada)).json()["id"]
    keep_letters(scene.api, tmp_path)
    tried = await scene.acme.send("DELETE", f"/v1/identity-links/{link}", headers={"Tallybook-Dry-Run": "true"})
    assert tried.json()["status"] == 200
    assert await letters(scene.api, tmp_path) == []
    assert (await scene.acme.send("DELETE", f"/v1/identity-links/{link}")).status_code == 200
    assert (await scene.acme.send("DELETE", f"/v1/identity-links/{link}")).status_code == 404
    (letter,) = await letters(scene.api, tmp_path)
    assert (str(letter["To"]), ISSUER in letter.get_content()) == (ADA, True)
    assert letter["Subject"] == "Another issuer's tokens act as you no more"


async def test_links_are_a_tenants_own_and_only_who_manages_users_sees_them(scene: Scene) -> None:
    link = (await scene.link(scene.ada)).json()
    other = await scene.api.tenant("other")
    assert (await other.get(f"/v1/identity-links/{link['id']}")).status_code == 404
    assert (await other.send("DELETE", f"/v1/identity-links/{link['id']}")).status_code == 404
    assert (await other.get("/v1/identity-links")).json()["data"] == []
    assert (await scene.acme.get("/v1/identity-links")).json()["data"] == [link]
    events = (await scene.acme.get("/v1/events?stream=team/acme")).text
    assert "team.subject_linked" in events
    assert "00u1" not in events
