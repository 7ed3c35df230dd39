"""What route files import, and whoever runs a route elsewhere: in a test, or in another server."""

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
from gateway.adapters.http_calls import HttpCalls, open_database
from gateway.core.body_refusals import InvalidFields
from gateway.core.route_files.authentication import Authentication
from gateway.core.route_files.context import Context, File, Metadata
from gateway.core.route_files.filters import bound
from gateway.core.route_files.response import Response
from gateway.core.rule_files.context import GUEST, Asker
from gateway.core.rule_files.refusals import FieldError, invalid, refuse
from gateway.routing.database import BatchPartFailed, BatchTooLarge, Database

__all__ = [
    "GUEST",
    "Asker",
    "Authentication",
    "BatchPartFailed",
    "BatchTooLarge",
    "Conflict",
    "Context",
    "Database",
    "FieldError",
    "File",
    "Forbidden",
    "HttpCalls",
    "InvalidFields",
    "InvalidRequest",
    "Metadata",
    "NotFound",
    "RateLimited",
    "Response",
    "ServiceError",
    "Unauthenticated",
    "UpstreamUnavailable",
    "bound",
    "invalid",
    "open_database",
    "refuse",
]
