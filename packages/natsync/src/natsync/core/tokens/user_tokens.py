"""Which token each user is to hold, and which of those it was given must stop counting.

What was issued before may stay in force only while it allows nothing beyond what its holder is to have now. A token
of a scoped key says nothing itself: it follows its role, and so must not outlive its holder's being in that role.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from natsync.core.claims.token_codec import BadToken, Body, content_hash, unverified
from natsync.core.claims.user_claims import UserClaims, scoped_user_body, user_body, user_rights
from natsync.core.state.desired import Desired, WantedUser
from natsync.core.state.ledger import Entries, Entry
from natsync.core.state.revocations import Ledger, is_cut, next_issue
from natsync.core.state.rights import exceeds
from natsync.core.state.templates import TemplateValues, expanded
from natsync.core.tokens.scopes import place_of, to_claims

RENEWED_BEFORE_END = 1 / 3
"""Of a token's lifetime: so much of it is left when the next one is issued."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What is wanted and what is known, at one moment. `scopes` are the keys of roles, by public key."""

    desired: Desired
    entries: Entries
    scopes: Mapping[str, Entry]
    now: int


def picture(desired: Desired, entries: Entries, now: int) -> Picture:
    return Picture(desired, entries, {scope.public_key: scope for scope in entries.of_kind("scope")}, now)


@dataclass(frozen=True, slots=True)
class Mint:
    """Sign `body` with the key `issuer` for `entry` and keep the token, then (an account's) publish and verify it."""

    entry: Entry
    body: Body
    content: str
    name: str
    issuer: str
    issued_at: int
    expires_at: int = 0


@dataclass(frozen=True, slots=True)
class Wording:
    """A user's token but for its dates. `content` names it."""

    body: Body
    issuer: str
    content: str


def wording(wanted: WantedUser, entry: Entry, at: Picture) -> Wording | None:
    """None as long as the account, or the key of the role, is not there."""
    account = at.entries.get("account", wanted.account)
    if account is None:
        return None
    if wanted.own is None:
        scope = at.entries.get("scope", place_of(wanted.account, wanted.role))
        if scope is None:
            return None
        issuer, body = scope.public_key, scoped_user_body(account=account.public_key)
    else:
        issuer = entry.issuer if entry.issuer in account.signing_public_keys else account.signing_public_key
        body = user_body(filled_in(wanted.own, wanted, entry, at), account=account.public_key)
    named = {**body, "exp": wanted.expires_at, "role": wanted.role}
    return Wording(body, issuer, content_hash(name=wanted.name, issuer=issuer, body=named))


def filled_in(own: UserClaims, wanted: WantedUser, entry: Entry, at: Picture) -> UserClaims:
    """Servers fill in templates for scoped keys alone."""
    account = at.entries.by_place["account", wanted.account]
    name = at.desired.accounts[wanted.account].name
    values = TemplateValues(wanted.name, entry.public_key, name, account.public_key)
    return replace(own, permissions=expanded(own.permissions, values))


def to_issue(at: Picture, ledgers: Mapping[str, Ledger]) -> list[Mint]:
    """`ledgers` are the revocations as they are to be, by account."""
    mints: list[Mint] = []
    for wanted in at.desired.users.values():
        entry = at.entries.get("user", wanted.id)
        words = wording(wanted, entry, at) if entry else None
        if entry is None or words is None:
            continue
        ledger = ledgers[wanted.account]
        cut = is_cut(ledger, entry.public_key, entry.last_iat)
        is_over = cut or entry.account != wanted.account
        if words.content == entry.content and not cut and not is_ending(wanted, entry, at):
            continue
        issued_at = next_issue(at.now, last=entry.last_iat, ledger=ledger, public_key=entry.public_key)
        after = replace(
            entry,
            account=wanted.account,
            role=wanted.role,
            lingering="" if is_over else lingering_after(entry, words, at),
        )
        expires_at = wanted.expires_at or (
            issued_at + lifetime if (lifetime := at.desired.defaults.expiry_seconds) else 0
        )
        mints.append(Mint(after, words.body, words.content, wanted.name, words.issuer, issued_at, expires_at))
    return mints


def is_ending(wanted: WantedUser, entry: Entry, at: Picture) -> bool:
    """A token that ends by default, not because its row says so, is renewed in time."""
    if not entry.expires_at or wanted.expires_at:
        return False
    return at.now >= entry.expires_at - at.desired.defaults.expiry_seconds * RENEWED_BEFORE_END


def lingering_after(entry: Entry, words: Wording, at: Picture) -> str:
    """What a token of its own said, once the key of a role signs for the user instead."""
    if words.issuer not in at.scopes:
        return ""
    account = at.entries.get("account", entry.account)
    if entry.jwt and account and entry.issuer in account.signing_public_keys:
        return json.dumps({"iat": entry.last_iat, "body": said(entry)}, separators=(",", ":"))
    return entry.lingering


def cutoff_of(entry: Entry, at: Picture) -> int | None:
    """The second up to which the tokens of a user's entry must stop counting; None when all of them may go on."""
    user = at.desired.users.get(entry.record)
    row = user or at.desired.undecided.get(entry.record)
    if row is None or row.account != entry.account or (entry.role and row.role != entry.role):
        return max(at.now, entry.last_iat)
    words = wording(user, entry, at) if user else None
    if user is None or words is None:
        return None
    if exceeds_wanted(user, entry, words, at):
        return entry.last_iat
    return lingering_cutoff(entry, words, at)


def exceeds_wanted(user: WantedUser, entry: Entry, words: Wording, at: Picture) -> bool:
    if words.content == entry.content:
        return False
    if user.expires_at and not 0 < entry.expires_at <= user.expires_at:
        return True
    scope = at.scopes.get(entry.issuer)
    if scope is None:
        return exceeds(said(entry), rights_of(words, at))
    if user.name != entry.name:  # it may stand in the role's subjects, now or some day
        return True
    return words.issuer != entry.issuer and exceeds(user_rights(to_claims(scope.content)), words.body)


def lingering_cutoff(entry: Entry, words: Wording, at: Picture) -> int | None:
    if not entry.lingering:
        return None
    lingering: dict[str, Any] = json.loads(entry.lingering)
    return int(lingering["iat"]) if exceeds(lingering["body"], rights_of(words, at)) else None


def rights_of(words: Wording, at: Picture) -> Body:
    scope = at.scopes.get(words.issuer)
    return user_rights(to_claims(scope.content)) if scope else words.body


def said(entry: Entry) -> dict[str, Any]:
    try:
        return unverified(entry.jwt)["nats"]
    except (BadToken, KeyError):
        return {}
