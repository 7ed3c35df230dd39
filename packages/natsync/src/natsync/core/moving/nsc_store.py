"""A store of nsc's, or any other set of operator, account and user tokens with their seeds, to rows and entries.

Existing credentials stay in force: the keys that signed them go on counting. What rows cannot express is not taken
over, and said.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from natsync.core.claims.keys import KeyKind
from natsync.core.claims.token_codec import BadToken, Claims, read
from natsync.core.claims.user_claims import NANOSECONDS
from natsync.core.moving.adoption import Adopted, Adoption, NotAdoptable, Pair, checked, record_id
from natsync.core.state.built_in import SYSTEM
from natsync.core.tokens.scopes import place_of

ACCOUNT_LIMITS = {
    "max_connections": "conn",
    "max_subscriptions": "subs",
    "max_data": "data",
    "max_payload": "payload",
    "max_jetstream_disk_storage": "disk_storage",
    "max_jetstream_memory_storage": "mem_storage",
}
USER_LIMITS = {"max_subscriptions": "subs", "max_data": "data", "max_payload": "payload"}
USUAL_LIMITS: Mapping[str, Any] = {
    "leaf": -1,
    "imports": -1,
    "exports": -1,
    "wildcards": True,
    "streams": (-1, 0),
    "consumer": (-1, 0),
    "max_ack_pending": (-1, 0),
    "mem_max_stream_bytes": (-1, 0),
    "disk_max_stream_bytes": (-1, 0),
    "max_bytes_required": False,
    "disallow_bearer": False,
    "tiered_limits": {},
}
NOT_CARRIED_OVER = ("mappings", "authorization", "trace", "cluster_traffic")
RESTRICTIONS = ("src", "times", "allowed_connection_types", "proxy_required")
EMPTY: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class FoundAccount:
    token: str
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """Tokens as they are stored, and seeds by public key."""

    operator: str
    accounts: tuple[FoundAccount, ...]
    seeds: Mapping[str, str] = field(repr=False)

    def pair(self, public_key: str, kind: KeyKind) -> Pair:
        """Raises NotAdoptable."""
        return checked(Pair(public_key, self.seeds.get(public_key, "")), kind)


def adoption(found: Found) -> Adoption:
    """Raises NotAdoptable when the whole cannot be taken over."""
    adopted = Adoption()
    system = add_operator(found, adopted)
    for account in found.accounts:
        claims = claims_of("account", account.token)
        if claims["sub"] == system:
            add_system_account(claims, account, found, adopted)
        else:
            add_account(claims, account, found, adopted)
    if not any(entry.record == SYSTEM for entry in adopted.entries):
        raise NotAdoptable("The operator's system account is not in the store.")
    return adopted


def claims_of(kind: str, token: str) -> Claims:
    """Raises NotAdoptable."""
    try:
        claims = read(token.strip())
    except BadToken as error:
        raise NotAdoptable(f"An {kind} token cannot be read: {error}.") from error
    if said(claims).get("type") != kind or said(claims).get("version") != 2:
        raise NotAdoptable(f"A token is not an {kind} token of version 2.")
    return claims


def add_operator(found: Found, adopted: Adoption) -> str:
    """Returns the public key of its system account."""
    claims = claims_of("operator", found.operator)
    body = said(claims)
    identity = found.pair(claims["sub"], KeyKind.OPERATOR)
    listed = [found.pair(key, KeyKind.OPERATOR) for key in cast(list[str], body.get("signing_keys") or [])]
    signing = next((pair for pair in reversed(listed) if pair.seed), None)
    if signing is None and identity.seed and not body.get("strict_signing_key_usage"):
        signing = identity
    if signing is None:
        raise NotAdoptable("No seed of the operator is there that may sign accounts.")
    if not identity.seed:
        adopted.notices.append("The operator's own seed is not there: its token stays as it is.")
    adopted.entries.append(
        Adopted(
            "operator",
            "operator",
            str(claims.get("name", "")),
            identity,
            signing,
            older=tuple(pair for pair in listed if pair != signing),
            jwt=found.operator.strip(),
            last_iat=int(claims["iat"]),
        )
    )
    system = body.get("system_account")
    if not isinstance(system, str):
        raise NotAdoptable("The operator names no system account.")
    return system


def add_system_account(claims: Claims, account: FoundAccount, found: Found, adopted: Adoption) -> None:
    adopted.entries.append(account_entry(SYSTEM, claims, account.token, found, adopted))
    if account.users:
        adopted.notices.append(
            f"{len(account.users)} users of the system account are left as they are: their credentials go on working."
        )


def add_account(claims: Claims, account: FoundAccount, found: Found, adopted: Adoption) -> None:
    id = record_id(claims["sub"])
    body, name = said(claims), str(claims.get("name") or claims["sub"])
    limits = cast(Mapping[str, Any], body.get("limits") or EMPTY)
    adopted.add_row(
        "nats_accounts",
        id,
        name=name,
        description=str(body.get("description", "")),
        active=True,
        **{field: int(limits.get(limit, 0)) for field, limit in ACCOUNT_LIMITS.items()},
    )
    adopted.notices += [f"account {name}: {what} is not carried over" for what in left_out(body, limits)]
    adopted.entries.append(account_entry(id, claims, account.token, found, adopted))
    add_shared(id, body, adopted)
    scopes = add_scopes(id, name, body, found, adopted)
    for token in account.users:
        add_user(token, claims, scopes, found, adopted)


def account_entry(record: str, claims: Claims, token: str, found: Found, adopted: Adoption) -> Adopted:
    body = said(claims)
    identity = found.pair(claims["sub"], KeyKind.ACCOUNT)
    plain = [key for key in cast(list[Any], body.get("signing_keys") or []) if isinstance(key, str)]
    listed = [found.pair(key, KeyKind.ACCOUNT) for key in plain]
    signing = next((pair for pair in reversed(listed) if pair.seed), None)
    revocations = cast(Mapping[str, Any], body.get("revocations") or EMPTY)
    if signing is None:
        adopted.notices.append(f"account {claims.get('name')}: a signing key is made for it")
    return Adopted(
        "account",
        record,
        str(claims.get("name", "")),
        identity,
        signing,
        older=tuple(pair for pair in listed if pair != signing),
        jwt=token.strip(),
        last_iat=int(claims["iat"]),
        revocations={str(key): int(cutoff) for key, cutoff in revocations.items()},
    )


def left_out(body: Mapping[str, Any], limits: Mapping[str, Any]) -> list[str]:
    found = [name for name in NOT_CARRIED_OVER if body.get(name)]
    permissions = cast(Mapping[str, Any], body.get("default_permissions") or EMPTY)
    if any(permissions.get(side) for side in ("pub", "sub", "resp")):
        found.append("default_permissions")
    for name, usual in USUAL_LIMITS.items():
        if limits.get(name, usual) not in (usual if isinstance(usual, tuple) else (usual, usual)):
            found.append(f"the limit {name}")
    return found


def add_shared(account: str, body: Mapping[str, Any], adopted: Adoption) -> None:
    for number, each in enumerate(cast(Sequence[Mapping[str, Any]], body.get("exports") or ())):
        adopted.add_row(
            "nats_account_exports",
            record_id(account, "export", str(number), each.get("subject", "")),
            account_id=account,
            name=each.get("name", ""),
            subject=each.get("subject", ""),
            type=each.get("type", ""),
            token_req=bool(each.get("token_req")),
            response_type=each.get("response_type", ""),
            response_threshold=int(each.get("response_threshold", 0)) // 1_000_000,
            account_token_position=int(each.get("account_token_position", 0)),
            advertise=bool(each.get("advertise")),
            allow_trace=bool(each.get("allow_trace")),
        )
    for number, each in enumerate(cast(Sequence[Mapping[str, Any]], body.get("imports") or ())):
        adopted.add_row(
            "nats_account_imports",
            record_id(account, "import", str(number), each.get("subject", "")),
            account_id=account,
            name=each.get("name", ""),
            account=each.get("account", ""),
            subject=each.get("subject", ""),
            local_subject=each.get("local_subject") or each.get("to", ""),
            type=each.get("type", ""),
            token=each.get("token", ""),
            share=bool(each.get("share")),
            allow_trace=bool(each.get("allow_trace")),
        )


def add_scopes(account: str, name: str, body: Mapping[str, Any], found: Found, adopted: Adoption) -> dict[str, str]:
    """Scoped keys that can be gone on with become roles: their ids by public key."""
    roles: dict[str, str] = {}
    for key in cast(list[Any], body.get("signing_keys") or []):
        if not isinstance(key, dict):
            continue
        scope = cast(Mapping[str, Any], key)
        pair = found.pair(str(scope.get("key")), KeyKind.ACCOUNT)
        if not pair.seed:
            adopted.notices.append(f"account {name}: the seed of a scoped key is missing, its users are cut off")
            continue
        role = str(scope.get("role") or pair.public_key)
        id = add_role(
            role, cast(Mapping[str, Any], scope.get("template") or EMPTY), adopted, record_id(pair.public_key)
        )
        roles[pair.public_key] = id
        adopted.entries.append(Adopted("scope", place_of(account, id), role, pair, account=account))
    return roles


def add_role(name: str, rights: Mapping[str, Any], adopted: Adoption, id: str) -> str:
    response = cast(Mapping[str, Any] | None, rights.get("resp"))
    return adopted.add_row(
        "nats_roles",
        id,
        name=name,
        publish_permissions=listed(rights, "pub", "allow"),
        publish_deny_permissions=listed(rights, "pub", "deny"),
        subscribe_permissions=listed(rights, "sub", "allow"),
        subscribe_deny_permissions=listed(rights, "sub", "deny"),
        allow_response=response is not None,
        allow_response_max=int(response.get("max", 0)) if response else 0,
        allow_response_ttl=int(response.get("ttl", 0)) // NANOSECONDS if response else 0,
        **{field: int(rights.get(limit, -1)) for field, limit in USER_LIMITS.items()},
    )


def listed(rights: Mapping[str, Any], side: str, which: str) -> str:
    subjects = cast(Mapping[str, Any], rights.get(side) or EMPTY).get(which)
    return json.dumps(subjects) if subjects else ""


def add_user(token: str, account: Claims, scopes: Mapping[str, str], found: Found, adopted: Adoption) -> None:
    claims = claims_of("user", token)
    name, body = str(claims.get("name") or claims["sub"]), said(claims)
    if reason := why_left(claims, account, found):
        adopted.notices.append(f"user {name} of account {account.get('name')} is left as it is: {reason}")
        return
    id, home = record_id(claims["sub"]), record_id(account["sub"])
    role = scopes.get(claims["iss"]) or role_of(body, adopted)
    revoked_until = max(revocations_of(account).get(key, -1) for key in (claims["sub"], "*"))
    adopted.add_row(
        "nats_users",
        id,
        nats_username=name,
        account_id=home,
        role_id=role,
        bearer_token=bool(body.get("bearer_token")),
        jwt_expires_at=written(int(claims.get("exp", 0))),
        active=claims["iat"] > revoked_until,
        email=f"{id}@nsc.invalid",
    )
    adopted.entries.append(
        Adopted(
            "user",
            id,
            name,
            found.pair(claims["sub"], KeyKind.USER),
            account=home,
            role=role,
            jwt=token.strip(),
            issuer=claims["iss"],
            last_iat=int(claims["iat"]),
            expires_at=int(claims.get("exp", 0)),
        )
    )


def why_left(claims: Claims, account: Claims, found: Found) -> str:
    body = said(claims)
    if not found.seeds.get(claims["sub"]):
        return "its seed is not there"
    if body.get("bearer_token") and claims["iss"] != account["sub"] and not found.seeds.get(claims["iss"]):
        return "it is a bearer's, and the seed of the key that signs it is not there"
    if body.get("issuer_account", claims["iss"]) != account["sub"]:
        return "it belongs to another account"
    if restricted := [name for name in RESTRICTIONS if body.get(name)]:
        return f"a row cannot say {', '.join(restricted)}"
    return ""


def written(seconds: int) -> str:
    """A date as PocketBase writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.000Z") if seconds else ""


def role_of(body: Mapping[str, Any], adopted: Adoption) -> str:
    """One role for all users who may do the same."""
    rights = {name: body.get(name) for name in ("pub", "sub", "resp", *USER_LIMITS.values())}
    id = record_id("role", json.dumps(rights, sort_keys=True))
    return add_role(f"nsc-{id[:6]}", rights, adopted, id)


def revocations_of(account: Claims) -> Mapping[str, int]:
    return cast(Mapping[str, int], said(account).get("revocations") or {})


def said(claims: Claims) -> Mapping[str, Any]:
    body: object = claims.get("nats")
    return cast(Mapping[str, Any], body) if isinstance(body, dict) else EMPTY
