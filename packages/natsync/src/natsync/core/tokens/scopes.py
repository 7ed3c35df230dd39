"""The signing keys by which roles are live: one for each role in each account in which somebody holds it.

Whoever is signed by it carries no rights: servers take them from the account's token, where they can be changed.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from natsync.core.claims.account_claims import ScopedKey
from natsync.core.claims.user_claims import Permissions, ResponsePermission, UserClaims, UserLimits
from natsync.core.state.desired import Desired
from natsync.core.state.ledger import Entries, Entry


def place_of(account: str, role: str) -> str:
    return f"{account}.{role}"


def role_of(scope: Entry) -> str:
    return scope.record.partition(".")[2]


def by_account(entries: Entries) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for scope in entries.of_kind("scope"):
        found.setdefault(scope.account, []).append(scope)
    return found


def keyless(desired: Desired, entries: Entries) -> list[Entry]:
    """Those that are to be made, without their keys."""
    wanted = {(user.account, user.role) for user in desired.users.values() if user.own is None}
    return [
        Entry("scope", place_of(account, role), name=desired.roles[role].name, account=account)
        for account, role in sorted(wanted)
        if entries.get("scope", place_of(account, role)) is None
    ]


def renewed(desired: Desired, scopes: Iterable[Entry]) -> list[Entry]:
    """Those whose role reads differently now. A role that cannot be read stays as it last stood."""
    changed: list[Entry] = []
    for scope in scopes:
        template = desired.templates.get(role_of(scope))
        if template is None:
            continue
        after = replace(scope, content=to_text(template), name=desired.roles[role_of(scope)].name)
        changed += [after] if after != scope else []
    return changed


def orphaned(desired: Desired, scopes: Iterable[Entry]) -> list[Entry]:
    """Those whose role or account has no row any more. As long as a user is left in the role, it keeps what it had."""
    held = {place_of(user.account, user.role) for user in desired.undecided.values()}

    def has_rows(scope: Entry) -> bool:
        role = role_of(scope)
        return scope.account in desired.accounts and (role in desired.roles or ("nats_roles", role) in desired.refused)

    return [scope for scope in scopes if not has_rows(scope) and scope.record not in held]


def scoped_key(scope: Entry) -> ScopedKey:
    return ScopedKey(scope.public_key, scope.name, to_claims(scope.content))


def to_text(claims: UserClaims) -> str:
    permissions, limits, response = claims.permissions, claims.limits, claims.permissions.response
    value: dict[str, Any] = {
        "publish": permissions.publish,
        "subscribe": permissions.subscribe,
        "publish_deny": permissions.publish_deny,
        "subscribe_deny": permissions.subscribe_deny,
        "response": [response.max_messages, response.seconds] if response else None,
        "limits": [limits.subscriptions, limits.data, limits.payload],
    }
    return json.dumps(value, separators=(",", ":"))


def to_claims(text: str) -> UserClaims:
    """What `to_text` wrote; of nothing, what lets nobody do anything."""
    if not text:
        return UserClaims(Permissions(publish_deny=(">",), subscribe_deny=(">",)), UserLimits(0, 0, 0))
    value: Mapping[str, Any] = json.loads(text)
    response = value["response"]
    return UserClaims(
        Permissions(
            publish=tuple(value["publish"]),
            subscribe=tuple(value["subscribe"]),
            publish_deny=tuple(value["publish_deny"]),
            subscribe_deny=tuple(value["subscribe_deny"]),
            response=ResponsePermission(response[0], response[1]) if response else None,
        ),
        UserLimits(*value["limits"]),
    )
