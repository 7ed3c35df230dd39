"""What somebody may and whom he belongs to, by whoever vouches for it: a record only superusers write, or an issuer."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

MAX_CLEARANCE = 2**31
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}")


@dataclass(frozen=True, slots=True)
class Grants:
    """`provider` is the issuer that says so; empty for PocketBase."""

    roles: tuple[str, ...] = ()
    tenant: str = ""
    clearance: int = 0
    provider: str = ""


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """Where an issuer's claims have what, with dots for claims inside others."""

    roles: str = "realm_access.roles"
    tenant: str = "tenant"
    clearance: str = "clearance"


def grants_of_claims(claims: Mapping[str, Any], names: ClaimNames, provider: str) -> Grants:
    return Grants(
        tuple(texts_in(found(claims, names.roles))),
        tenant_in(found(claims, names.tenant)),
        highest_in(found(claims, names.clearance)),
        provider,
    )


def found(claims: Mapping[str, Any], path: str) -> object:
    """A claim whose own name has dots, as a namespaced one has, comes before one inside another."""
    if path in claims:
        return claims[path]
    value: object = claims
    for name in path.split("."):
        value = cast(Mapping[str, object], value).get(name) if isinstance(value, Mapping) else None
    return value


def texts_in(value: object) -> list[str]:
    """A list of texts, or one text with commas; anything else grants nothing."""
    items: object = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        return []
    texts = [item.strip() for item in cast(Sequence[object], items) if isinstance(item, str)]
    return sorted({text for text in texts if text})


def tenant_in(value: object) -> str:
    """Plain text that a header and a key can carry; anything else is no tenant."""
    return value if isinstance(value, str) and _TENANT.fullmatch(value) else ""


def highest_in(value: object) -> int:
    """Of one whole number, or of several."""
    items = cast(Sequence[object], value) if isinstance(value, list | tuple) else (value,)
    numbers = [int(item) for item in items if type(item) is int or (isinstance(item, float) and item.is_integer())]
    return max((number for number in numbers if 0 <= number < MAX_CLEARANCE), default=0)
