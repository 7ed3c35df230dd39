"""What is legal and hardly ever meant. Nothing here holds a token back; the row says it beside `synced`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from natsync.core.claims.account_claims import AccountClaims, AccountLimits, Export, Import
from natsync.core.claims.token_codec import BadToken, is_in_force, unverified
from natsync.core.claims.user_claims import Permissions, UserLimits
from natsync.core.validation.account_validation import Problem
from natsync.core.validation.import_rings import comes_round
from natsync.core.validation.subject_grammar import covers, overlap

TOKEN_BYTES_ADVISED = 3400
"""The whole CONNECT line, signature and client's name included, has to fit into nats-server's 4,096 bytes."""
INBOX = "_INBOX"


def account_limit_lints(limits: AccountLimits) -> list[str]:
    """PocketBase stores 0 where a caller left a number out."""
    meant = {
        "max_connections is 0: nobody can connect": limits.connections,
        "max_subscriptions is 0: nobody can connect": limits.subscriptions,
        "max_payload is 0: only empty messages pass": limits.payload,
    }
    return [lint for lint, limit in meant.items() if limit == 0]


def user_limit_lints(limits: UserLimits) -> list[str]:
    meant = {
        "max_subscriptions is 0: its users cannot connect": limits.subscriptions,
        "max_payload is 0: its users can send empty messages only": limits.payload,
    }
    return [lint for lint, limit in meant.items() if limit == 0]


def permission_lints(permissions: Permissions) -> list[str]:
    return [*inbox_lints(permissions), *response_lints(permissions), *denied_lints(permissions)]


def inbox_lints(permissions: Permissions) -> Iterator[str]:
    """A client that may not hear its inbox sends requests and gets no answer. Queue groups have no part in that."""
    inbox = f"{INBOX}.>"
    allowed, denied = map(plain, (permissions.subscribe, permissions.subscribe_deny))
    if permissions.subscribe and not any(covers(inbox, each) or covers(each, inbox) for each in allowed):
        yield "no inbox: subscribe allows nothing below _INBOX, so its users' requests get no answers"
    elif any(covers(each, inbox) for each in denied):
        yield "no inbox: subscribe_deny covers _INBOX, so its users' requests get no answers"


def response_lints(permissions: Permissions) -> Iterator[str]:
    if permissions.response is not None and not permissions.publish:
        yield "with a response permission and no publish subject its users may publish nothing but answers"


def denied_lints(permissions: Permissions) -> Iterator[str]:
    sides = (
        ("publish", permissions.publish, permissions.publish_deny),
        ("subscribe", permissions.subscribe, permissions.subscribe_deny),
    )
    for side, allowed, denied in sides:
        for each in allowed:
            if by := next((other for other in plain(denied) if covers(other, each.partition(" ")[0])), ""):
                yield f"{side}: {each[:100]!r} is allowed and denied, by {by[:100]!r}"


def plain(subjects: Iterable[str]) -> list[str]:
    """Those without a queue group."""
    return [subject for subject in subjects if " " not in subject]


def token_lints(token: str) -> list[str]:
    """For a user's token."""
    if len(token) <= TOKEN_BYTES_ADVISED:
        return []
    return [f"the token has {len(token)} bytes; servers refuse logins beyond about 3,900"]


def lint_account(
    claims: AccountClaims, *, account: str, accounts: Mapping[str, AccountClaims], now: int
) -> list[Problem]:
    """`accounts` are all of the operator's by public key."""
    imports = ((index, import_lints(each, account, accounts, now)) for index, each in enumerate(claims.imports))
    return [
        *(Problem("limits", 0, lint) for lint in account_limit_lints(claims.limits)),
        *(Problem("exports", index, lint) for index, lint in overlap_lints(claims.exports)),
        *(Problem("imports", index, lint) for index, lints in imports for lint in lints),
        *(Problem("default_permissions", 0, lint) for lint in permission_lints(claims.default_permissions)),
    ]


def overlap_lints(exports: Sequence[Export]) -> Iterator[tuple[int, str]]:
    """Each with the position of the later of two."""
    for index, export in enumerate(exports):
        others = (each for each in exports[:index] if each.kind == export.kind)
        met = next((each.subject for each in others if overlap(each.subject, export.subject)), None)
        if met is not None:
            yield index, f"{export.subject[:100]!r} overlaps {met[:100]!r}: which export counts is the server's choice"


def import_lints(imported: Import, account: str, accounts: Mapping[str, AccountClaims], now: int) -> Iterator[str]:
    exporter = accounts.get(imported.account)
    export = exporting(imported, exporter.exports) if exporter else None
    if export is None:
        yield "nothing is exported under this subject: the import is dead until it is"
        return
    if export.token_required:
        yield from activation_lints(imported, export, account, now)
    if (position := export.account_token_position) and imported.subject.split(".")[position - 1] != account:
        yield f"token {position} of the subject has to be this account's public key: the import is dead"
    if comes_round(imported, account=account, accounts=accounts):
        yield "what it imports was imported from here: servers leave out one of these imports, none says which"


def exporting(imported: Import, exports: Iterable[Export]) -> Export | None:
    return next(
        (each for each in exports if each.kind == imported.kind and covers(each.subject, imported.subject)), None
    )


def activation_lints(imported: Import, export: Export, account: str, now: int) -> Iterator[str]:
    """Revoked is a token issued up to the second in which its account, or every account, was cut off."""
    if not imported.token:
        yield "the export asks for an activation token: the import is dead without one"
        return
    try:
        claims = unverified(imported.token)
    except BadToken:
        return  # a fault, and found as such
    cutoff = max(export.revocations.get(account, -1), export.revocations.get("*", -1))
    if not is_in_force(claims, now):
        yield "the activation token has expired: the import is dead"
    elif claims.get("iat", 0) <= cutoff:
        yield "the activation token is revoked: the import is dead"
