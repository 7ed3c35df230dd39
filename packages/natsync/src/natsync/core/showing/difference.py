"""What a pass would do, for people: read from its decision, and nothing of it secret."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from natsync.core.claims.token_codec import BadToken, Body, unverified
from natsync.core.claims.token_difference import token_difference
from natsync.core.deciding.decision import Decision
from natsync.core.servers.servers_said import DIFFERING
from natsync.core.showing.mirrors import Write
from natsync.core.state.ledger import Entries, Entry
from natsync.core.state.revocations import Ledger
from natsync.core.tokens.user_tokens import Mint, said


@dataclass(frozen=True, slots=True)
class AccountChange:
    """`why` says what is different: on the servers, or in which parts of what the account's token says."""

    account: str
    name: str
    public_key: str
    why: tuple[str, ...]
    revoked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserChange:
    user: str
    name: str
    account: str
    why: str


@dataclass(frozen=True, slots=True)
class RowChange:
    collection: str
    id: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """`forget` are entries of the ledger by kind and record. `refused` rows are set aside, by collection and id."""

    publish: tuple[AccountChange, ...]
    remove: tuple[AccountChange, ...]
    issue: tuple[UserChange, ...]
    orders: tuple[str, ...]
    forget: tuple[tuple[str, str], ...]
    rows: tuple[RowChange, ...]
    refused: tuple[tuple[str, str, str], ...]
    foreign: tuple[str, ...]
    halted: str

    @property
    def is_empty(self) -> bool:
        """Refused rows and foreign accounts are nothing to be done."""
        return not (self.publish or self.remove or self.issue or self.orders or self.forget or self.rows)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def difference(decision: Decision, stored: Entries, observed: Mapping[str, str], shown: Iterable[Write]) -> Difference:
    plan = decision.plan
    refused = {**decision.desired.refused, **plan.faults}
    ours = {entry.public_key for entry in decision.entries.of_kind("account")}
    return Difference(
        publish=tuple(publication(mint, observed) for mint in plan.publish),
        remove=tuple(removal(entry, observed) for entry in plan.remove),
        issue=tuple(issue(mint, stored) for mint in plan.issue),
        orders=tuple(f"{order.verb} {order.kind} {order.record}" for order in decision.carried),
        forget=tuple(entry.place for entry in plan.forget),
        rows=tuple(RowChange(write.collection, write.id, tuple(sorted(write.fields))) for write in shown),
        refused=tuple((collection, id, reason) for (collection, id), reason in sorted(refused.items())),
        foreign=tuple(sorted(observed.keys() - ours)),
        halted=plan.halted,
    )


def publication(mint: Mint, observed: Mapping[str, str]) -> AccountChange:
    entry, shown = mint.entry, observed.get(mint.entry.public_key)
    before = body_of(shown) or said(entry)
    known: Ledger = before.get("revocations", {})
    revoked = {key: since for key, since in mint.body.get("revocations", {}).items() if known.get(key, -1) < since}
    return AccountChange(
        entry.record, mint.name, entry.public_key, why_published(mint, before, shown, revoked), tuple(sorted(revoked))
    )


def why_published(mint: Mint, before: Body, shown: str | None, revoked: Ledger) -> tuple[str, ...]:
    """Of who is revoked by it another field tells."""
    if shown is None:
        return ("not on the servers",)
    if shown == DIFFERING:
        return ("the servers do not all show the same",)
    kept = {key: since for key, since in mint.body.get("revocations", {}).items() if key not in revoked}
    was = {key: since for key, since in before.get("revocations", {}).items() if key not in revoked}
    changed = token_difference({**before, "revocations": was}, {**mint.body, "revocations": kept})
    return changed or (() if revoked else ("the servers show another token that says the same",))


def body_of(token: str | None) -> Body:
    try:
        return unverified(token)["nats"] if token else {}
    except (BadToken, KeyError):
        return {}


def removal(entry: Entry, observed: Mapping[str, str]) -> AccountChange:
    why = "still on the servers" if entry.public_key in observed else "not known to be gone"
    return AccountChange(entry.record, entry.name, entry.public_key, (why,))


def issue(mint: Mint, stored: Entries) -> UserChange:
    before = stored.by_place.get(mint.entry.place)
    why = "changed" if before and before.jwt else "new"
    return UserChange(mint.entry.record, mint.name, mint.entry.account, why)
