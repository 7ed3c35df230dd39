"""What a pass has decided, for the audit: who asked for it, what is done, and why. No secrets, and no tokens."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from natsync.core.claims.token_codec import id_of
from natsync.core.collections.rows import Row, text
from natsync.core.deciding.decision import Decision
from natsync.core.showing.difference import publication
from natsync.core.state.ledger import Entries, Entry
from natsync.core.state.revocations import Ledger
from natsync.core.state.verbs import Order, to_action
from natsync.core.tokens.user_tokens import Mint

Line: TypeAlias = tuple[str, Mapping[str, Any]]
"""What happened, and its particulars."""

MOST_USERS = 200
"""Named in one line; of more there are several."""


def decided(decision: Decision, stored: Entries, actions: Iterable[Row]) -> list[Line]:
    """`stored` is the ledger as it was before."""
    rows = {to_action(row).token: row for row in actions}
    after = decision.entries.having(mint.entry for mint in decision.plan.publish)
    return [
        *(asked(order, refusal, rows.get(order.token)) for order, refusal in decision.carried.items()),
        *(line for entry in after.of_kind("account") for line in cut_off(entry, decision, stored)),
        *issued(decision, stored),
        *(("user forgotten", {"user": entry.record}) for entry in decision.plan.forget if entry.kind == "user"),
    ]


def asked(order: Order, refusal: str, action: Row | None) -> Line:
    """A trigger on a row says nothing of who raised it: PocketBase's own log does."""
    by = (
        {"action": action["id"], "by": text(action, "requested_by"), "reason": text(action, "reason")} if action else {}
    )
    outcome = {"refused": refusal} if refusal else {}
    verb = {"verb": order.verb, order.kind: order.record, "argument": order.argument}
    return "order refused" if refusal else "order carried out", {**verb, **by, **outcome}


def cut_off(account: Entry, decision: Decision, stored: Entries) -> list[Line]:
    before = stored.by_place.get(account.place)
    known: Ledger = before.revocations if before else {}
    if account.revocations == known:
        return []
    users = {entry.public_key: entry for entry in stored.of_kind("user")}
    return [
        (
            "user cut off",
            {"account": account.record, "public_key": key, "since": since, **whose(users.get(key), decision)},
        )
        for key, since in account.revocations.items()
        if known.get(key, -1) < since
    ]


def whose(user: Entry | None, decision: Decision) -> Mapping[str, str]:
    return {"user": user.record, "why": why_cut(user, decision)} if user else {}


def why_cut(user: Entry, decision: Decision) -> str:
    wanted = decision.desired.users.get(user.record)
    if any(entry.place == user.place for entry in decision.plan.forget):
        return "its row is gone"
    if user.record in decision.desired.suspended:
        return "suspended"
    if any(order.place == user.place and order.verb == "revoke" for order in decision.carried):
        return "revoked"
    return "moved" if wanted and wanted.account != user.account else "its rights are others"


def issued(decision: Decision, stored: Entries) -> list[Line]:
    found: dict[tuple[str, str], list[str]] = {}
    for mint in decision.plan.issue:
        before = stored.by_place.get(mint.entry.place)
        why = why_issued(mint, before) if before and before.jwt else "new"
        found.setdefault((mint.entry.account, why), []).append(mint.entry.record)
    return [
        ("credentials issued", {"account": account, "why": why, "users": users[start : start + MOST_USERS]})
        for (account, why), users in found.items()
        for start in range(0, len(users), MOST_USERS)
    ]


def why_issued(mint: Mint, before: Entry) -> str:
    if before.public_key != mint.entry.public_key:
        return "its key is new"
    return "issued anew" if before.content == mint.content else "changed"


def published(mints: Iterable[Mint], entries: Entries, observed: Mapping[str, str]) -> list[Line]:
    """What servers are about to be told, and why; `entries` hold the tokens."""
    return [publishing(mint, entries.by_place[mint.entry.place], observed) for mint in mints]


def publishing(mint: Mint, entry: Entry, observed: Mapping[str, str]) -> Line:
    change = publication(mint, observed)
    what = {"account": entry.record, "public_key": entry.public_key, "desired": id_of(entry.jwt)}
    return "account to be published", {**what, "why": list(change.why), "revoked": list(change.revoked)}


def removed(leaving: Iterable[Entry], decision: Decision) -> list[Line]:
    return [
        (
            "account to be removed",
            {
                "account": entry.record,
                "public_key": entry.public_key,
                "why": "it is inactive" if entry.record in decision.desired.accounts else "its row is gone",
            },
        )
        for entry in leaving
    ]
