"""The one table from our failures to HTTP statuses."""

from collections.abc import Mapping
from types import MappingProxyType

from common.core.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServiceError,
    Unauthenticated,
    UpstreamUnavailable,
)

STATUS: Mapping[type[ServiceError], int] = MappingProxyType(
    {
        InvalidRequest: 400,
        Unauthenticated: 401,
        Forbidden: 403,
        NotFound: 404,
        Conflict: 409,
        RateLimited: 429,
        UpstreamUnavailable: 503,
    }
)


def status_of(error: ServiceError, table: Mapping[type[ServiceError], int] = STATUS) -> int:
    """Nearest listed ancestor, so a new subclass needs no new row; a service may pass a table of its own."""
    return next((table[kind] for kind in type(error).__mro__ if kind in table), 500)
