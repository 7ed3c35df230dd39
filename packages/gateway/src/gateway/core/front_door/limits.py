"""Which rate limit a request falls under: the most special one that is configured, and one for each kind of use.

`posts:list` comes before `list`, `users:auth-with-password` before `users:auth`, before `auth-with-password`, before
`auth`, and `default` is for whatever has none.
"""

from collections.abc import Container, Mapping
from typing import Any

from common.core.rate_limit_rule import DEFAULT, Rules, parse_rule
from gateway.core.front_door.pocketbase_route import Route

MINUTE_MS = 60_000
ROUTES = "routes"
TENANT = "tenant"
"""Counts all users of one tenant together; there is none unless it is set."""


DEFAULTS: Mapping[str, int] = {
    DEFAULT: 1_200,
    "list": 6_000,
    "view": 12_000,
    "files": 12_000,
    "create": 600,
    "update": 600,
    "delete": 600,
    "auth": 60,
    "realtime": 300,
    "batch": 120,
    ROUTES: 1_200,
}
"""Uses a minute. From 1,000 on processes hold a part in advance, and reads need not ask Valkey each time."""

TOO_MANY = "Too Many Requests."
"""PocketBase's own words."""

_WRITES = {"POST": "create", "PATCH": "update", "PUT": "update", "DELETE": "delete"}
_KINDS = {
    "file": "files",
    "realtime": "realtime",
    "batch": "batch",
    "sign-in": "auth",
    "auth": "auth",
    "oauth2-redirect": "auth",
}


def rules_of(settings: Mapping[str, Any]) -> Rules:
    """The defaults, with what is set in their place. Raises InvalidRule."""
    defaults = {name: {"limit": limit, "every": MINUTE_MS} for name, limit in DEFAULTS.items()}
    return Rules(parse_rule(name, terms) for name, terms in {**defaults, **settings}.items())


def action_of(method: str, route: Route) -> str:
    if route.kind == "records":
        reads = "view" if len(route.after) > 1 else "list"
        return _WRITES.get(method, reads)
    return _KINDS.get(route.kind, DEFAULT)


def rule_for(configured: Container[str], action: str, collection: str = "", endpoint: str = "") -> str:
    """`collection` is the canonical name, `endpoint` the last part of an auth route."""
    special = (f"{collection}:{endpoint}" if endpoint else "", f"{collection}:{action}", endpoint)
    return next((name for name in special if name and name in configured), action)
