"""One pass, decided: from what was read to what is to be written and said. Keys are made by whoever is handed in."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from natsync.core.collections.rows import Row
from natsync.core.deciding import drift
from natsync.core.deciding.drift import Plan
from natsync.core.deciding.guard import Guard, Known
from natsync.core.state import desired as wanting
from natsync.core.state.desired import Desired, Table
from natsync.core.state.ledger import Entries, Entry
from natsync.core.state.rights import Defaults
from natsync.core.state.verbs import (
    ALLOW_REMOVALS,
    Action,
    Order,
    asked_by_actions,
    asked_by_triggers,
    carry_out,
    due,
    overflowing,
    unseen,
)
from natsync.core.tokens import scopes

ORDER_OF_WRITES = ("operator", "account", "scope", "user", "service", "curve")
"""An account is written first: it says who is cut off, and a user's new keys must not be there before that."""


class Keys(Protocol):
    def with_keys(self, entry: Entry) -> Entry: ...
    def with_signing_key(self, entry: Entry) -> Entry: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """What the operator of this natsync has chosen. The times are for actions that are closed."""

    defaults: Defaults = field(default_factory=Defaults)
    guard: Guard = field(default_factory=Guard)
    retention_seconds: float = 24 * 3600
    cleanup_interval_seconds: float = 6 * 3600


@dataclass(frozen=True, slots=True)
class Situation:
    """What was read. `raised` are images of rows as they were seen to be written, oldest first, since the last pass.

    `known` counts what is in the ledger, of which `entries` may be a part.
    """

    table: Table
    entries: Entries
    observed: Mapping[str, str]
    known: Known
    actions: Sequence[Action] = ()
    raised: Sequence[tuple[str, Row]] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """`entries` is the ledger with all that changes in it but tokens, which `plan` says.

    `carried` are the orders that were carried out in it, with the reason of those that were refused.
    """

    desired: Desired
    plan: Plan
    entries: Entries
    actions: Sequence[Action] = ()
    carried: Mapping[Order, str] = field(default_factory=dict[Order, str])
    is_more_asked: bool = False


def decide(situation: Situation, terms: Terms, keys: Keys, now: int) -> Decision:
    table, entries = situation.table, situation.entries
    entries = entries.having(keys.with_keys(entry) for entry in drift.keyless(table, entries))
    asked = asked_for(situation, entries)
    entries, carried = obeyed(asked, situation.actions, entries, keys, now=now)
    desired = wanting.of(table, entries, terms.defaults)
    entries = entries.having(keys.with_keys(scope) for scope in scopes.keyless(desired, entries))
    may_remove = any(action.verb == ALLOW_REMOVALS for action in situation.actions)
    leaving = drift.gone(desired, entries, None if may_remove else terms.guard, situation.known)
    plan = drift.plan(desired, entries, situation.observed, now, leaving)
    entries = entries.having(plan.record).without(plan.forget)
    return Decision(desired, plan, entries, situation.actions, carried, is_more_asked=bool(due(asked, entries)))


def asked_for(situation: Situation, entries: Entries) -> list[Order]:
    """Everything asked of rows there are, whether it was carried out or not; actions before triggers."""
    rows = rows_of(situation.table)
    return [
        *asked_by_actions(situation.actions, rows),
        *asked_by_triggers(unseen(situation.raised, rows)),
        *asked_by_triggers((collection, row) for (collection, _), row in rows.items()),
        *overflowing(situation.table.accounts, entries),
    ]


def rows_of(table: Table) -> dict[tuple[str, str], Row]:
    """Rows of which something can be asked, by collection and id."""
    accounts = {("nats_accounts", row["id"]): row for row in table.accounts}
    return accounts | {("nats_users", row["id"]): row for row in table.users}


def obeyed(
    asked: Sequence[Order], actions: Iterable[Action], entries: Entries, keys: Keys, *, now: int
) -> tuple[Entries, dict[Order, str]]:
    """The ledger once the orders that are due are carried out in it, and which these were."""
    open_tokens = {order.token for order in asked} | {action.token for action in actions}
    carried: dict[Order, str] = {}
    for order in due(asked, entries):
        outcome = carry_out(order, entries, now, open_tokens)
        entries = entries.having(outcome.changed)
        entries = entries.having(keys.with_signing_key(entry) for entry in outcome.new_signing_key)
        entries = entries.having(keys.with_keys(entry) for entry in outcome.new_identity)
        carried[order] = outcome.refusal
    return entries, carried


def writes(before: Entries, after: Entries) -> list[Entry]:
    """Entries that differ from what is stored, in the order in which they are to be stored."""
    changed = [entry for place, entry in after.by_place.items() if before.by_place.get(place) != entry]
    return sorted(changed, key=lambda entry: ORDER_OF_WRITES.index(entry.kind))


def dropped(before: Entries, forget: Iterable[Entry]) -> list[Entry]:
    """What is to be forgotten, as far as it was ever stored."""
    return [before.by_place[entry.place] for entry in forget if entry.place in before.by_place]
