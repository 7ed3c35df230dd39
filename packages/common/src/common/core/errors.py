"""Failures a caller may be told about. Each transport maps them once, in one table.

ServiceError
├── InvalidRequest
├── Unauthenticated
├── Forbidden
├── NotFound
├── Conflict
├── RateLimited
└── UpstreamUnavailable
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


class RateLimited(ServiceError):
    code = "rate_limited"

    def __init__(self, message: str, *, retry_seconds: int) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class UpstreamUnavailable(ServiceError):
    """A dependency is away or does not answer in time; the same call may succeed later."""

    code = "upstream_unavailable"
