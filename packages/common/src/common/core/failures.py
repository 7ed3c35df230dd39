"""A failure as it crosses the bus: the caller gets the same class of error that the answering side raised."""

from common.core import errors
from common.core.errors import RateLimited, ServiceError, UpstreamUnavailable
from common.core.messages import InvalidMessage, Message, decode

FAILURE_HEADER = "nats-service-error-code"
"""Marks an answer as a failure; `nats-service-error` beside it repeats the message for foreign clients (ADR-32)."""
FAILURE_TEXT_HEADER = "nats-service-error"
MAX_TEXT = 500

KNOWN: dict[str, type[ServiceError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ServiceError) and "code" in vars(kind)
}
"""What every service knows, by code; a package's own errors cross as their nearest ancestor among these."""


class Failure(Message, frozen=True):
    """`code` is the error's own; `nearest` that of its nearest ancestor that every service knows."""

    code: str
    message: str
    nearest: str = ""
    retry_seconds: int = 0


def failure_of(error: Exception) -> Failure:
    """A bug says that it is one and nothing else: its text was meant for us alone."""
    if not isinstance(error, ServiceError):
        return Failure(code=ServiceError.code, message="The answering side failed.", nearest=ServiceError.code)
    kind = type(error)
    known = KNOWN.values()
    nearest = next(parent.code for parent in kind.__mro__ if issubclass(parent, ServiceError) and parent in known)
    retry_seconds = error.retry_seconds if isinstance(error, RateLimited) else 0
    return Failure(code=kind.code, message=str(error)[:MAX_TEXT], nearest=nearest, retry_seconds=retry_seconds)


def failure_headers(failure: Failure) -> dict[str, str]:
    plain = failure.message.encode("ascii", "replace").decode()
    return {FAILURE_HEADER: failure.code, FAILURE_TEXT_HEADER: " ".join(plain.split())}


def read_failure(code: str, data: bytes) -> ServiceError:
    """The error to raise here. A code that nobody here knows is a dependency that failed."""
    try:
        failure = decode(Failure, data)
    except InvalidMessage:
        failure = Failure(code=code, message=f"The answering side failed: {code[:MAX_TEXT]}.")
    kind = KNOWN.get(failure.code) or KNOWN.get(failure.nearest)
    message = failure.message[:MAX_TEXT]
    if kind is None:
        return UpstreamUnavailable(message)
    if issubclass(kind, RateLimited):
        return kind(message, retry_seconds=max(failure.retry_seconds, 1))
    return kind(message)
