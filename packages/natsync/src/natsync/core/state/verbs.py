"""What people ask to be done once: by a row of `nats_actions`, or by a trigger on an account's or user's row.

PocketBase's PATCH writes back the whole row as it was read, so a trigger that was cleared can come back, and one that
was just raised can vanish. A trigger is therefore known by the `sync_revision` that stood beside it: natsync raises
that number when it clears the trigger, and an image with the old number asks for nothing new. What vanished was seen
in PocketBase's events. An action is known by its id. Whatever was carried out is named in the ledger by the very write
that carried it out.
"""

import hashlib
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from natsync.core.collections.rows import Row, text
from natsync.core.state.ledger import Entries, Entry, SigningKey
from natsync.core.state.revocations import with_cuts

Target: TypeAlias = Literal["account", "user"]

KINDS: Mapping[str, Target] = {"nats_accounts": "account", "nats_users": "user"}
TRIGGERS: Mapping[str, tuple[str, ...]] = {
    "nats_accounts": ("rotate_keys", "remove_signing_key", "add_signing_key"),
    "nats_users": ("revoke", "regenerate"),
}
VERBS: Mapping[Target, frozenset[str]] = {
    "account": frozenset({"rotate_keys", "add_signing_key", "remove_signing_key", "suspend", "resume"}),
    "user": frozenset({"revoke", "regenerate", "suspend", "resume"}),
}
ALLOW_REMOVALS = "allow_removals"
REFUSED = "!"
"""Behind the token of an order that could not be carried out."""
MAX_SIGNING_KEYS = 16
MAX_REVOCATIONS = 8000
"""About 750 KB of an account's token; nats-server takes messages of 1 MB."""


@dataclass(frozen=True, slots=True)
class Order:
    """`token` names this asking, and no other one of the same verb."""

    kind: Target
    record: str
    verb: str
    argument: str
    token: str

    @property
    def place(self) -> tuple[str, str]:
        return self.kind, self.record


@dataclass(frozen=True, slots=True)
class Action:
    """A row of `nats_actions` that is not closed."""

    id: str
    verb: str
    collection: str
    record: str
    argument: str
    created: str = ""

    @property
    def order(self) -> tuple[str, str]:
        """Whose turn it is."""
        return self.created, self.id

    @property
    def token(self) -> str:
        return f"action:{self.id}"


@dataclass(frozen=True, slots=True)
class Carried:
    """What an order comes to: entries as they are to be, those of them that are to get new keys first, or a refusal."""

    changed: tuple[Entry, ...] = ()
    new_signing_key: tuple[Entry, ...] = ()
    new_identity: tuple[Entry, ...] = ()
    refusal: str = ""


def to_action(row: Row) -> Action:
    return Action(
        id=row["id"],
        verb=text(row, "verb"),
        collection=text(row, "collection"),
        record=text(row, "record"),
        argument=text(row, "argument").strip(),
        created=text(row, "created"),
    )


def fault_of(action: Action, rows: Container[tuple[str, str]]) -> str:
    """Why it can never be carried out, or nothing. `rows` are those there are, by collection and id."""
    if action.verb == ALLOW_REMOVALS:
        return ""
    kind = KINDS.get(action.collection)
    if kind is None:
        return "collection must be nats_accounts or nats_users"
    if action.verb not in VERBS[kind]:
        return f"verb must be one of {', '.join(sorted(VERBS[kind]))}"
    if (action.collection, action.record) not in rows:
        return f"{action.collection} has no such record"
    return ""


def due(asked: Iterable[Order], entries: Entries) -> list[Order]:
    """Of everything asked of one row the first that was not carried out yet."""
    first: dict[tuple[str, str], Order] = {}
    for order in asked:
        entry = entries.get(order.kind, order.record)
        if entry and not is_handled(order.token, entry):
            first.setdefault(order.place, order)
    return list(first.values())


def asked_by_actions(actions: Iterable[Action], rows: Container[tuple[str, str]]) -> list[Order]:
    return [order_of(action) for action in actions if action.verb != ALLOW_REMOVALS and not fault_of(action, rows)]


def asked_by_triggers(images: Iterable[tuple[str, Row]]) -> list[Order]:
    return [order for collection, row in images for order in raised(collection, row)]


def overflowing(accounts: Iterable[Row], entries: Entries) -> list[Order]:
    """For accounts whose token would grow beyond what servers take, so that nobody could be cut off any more."""
    found = [entries.get("account", row["id"]) for row in accounts]
    return [
        Order("account", entry.record, "rotate_keys", "", f"overflow@{entry.revision}")
        for entry in found
        if entry and len(entry.revocations) > MAX_REVOCATIONS
    ]


def order_of(action: Action) -> Order:
    return Order(KINDS[action.collection], action.record, action.verb, action.argument, action.token)


def raised(collection: str, row: Row) -> list[Order]:
    """The triggers that are set on a row."""
    kind = KINDS.get(collection)
    if kind is None:
        return []
    found: list[Order] = []
    for trigger in TRIGGERS[collection]:
        value: object = row.get(trigger)
        if value is True:
            found.append(Order(kind, row["id"], trigger, "", token_of(trigger, "", row)))
        elif isinstance(value, str) and value.strip():
            argument = value.strip()
            found.append(Order(kind, row["id"], trigger, argument, token_of(trigger, argument, row)))
    return found


def token_of(trigger: str, argument: str, row: Row) -> str:
    named = f":{hashlib.sha256(argument.encode()).hexdigest()[:16]}" if argument else ""
    return f"{trigger}{named}@{int(row.get('sync_revision') or 0)}"


def carry_out(order: Order, entries: Entries, now: int, open_tokens: Collection[str]) -> Carried:
    """A refusal is noted in the ledger as well, so that it is said once."""
    entry = entries.by_place[order.place]
    done = entry.having_handled(order.token, open_tokens)
    match order.verb:
        case "rotate_keys":
            fresh = replace(done, older_keys=(), revocations={})
            return Carried(new_signing_key=(fresh,), new_identity=tuple(scopes_of(entry.record, entries)))
        case "add_signing_key":
            return adding(entry, done)
        case "remove_signing_key":
            return removing(order, entry, done, entries)
        case "suspend" | "resume":
            return Carried(changed=(replace(done, suspended=order.verb == "suspend"),))
        case "regenerate":
            return Carried(changed=(replace(done, content=""),))
        case _:
            return revoking(entry, done, entries, now)


def scopes_of(account: str, entries: Entries) -> list[Entry]:
    return [entry for entry in entries.of_kind("scope") if entry.account == account]


def adding(entry: Entry, done: Entry) -> Carried:
    if len(entry.signing_public_keys) >= MAX_SIGNING_KEYS:
        return refused(done, f"add_signing_key: there are {MAX_SIGNING_KEYS} keys already")
    return Carried(new_signing_key=(replace(done, older_keys=(*entry.older_keys, current(entry))),))


def current(entry: Entry) -> SigningKey:
    return SigningKey(entry.signing_public_key, entry.signing_private_key, entry.signing_seed)


def removing(order: Order, entry: Entry, done: Entry, entries: Entries) -> Carried:
    """The key of a role is not taken away but replaced: its users go on with new credentials."""
    scope = next((one for one in scopes_of(entry.record, entries) if one.public_key == order.argument), None)
    if scope:
        return Carried(changed=(done,), new_identity=(scope,))
    if order.argument not in entry.signing_public_keys:
        return refused(done, "remove_signing_key: the account has no such key")
    if not entry.older_keys:
        return refused(done, "remove_signing_key: it is the only key")
    *older, last = (key for key in (*entry.older_keys, current(entry)) if key.public_key != order.argument)
    return Carried(
        changed=(
            replace(
                done,
                older_keys=tuple(older),
                signing_public_key=last.public_key,
                signing_private_key=last.private_key,
                signing_seed=last.seed,
            ),
        )
    )


def revoking(entry: Entry, done: Entry, entries: Entries, now: int) -> Carried:
    """The account learns of the cut in the same pass, and is written before the user: see the order of writes."""
    account = entries.get("account", entry.account)
    fresh = replace(done, jwt="", content="", issuer="", expires_at=0, creds_digest="")
    if account is None or not entry.jwt:
        return Carried(new_identity=(fresh,))
    cut = with_cuts(account.revocations, {entry.public_key: max(now, entry.last_iat)})
    return Carried(changed=(replace(account, revocations=cut),), new_identity=(fresh,))


def refused(done: Entry, reason: str) -> Carried:
    *earlier, token = done.handled
    remark = f"{reason}; nothing was changed"
    return Carried(changed=(replace(done, handled=(*earlier, token + REFUSED), remark=remark),), refusal=remark)


def is_handled(token: str, entry: Entry) -> bool:
    return token in entry.handled or token + REFUSED in entry.handled


def is_refused(token: str, entry: Entry) -> bool:
    return token + REFUSED in entry.handled


def unseen(raised: Iterable[tuple[str, Row]], rows: Mapping[tuple[str, str], Row]) -> list[tuple[str, Row]]:
    """Images less the triggers that still stand on the rows themselves, perhaps beside a later revision."""
    return [
        (collection, {**image, **{name: None for name in TRIGGERS[collection] if row.get(name)}})
        for collection, image in raised
        if collection in TRIGGERS and (row := rows.get((collection, image["id"]))) is not None
    ]


def clearing(collection: str, row: Row, entry: Entry) -> dict[str, object]:
    """What takes the triggers off a row that were carried out."""
    return {
        order.verb: "" if order.argument else False
        for order in raised(collection, row)
        if is_handled(order.token, entry)
    }


def is_asking(collection: str, row: Row, entry: Entry) -> bool:
    """Is there a trigger on the row that is still to be carried out? The revision beside it must not move then."""
    return any(not is_handled(order.token, entry) for order in raised(collection, row))
