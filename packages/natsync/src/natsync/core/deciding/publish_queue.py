"""What could not be carried out yet, how often it was tried, and when it is tried again.

The ledger says what is wanted and is never emptied by failures; a ticket only paces the tries. So a ticket can be
lost or cleaned up without losing what it stands for, a revocation least of all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Action: TypeAlias = Literal["publish", "remove"]


@dataclass(frozen=True, slots=True)
class QueueTerms:
    """`interval_seconds` is the longest wait between two tries. After `max_attempts` a ticket counts as failed."""

    max_attempts: int = 10
    initial_backoff_seconds: float = 0.5
    multiplier: float = 2
    interval_seconds: float = 30
    retention_seconds: float = 24 * 3600
    cleanup_interval_seconds: float = 6 * 3600

    def wait_seconds(self, attempts: int) -> float:
        wait = self.initial_backoff_seconds
        for _ in range(attempts - 1):
            if wait >= self.interval_seconds:
                break
            wait *= self.multiplier
        return min(wait, self.interval_seconds)


@dataclass(frozen=True, slots=True)
class Ticket:
    """One account's failed work. `content` names what was to be said; times are Unix seconds, 0 is never."""

    account: str
    action: str
    content: str
    attempts: int = 0
    next_try_at: float = 0
    failed_at: float = 0
    error: str = ""
    id: str = ""

    def is_about(self, action: Action, content: str) -> bool:
        return (self.action, self.content) == (action, content)


@dataclass(frozen=True, slots=True)
class Work:
    account: str
    action: Action
    content: str = ""


def is_due(ticket: Ticket | None, work: Work, now: float) -> bool:
    """What is new is tried at once, however often something else had failed before it."""
    return ticket is None or not ticket.is_about(work.action, work.content) or now >= ticket.next_try_at


def after_failure(ticket: Ticket | None, work: Work, error: str, *, now: float, terms: QueueTerms) -> Ticket:
    """A newer wish takes the place of an older one and starts to count anew."""
    if ticket is None or not ticket.is_about(work.action, work.content):
        ticket = Ticket(work.account, work.action, work.content, id=ticket.id if ticket else "")
    attempts = ticket.attempts + 1
    return Ticket(
        work.account,
        work.action,
        work.content,
        attempts=attempts,
        next_try_at=now + terms.wait_seconds(attempts),
        failed_at=ticket.failed_at or (now if attempts >= terms.max_attempts else 0),
        error=error,
        id=ticket.id,
    )


def outdated(tickets: Iterable[Ticket], *, now: float, terms: QueueTerms) -> list[Ticket]:
    """Failed ones that were kept long enough. If their work is still wanted, it is tried anew."""
    return [ticket for ticket in tickets if ticket.failed_at and ticket.failed_at + terms.retention_seconds <= now]


def to_ticket(row: Mapping[str, Any]) -> Ticket:
    return Ticket(
        account=str(row.get("account") or ""),
        action=str(row.get("action") or ""),
        content=str(row.get("content") or ""),
        attempts=int(row.get("attempts") or 0),
        next_try_at=float(row.get("next_try_at") or 0),
        failed_at=float(row.get("failed_at") or 0),
        error=str(row.get("error") or ""),
        id=str(row["id"]),
    )


def to_row(ticket: Ticket) -> dict[str, Any]:
    return {
        "account": ticket.account,
        "action": ticket.action,
        "content": ticket.content,
        "attempts": ticket.attempts,
        "next_try_at": int(ticket.next_try_at),
        "failed_at": int(ticket.failed_at),
        "error": ticket.error,
    }
