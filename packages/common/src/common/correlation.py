"""Which request is being worked on: taken from who calls us, given to whom we call, over HTTP and NATS alike."""

import re
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import structlog

REQUEST_ID_HEADER = "X-Request-Id"

_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")


@contextmanager
def incoming(headers: Mapping[str, str]) -> Generator[str]:
    """Work on behalf of the request that `headers` name (their names in lower case), or of a new one; its id.

    An id that is not 1 to 64 characters of `A-Z a-z 0-9 . _ -` is not taken up: it would end in logs.
    """
    given = headers.get(REQUEST_ID_HEADER.lower(), "")
    request_id = given if _PLAIN.fullmatch(given) else secrets.token_hex(8)
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        yield request_id


def outgoing() -> dict[str, str]:
    """The headers that tell the next service which request it is working for; empty outside of any."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    return {REQUEST_ID_HEADER: request_id} if isinstance(request_id, str) else {}
