"""A request comes to the operation that its path and method name, whether it is looked up or found by trying."""

from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route, Router
from starlette.types import Receive, Scope, Send

from api.app import RESOURCES
from api.http.routing import DirectRoutes

OPERATIONS = [operation for resource in RESOURCES for operation in resource.declared]


class Named:
    """Says which operation it is."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"name": self.name, "path_params": scope["path_params"], "route": scope["route"].path})


def router() -> Router:
    named = [(each, Named(f"{each.method} {each.path}")) for each in OPERATIONS]
    routes = [Route(each.path, endpoint, methods=[each.method], name=each.name) for each, endpoint in named]
    return Router(routes, redirect_slashes=False)


async def asked(app: Any, method: str, path: str) -> dict[str, Any] | int:
    """What is answered, or the status of the refusal."""
    said: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    scope: Scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": [], "app": None}
    try:
        await app(scope, None, send)
    except HTTPException as error:
        return error.status_code
    assert scope["router"] is not None
    (told,) = said
    return told


async def test_each_operation_is_found_as_by_trying_all() -> None:
    tried = router()
    direct = DirectRoutes(tried)
    for operation in OPERATIONS:
        path = operation.path.replace("{", "x").replace("}", "")
        for method in ("GET", "HEAD", "POST", "DELETE", "PUT"):
            for each in (path, f"{path}/", f"{path}\n"):
                assert await asked(direct, method, each) == await asked(tried, method, each), (method, each)


async def test_plain_paths_are_tried_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    direct = DirectRoutes(router())

    def matches(_route: Route, _scope: Scope) -> tuple[Match, Scope]:
        raise AssertionError("it was tried")

    monkeypatch.setattr(Route, "matches", matches)
    plain = [each for each in OPERATIONS if "{" not in each.path]
    assert len(plain) > 50
    for each in plain:
        told = await asked(direct, each.method, each.path)
        assert told == {"name": f"{each.method} {each.path}", "path_params": {}, "route": each.path}


async def test_what_a_variable_before_it_takes_is_not_looked_up() -> None:
    first = Route("/things/{name}", Named("variable"), methods=["GET"])
    second = Route("/things/search", Named("plain"), methods=["GET", "POST"])
    direct = DirectRoutes(Router([first, second], redirect_slashes=False))
    told = [await asked(direct, method, "/things/search") for method in ("GET", "POST")]
    assert [each["name"] for each in told if isinstance(each, dict)] == ["variable", "plain"]
