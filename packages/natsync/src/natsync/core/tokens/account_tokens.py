"""What each account's token is to say: its row, its keys and those of its roles, exports, imports, and who is cut."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from natsync.core.claims.account_claims import AccountClaims, AccountLimits, Export, account_body
from natsync.core.claims.token_codec import BadToken, Body, content_hash, unverified
from natsync.core.collections.rows import Account, Offer, Use
from natsync.core.state.built_in import PLATFORM, SHARED
from natsync.core.state.ledger import Entries, Entry
from natsync.core.tokens.scopes import by_account, scoped_key
from natsync.core.tokens.user_tokens import Mint, Picture, said
from natsync.core.validation.account_validation import Problem, validate_account, without_faulty_rows
from natsync.core.validation.lints import lint_account

Remarks = Mapping[tuple[str, str], str]
"""By collection and id of the row."""


@dataclass(frozen=True, slots=True)
class Statement:
    """An account's claims before what is wrong in them is left out, and the rows that its lists came from."""

    account: str
    claims: AccountClaims
    offers: list[Offer] = field(default_factory=list[Offer])
    uses: list[Use] = field(default_factory=list[Use])


def statements(at: Picture) -> dict[str, Statement]:
    """By record id, for every account that has a row."""
    scopes = by_account(at.entries)
    found: dict[str, Statement] = {}
    for account in at.desired.accounts.values():
        entry = at.entries.get("account", account.id)
        if entry:
            found[account.id] = statement(account, entry, scopes.get(account.id, []), at)
    return found


def statement(account: Account, entry: Entry, scopes: Iterable[Entry], at: Picture) -> Statement:
    offers, uses = at.desired.offers.get(account.id, []), at.desired.uses.get(account.id, [])
    claims = AccountClaims(
        signing_keys=[*entry.signing_public_keys, *map(scoped_key, scopes)],
        limits=account.limits or last_limits(entry),
        revocations=entry.revocations,
        exports=[offer.export for offer in offers],
        imports=[use.imported for use in uses],
    )
    return Statement(account.id, claims, offers, uses)


def last_limits(entry: Entry) -> AccountLimits:
    """What was published before the row's limits became unreadable; for a new account nothing at all."""
    limits = said(entry).get("limits")
    if limits is None:
        return AccountLimits(connections=0, subscriptions=0, data=0, payload=0)
    return AccountLimits(
        connections=limits["conn"],
        subscriptions=limits["subs"],
        data=limits["data"],
        payload=limits["payload"],
        disk_storage=limits["disk_storage"],
        memory_storage=limits["mem_storage"],
    )


def known_claims(at: Picture, observed: Mapping[str, str]) -> dict[str, AccountClaims]:
    """What can be imported, by the exporter's public key: from accounts of ours, and from others on the servers."""
    named = {use.imported.account for uses in at.desired.uses.values() for use in uses}
    ours = {entry.public_key: entry for entry in at.entries.of_kind("account")}
    found: dict[str, AccountClaims] = {}
    for public_key in named:
        if entry := ours.get(public_key):
            offers = at.desired.offers.get(entry.record, [])
            exports = [*(SHARED if entry.record == PLATFORM else ()), *(offer.export for offer in offers)]
            found[public_key] = AccountClaims(signing_keys=entry.signing_public_keys, exports=exports)
        elif public_key in observed:
            found[public_key] = foreign_claims(observed[public_key])
    return found


def foreign_claims(token: str) -> AccountClaims:
    """Of an account that is not ours: its keys, and what it exports. Nothing of a token that cannot be read."""
    try:
        body = unverified(token)["nats"]
        keys = [key if isinstance(key, str) else str(key["key"]) for key in body.get("signing_keys", [])]
        exports = [
            Export(str(each["subject"]), each["type"], token_required=bool(each.get("token_req")))
            for each in body.get("exports", [])
        ]
    except (BadToken, KeyError, TypeError, AttributeError):
        return AccountClaims()
    return AccountClaims(signing_keys=keys, exports=exports)


def sound(
    statement: Statement, account: str, known: Mapping[str, AccountClaims]
) -> tuple[AccountClaims, dict[tuple[str, str], str]]:
    """What can be published, and why rows were left out. A revocation is never held up by what stands beside it."""
    problems = validate_account(statement.claims, account=account, accounts=known)
    claims = without_faulty_rows(statement.claims, problems)
    return claims, remarks(problems, statement)


def advice(
    statement: Statement, account: str, known: Mapping[str, AccountClaims], now: int
) -> dict[tuple[str, str], str]:
    """What is legal and hardly ever meant, by the row that says it."""
    return remarks(lint_account(statement.claims, account=account, accounts=known, now=now), statement)


def remarks(problems: Iterable[Problem], statement: Statement) -> dict[tuple[str, str], str]:
    """All that is said of one row in one text; what is said of neither export nor import is the account's."""
    found: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        found.setdefault(place_of(problem, statement), []).append(problem.reason)
    return {place: "; ".join(reasons) for place, reasons in found.items()}


def place_of(problem: Problem, statement: Statement) -> tuple[str, str]:
    if problem.part == "exports":
        return "nats_account_exports", statement.offers[problem.index].id
    if problem.part == "imports":
        return "nats_account_imports", statement.uses[problem.index].id
    return "nats_accounts", statement.account


def platform_body(entry: Entry) -> Body:
    limits = AccountLimits(disk_storage=-1, memory_storage=-1)
    return account_body(
        AccountClaims(
            signing_keys=entry.signing_public_keys, limits=limits, revocations=entry.revocations, exports=SHARED
        )
    )


def system_body(entry: Entry) -> Body:
    return account_body(AccountClaims(signing_keys=entry.signing_public_keys, revocations=entry.revocations))


def mint_of(entry: Entry, body: Body, name: str, at: Picture) -> Mint:
    issuer = issuer_of(at.entries)
    return Mint(entry, body, content_hash(name=name, issuer=issuer, body=body), name, issuer, at.now)


def issuer_of(entries: Entries) -> str:
    operator = entries.get("operator", "operator")
    return operator.signing_public_key if operator else ""


def unless_said(mint: Mint, observed: Mapping[str, str]) -> list[Mint]:
    """A token the servers lack is minted anew, never sent again: they take identical bytes for no news."""
    entry = mint.entry
    if mint.content == entry.content and observed.get(entry.public_key) == entry.jwt:
        return []
    issued_at = max(mint.issued_at, entry.last_iat + 1)
    return [replace(mint, entry=replace(entry, state=""), issued_at=issued_at)]


def lockout_claims(now: int) -> AccountClaims:
    """What is published where servers are not allowed to forget an account: nobody gets in."""
    nothing = AccountLimits(connections=0, subscriptions=0, data=0, payload=0)
    return AccountClaims(limits=nothing, revocations={"*": now})
