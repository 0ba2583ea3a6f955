"""Users who sign in to an API: as a browser does, which keeps a cookie, and as a program does, which keeps tokens."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from cli.users import create_admin
from domain.identity.browser import SESSION_COOKIE
from testing.api_client import Api

PASSWORD: Final = "a sentence that only Ada knows"
PAGE: Final = {"Sec-Fetch-Site": "same-origin"}
"""What a browser says of a request that our own page made."""


@dataclass(kw_only=True)
class Browser:
    """A browser with our page open in it."""

    http: httpx2.AsyncClient
    keeps: str = SESSION_COOKIE
    """The name of the cookie that it keeps."""
    cookie: str = ""
    csrf_token: str = ""
    headers: dict[str, str] = field(default_factory=lambda: dict(PAGE))

    async def log_in(self, email: str, password: str = PASSWORD) -> httpx2.Response:
        """Sign in; the cookie that comes is kept."""
        body = {"email": email, "password": password, "kind": "browser"}
        return await self.send("POST", "/v1/auth/login", body)

    async def send(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        """What our page asks for."""
        sent = {**self.headers, **(headers or {})}
        if self.cookie:
            sent.setdefault("Cookie", f"{self.keeps}={self.cookie}")
        if method != "GET":
            if self.csrf_token:
                sent.setdefault("X-CSRF-Token", self.csrf_token)
            sent.setdefault("Idempotency-Key", uuid.uuid4().hex)
        response = await self.http.request(method, path, json=body, headers=sent)
        self._keep(response)
        return response

    def _keep(self, response: httpx2.Response) -> None:
        told = response.headers.get("set-cookie", "")
        # The client has a jar of its own, which is to keep nothing: each browser here is another one.
        self.http.cookies.clear()
        if told.startswith(f"{self.keeps}="):
            self.cookie = told.partition(";")[0].partition("=")[2]
        if response.headers.get("content-type") == "application/json":
            value = response.json()
            if isinstance(value, dict) and value.get("csrf_token"):
                self.csrf_token = value["csrf_token"]


@dataclass(kw_only=True)
class Program:
    """A program that signed in with a user's password."""

    http: httpx2.AsyncClient
    access_token: str
    refresh_token: str
    session: str

    async def send(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        """What it asks for."""
        sent = {"Authorization": f"Bearer {self.access_token}", **(headers or {})}
        if method != "GET":
            sent.setdefault("Idempotency-Key", uuid.uuid4().hex)
        return await self.http.request(method, path, json=body, headers=sent)


async def admin(api: Api, email: str, *, tenant: str = "acme", password: str | None = PASSWORD) -> str:
    """A user of this address who is an ADMIN of the tenant, which is made if it is not there; their id."""
    await api.tenant(tenant)
    settings = api.parts.settings
    made = await create_admin(
        api.database.dsn, settings, tenant_id=tenant, email=email, name="Ada Lovelace", password=password
    )
    return made.user_id


async def browser(api: Api, email: str, password: str = PASSWORD) -> Browser:
    """A browser that has signed in."""
    found = Browser(http=api.http)
    response = await found.log_in(email, password)
    assert response.status_code == 200, response.text
    return found


async def program(api: Api, email: str, password: str = PASSWORD, *, tenant: str | None = None) -> Program:
    """A program that has signed in."""
    body: dict[str, Any] = {"email": email, "password": password, "kind": "program", "tenant": tenant}
    response = await api.http.post("/v1/auth/login", json=body)
    assert response.status_code == 200, response.text
    value = response.json()
    return Program(
        http=api.http,
        access_token=value["access_token"],
        refresh_token=value["refresh_token"],
        session=value["session"],
    )
