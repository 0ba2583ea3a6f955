"""Requests on their way to operations: a path without a variable is looked up, the others are tried one by one."""

from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send


class DirectRoutes:
    """A router, before which plain paths are looked up: there are hundreds of routes, and each costs a microsecond."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._plain = _plain(router)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_plain = scope["type"] == "http" and not scope.get("root_path")
        route = self._plain.get((scope["method"], scope["path"])) if is_plain else None
        if route is None:
            await self._router(scope, receive, send)
            return
        scope["router"], scope["route"] = self._router, route
        scope["endpoint"], scope["path_params"] = route.endpoint, {}
        app: ASGIApp = route.app
        await app(scope, receive, send)


def _plain(router: Router) -> dict[tuple[str, str], Route]:
    """The routes of paths without variables, by method and path, unless one before them takes the same."""
    found: dict[tuple[str, str], Route] = {}
    with_variables: list[Route] = []
    for route in router.routes:
        if not isinstance(route, Route):
            break
        if "{" in route.path:
            with_variables.append(route)
            continue
        for method in route.methods or ():
            is_taken = any(
                method in (each.methods or ()) and each.path_regex.match(route.path) for each in with_variables
            )
            if not is_taken:
                found.setdefault((method, route.path), route)
    return found
