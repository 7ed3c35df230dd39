"""Whether a person gets a NATS login, and what it may do: decided from the rows as they stand, like credentials are.

The token it ends in is for one connection and one key, which the server made; but for that it says what the person's
own credentials say.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from natsync.core.claims.token_codec import Body
from natsync.core.collections.rows import Row
from natsync.core.state.built_in import BUILT_IN
from natsync.core.state.ledger import Entry
from natsync.core.tokens.user_tokens import Picture, wording

Cause: TypeAlias = Literal["token", "unknown", "banned", "suspended", "refused", "expired", "not_ready", "busy"]


class Denied(Exception):
    """The login is refused. `cause` is one of few, for counting; the message says more, for the log."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause: Cause = cause


@dataclass(frozen=True, slots=True)
class Admission:
    """A user's token but for the signature. `issuer` is the key that signs, and `signer` the entry that has it.

    `expires_at` 0: it ends with the access token.
    """

    row: str
    name: str
    account: str
    account_key: str
    body: Body
    issuer: str
    signer: Entry
    expires_at: int


def admission(row: Row, at: Picture, *, user_key: str, is_banned: bool) -> Admission:
    """`at` holds at least the row, its role and its account, and their keys. Raises Denied."""
    if is_banned:
        raise Denied("banned", "the user is banned")
    refuse_unfit(row, at)
    wanted = at.desired.users[row["id"]]
    account = at.desired.accounts[wanted.account]
    if not account.active or account.id in BUILT_IN:
        raise Denied("suspended", "the account is inactive")
    words = wording(wanted, Entry("user", wanted.id, public_key=user_key), at)
    if words is None:
        raise Denied("not_ready", "the account or the role has no keys yet")
    if 0 < wanted.expires_at <= at.now:
        raise Denied("expired", "jwt_expires_at is over")
    return Admission(
        row=wanted.id,
        name=wanted.name,
        account=account.id,
        account_key=at.entries.by_place["account", account.id].public_key,
        body=words.body,
        issuer=words.issuer,
        signer=at.scopes.get(words.issuer) or at.entries.by_place["account", account.id],
        expires_at=wanted.expires_at,
    )


def refuse_unfit(row: Row, at: Picture) -> None:
    if reason := at.desired.refused.get(("nats_users", row["id"])):
        raise Denied("refused", reason)
    if row["id"] not in at.desired.users:
        raise Denied("suspended", "the user is suspended")
