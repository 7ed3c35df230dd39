"""Failures a caller may be told about. Each transport maps them once, in one table.

ServiceError
├── InvalidRequest
├── Unauthenticated
├── Forbidden
├── NotFound
├── Conflict
│   └── StaleLease
├── RateLimited
└── UpstreamUnavailable
    ├── DeadlineExceeded
    └── NoResponders
"""

from typing import ClassVar


class ServiceError(Exception):
    """A failure the caller may be told about; any other exception is a bug."""

    code: ClassVar[str] = "internal"


class InvalidRequest(ServiceError):
    code = "invalid_request"


class Unauthenticated(ServiceError):
    code = "unauthenticated"


class Forbidden(ServiceError):
    code = "forbidden"


class NotFound(ServiceError):
    code = "not_found"


class Conflict(ServiceError):
    code = "conflict"


class StaleLease(Conflict):
    """The lease is no longer held, or another has held it since: what was to be done under it must not be done."""

    code = "stale_lease"


class RateLimited(ServiceError):
    code = "rate_limited"

    def __init__(self, message: str, *, retry_seconds: int) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class UpstreamUnavailable(ServiceError):
    """A dependency is away or does not answer in time; the same call may succeed later."""

    code = "upstream_unavailable"


class DeadlineExceeded(UpstreamUnavailable):
    """No answer in the time that was given. What was asked for may have been done, or not, or be done yet."""

    code = "deadline_exceeded"


class NoResponders(UpstreamUnavailable):
    """Nobody listens there: nothing was done."""

    code = "no_responders"
