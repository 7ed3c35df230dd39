"""What an account's token says: its limits, keys, exports and imports, and who is cut off.

Sources: nats-io/jwt v2 (`account_claims.go`, `exports.go`, `imports.go`, `signingkeys.go`). A limit that is left out
means 0 to the server, hence disabled: every limit is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from natsync.core.claims.token_codec import VERSION, Body
from natsync.core.claims.user_claims import UNLIMITED, Permissions, UserClaims, permissions_body, user_rights

ExportKind: TypeAlias = Literal["stream", "service"]


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """What all users of an account share; -1 is unlimited, 0 disabled."""

    connections: int = UNLIMITED
    subscriptions: int = UNLIMITED
    data: int = UNLIMITED
    payload: int = UNLIMITED
    disk_storage: int = 0
    memory_storage: int = 0


@dataclass(frozen=True, slots=True)
class ScopedKey:
    """A signing key whose users get their rights from here and carry none: changed here, changed for all of them."""

    key: str
    role: str
    template: UserClaims
    description: str = ""


@dataclass(frozen=True, slots=True)
class Latency:
    """How many requests in a hundred are measured (0: those whose headers ask for it), and where that is published."""

    results: str
    sampling: int = 100


@dataclass(frozen=True, slots=True)
class Export:
    """Subjects offered to other accounts; with `token_required` only to those that hold an activation token.

    `response_type` (`Singleton`, `Stream` or `Chunked`), `response_milliseconds`, `latency` and `allow_trace` are
    for services. `revocations` cuts off activation tokens by importing account. `account_token_position` counts from
    1: that `*` of the subject must be the importer's own key.
    """

    subject: str
    kind: ExportKind = "stream"
    name: str = ""
    token_required: bool = False
    response_type: str = ""
    response_milliseconds: int = 0
    latency: Latency | None = None
    account_token_position: int = 0
    advertise: bool = False
    allow_trace: bool = False
    revocations: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Import:
    """`account` is the exporter; `local_subject` is what its subject is called here, with `$1` for its first `*`."""

    subject: str
    account: str
    kind: ExportKind = "stream"
    name: str = ""
    local_subject: str = ""
    token: str = ""
    share: bool = False
    allow_trace: bool = False


@dataclass(frozen=True, slots=True)
class Authorization:
    """Auth callout: all users but `auth_users` are admitted by a service, into `allowed_accounts` (`*`: any)."""

    auth_users: tuple[str, ...]
    allowed_accounts: tuple[str, ...] = ()
    xkey: str = ""


@dataclass(frozen=True, slots=True)
class AccountClaims:
    """`default_permissions` are for users whose tokens name none."""

    signing_keys: Sequence[str | ScopedKey] = ()
    limits: AccountLimits = AccountLimits()
    revocations: Mapping[str, int] = field(default_factory=dict[str, int])
    exports: Sequence[Export] = ()
    imports: Sequence[Import] = ()
    default_permissions: Permissions = field(default_factory=Permissions)
    authorization: Authorization | None = None
    description: str = ""


def account_body(claims: AccountClaims) -> Body:
    """Lists are ordered, by subject first as in Go's library, so that the same claims are the same text."""
    optional: Body = {
        "exports": [export_body(each) for each in sorted(claims.exports, key=export_order)],
        "imports": [import_body(each) for each in sorted(claims.imports, key=import_order)],
        "revocations": dict(sorted(claims.revocations.items())),
        "description": claims.description,
    }
    return {
        "limits": limits_body(claims.limits),
        "signing_keys": [signing_key_body(each) for each in sorted(claims.signing_keys, key=public_key)],
        **{name: value for name, value in optional.items() if value},
        "default_permissions": permissions_body(claims.default_permissions),
        "authorization": authorization_body(claims.authorization),
        "type": "account",
        "version": VERSION,
    }


def export_order(export: Export) -> tuple[str, str]:
    return export.subject, export.kind


def import_order(imported: Import) -> tuple[str, str, str, str]:
    return imported.subject, imported.account, imported.kind, imported.local_subject


def limits_body(limits: AccountLimits) -> Body:
    return {
        "subs": limits.subscriptions,
        "data": limits.data,
        "payload": limits.payload,
        "conn": limits.connections,
        "leaf": UNLIMITED,
        "imports": UNLIMITED,
        "exports": UNLIMITED,
        "wildcards": True,
        "mem_storage": limits.memory_storage,
        "disk_storage": limits.disk_storage,
        "streams": UNLIMITED,
        "consumer": UNLIMITED,
        "max_ack_pending": UNLIMITED,
        "mem_max_stream_bytes": UNLIMITED,
        "disk_max_stream_bytes": UNLIMITED,
    }


def public_key(signing_key: str | ScopedKey) -> str:
    return signing_key if isinstance(signing_key, str) else signing_key.key


def signing_key_body(signing_key: str | ScopedKey) -> str | Body:
    if isinstance(signing_key, str):
        return signing_key
    return {
        "kind": "user_scope",
        "key": signing_key.key,
        "role": signing_key.role,
        "template": user_rights(signing_key.template),
        "description": signing_key.description,
    }


def export_body(export: Export) -> Body:
    latency = export.latency
    optional: Body = {
        "name": export.name,
        "token_req": export.token_required,
        "revocations": dict(sorted(export.revocations.items())),
        "response_type": export.response_type,
        "response_threshold": export.response_milliseconds * 1_000_000,
        "service_latency": {"sampling": latency.sampling or "headers", "results": latency.results} if latency else {},
        "account_token_position": export.account_token_position,
        "advertise": export.advertise,
        "allow_trace": export.allow_trace,
    }
    return {"subject": export.subject, "type": export.kind, **{k: value for k, value in optional.items() if value}}


def import_body(imported: Import) -> Body:
    optional: Body = {
        "name": imported.name,
        "token": imported.token,
        "local_subject": imported.local_subject,
        "share": imported.share,
        "allow_trace": imported.allow_trace,
    }
    return {
        "subject": imported.subject,
        "account": imported.account,
        "type": imported.kind,
        **{name: value for name, value in optional.items() if value},
    }


def authorization_body(authorization: Authorization | None) -> Body:
    if authorization is None:
        return {}
    body: Body = {
        "auth_users": list(authorization.auth_users),
        "allowed_accounts": list(authorization.allowed_accounts),
        "xkey": authorization.xkey,
    }
    return {name: value for name, value in body.items() if value}
