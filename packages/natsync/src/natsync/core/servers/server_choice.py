"""Which nats-server to try next, and after what wait: the primary first, then the backups; and how long to wait."""

from collections.abc import Iterator
from dataclasses import dataclass

PRIMARY = 0


@dataclass(frozen=True, slots=True)
class RetryTerms:
    """`max_primary_retries` come after the first try; each wait is `multiplier` times the one before it."""

    max_primary_retries: int = 4
    initial_backoff_seconds: float = 0.1
    max_backoff_seconds: float = 8
    multiplier: float = 2

    def wait_seconds(self, retry: int) -> float:
        """Before the `retry`th try after a failed one, counted from 1."""
        wait = self.initial_backoff_seconds
        for _ in range(retry - 1):
            if wait >= self.max_backoff_seconds:
                break
            wait *= self.multiplier
        return min(wait, self.max_backoff_seconds)


@dataclass(frozen=True, slots=True)
class ConnectionTerms:
    retry: RetryTerms = RetryTerms()
    connect_timeout_seconds: float = 2
    failback_interval_seconds: float = 30


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the servers may take: to say that they took a token, and to answer anything else."""

    publish_seconds: float = 10
    request_seconds: float = 10


@dataclass(frozen=True, slots=True)
class Attempt:
    server: int
    wait_seconds: float


def attempts(servers: int, terms: RetryTerms) -> Iterator[Attempt]:
    """For ever. After the first round, in which the primary gets its retries, every round tries each server once."""
    yield Attempt(PRIMARY, 0)
    for retry in range(1, terms.max_primary_retries + 1):
        yield Attempt(PRIMARY, terms.wait_seconds(retry))
    retry = terms.max_primary_retries
    while True:
        for backup in range(1, servers):
            yield Attempt(backup, 0)
        retry += 1
        yield Attempt(PRIMARY, terms.wait_seconds(retry))


def server_list(primary: str, backups: str) -> tuple[str, ...]:
    """Addresses in the order in which they count. Each argument may hold several, with commas between."""
    named = [address.strip() for text in (primary, backups) for address in text.split(",")]
    return tuple(dict.fromkeys(address for address in named if address))


def shown(address: str) -> str:
    """An address as it may be logged: what stands before an `@` is a password."""
    scheme, slashes, rest = address.rpartition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"
