"""What a pass has come to, for those who watch."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from natsync.core.showing.mirrors import Status, View, account_status
from natsync.core.state.desired import Desired


@dataclass(frozen=True, slots=True)
class AccountReport:
    id: str
    name: str
    status: Status
    users: int
    suspended: int


@dataclass(slots=True)
class Pass:
    """What one pass did. `pending` says, by account, why it is not known to be on the servers as wanted, and
    `retry_in_seconds` when the first of them is due again. `again_in_seconds`: something else waits to be finished.

    `halted` says why nothing was removed. `orders` were carried out; `whole` passes looked at everything.
    """

    whole: bool = True
    published: int = 0
    removed: int = 0
    issued: int = 0
    written: int = 0
    orders: int = 0
    foreign: int = 0
    halted: str = ""
    retry_in_seconds: float = inf
    again_in_seconds: float = inf
    publish_seconds: float = 0
    pending: dict[str, str] = field(default_factory=dict[str, str])
    accounts: list[AccountReport] = field(default_factory=list[AccountReport])


def reports(desired: Desired, view: View) -> dict[str, AccountReport]:
    """By record id, of the accounts that were looked at."""
    active = Counter(user.account for user in desired.users.values())
    suspended = Counter(user.account for user in desired.suspended.values())
    return {
        id: AccountReport(id, account.name, account_status(id, view), active[id], suspended[id])
        for id, account in desired.accounts.items()
    }


def counts(done: Pass) -> Mapping[str, int]:
    return {
        "published": done.published,
        "removed": done.removed,
        "issued": done.issued,
        "written": done.written,
        "orders": done.orders,
        "pending": len(done.pending),
    }
