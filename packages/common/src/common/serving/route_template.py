"""What a request matched: one of few, where its path is one of many."""

from typing import Any

from starlette.types import Scope


def route_template(scope: Scope) -> str | None:
    """Such as `/notes/{id}`; None for a request that matched no route. Known once the request has been routed."""
    route: Any = scope.get("route")
    path = getattr(route, "path", None)
    return path if isinstance(path, str) else None
