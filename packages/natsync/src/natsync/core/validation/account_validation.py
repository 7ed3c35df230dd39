"""Is an account fit to be signed? What a server would refuse to load is found here first, by the row at fault.

Sources: nats-io/jwt v2 (the `Validate` functions), whose word counts on a server: one blocking fault in an account's
token and the server keeps the one it has, so that not even a revocation gets through.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from natsync.core.claims.account_claims import AccountClaims, AccountLimits, Authorization, ScopedKey, public_key
from natsync.core.claims.keys import CURVE_PREFIX, KeyKind, is_public_key
from natsync.core.validation.export_validation import faults_of_exports, revocation_faults
from natsync.core.validation.import_validation import faults_of_imports
from natsync.core.validation.user_validation import limit_faults, permission_faults, user_faults

Part: TypeAlias = Literal[
    "limits", "signing_keys", "revocations", "exports", "imports", "default_permissions", "authorization", "description"
]

MAX_DESCRIPTION_CHARACTERS = 8192
ANY_ACCOUNT = "*"


@dataclass(frozen=True, slots=True)
class Problem:
    """`index` counts within the part, from 0; `reason` is to be read by who wrote it."""

    part: Part
    index: int
    reason: str


def validate_account(
    claims: AccountClaims, *, account: str, accounts: Mapping[str, AccountClaims] | None = None
) -> list[Problem]:
    """`account` is the public key of the account itself; `accounts` are all of the operator's by public key, where
    they are known: only then is an exporter missed, or a token not signed by it noticed. Never raises.
    """
    exports = faults_of_exports(claims.exports)
    imports = faults_of_imports(claims.imports, account=account, accounts=accounts)
    return [
        *at("limits", account_limit_faults(claims.limits)),
        *(Problem("signing_keys", index, fault) for index, fault in faults_of_signing_keys(claims.signing_keys)),
        *at("revocations", revocation_faults(claims.revocations, KeyKind.USER)),
        *(Problem("exports", index, fault) for index, fault in exports),
        *(Problem("imports", index, fault) for index, fault in imports),
        *at("default_permissions", permission_faults(claims.default_permissions)),
        *at("authorization", authorization_faults(claims.authorization) if claims.authorization else []),
        *at("description", ["too long"] if len(claims.description) > MAX_DESCRIPTION_CHARACTERS else []),
    ]


def at(part: Part, faults: Iterable[str]) -> Iterator[Problem]:
    return (Problem(part, 0, fault) for fault in faults)


def without_faulty_rows(claims: AccountClaims, problems: Iterable[Problem]) -> AccountClaims:
    """The account less its faulty exports and imports: one bad row must not hold up the others, nor a revocation.

    A problem elsewhere is not mended by leaving something out: without its default permissions or its authorization
    an account would admit more, not less.
    """
    faulty = {(problem.part, problem.index) for problem in problems}
    return replace(
        claims,
        exports=[each for index, each in enumerate(claims.exports) if ("exports", index) not in faulty],
        imports=[each for index, each in enumerate(claims.imports) if ("imports", index) not in faulty],
    )


def account_limit_faults(limits: AccountLimits) -> list[str]:
    return limit_faults(
        {
            "conn": limits.connections,
            "subs": limits.subscriptions,
            "data": limits.data,
            "payload": limits.payload,
            "disk_storage": limits.disk_storage,
            "mem_storage": limits.memory_storage,
        }
    )


def faults_of_signing_keys(keys: Sequence[str | ScopedKey]) -> Iterator[tuple[int, str]]:
    seen: set[str] = set()
    for index, key in enumerate(keys):
        name = public_key(key)
        if not is_public_key(name, KeyKind.ACCOUNT):
            yield index, f"{name[:60]!r} is no account key"
        elif name in seen:
            yield index, "the key is there twice"
        seen.add(name)
        if isinstance(key, ScopedKey):
            yield from ((index, f"template: {fault}") for fault in user_faults(key.template, templates=True))


def authorization_faults(authorization: Authorization) -> Iterator[str]:
    if authorization.allowed_accounts and not authorization.auth_users:
        yield "allowed_accounts without auth_users"
    if not all(is_public_key(user, KeyKind.USER) for user in authorization.auth_users):
        yield "auth_users must be public keys of users"
    if ANY_ACCOUNT in authorization.allowed_accounts:
        if len(authorization.allowed_accounts) > 1:
            yield "allowed_accounts is '*' alone, or accounts"
    elif not all(is_public_key(account, KeyKind.ACCOUNT) for account in authorization.allowed_accounts):
        yield "allowed_accounts must be public keys of accounts"
    if authorization.xkey and not is_public_key(authorization.xkey, CURVE_PREFIX):
        yield "xkey is no public curve key"
