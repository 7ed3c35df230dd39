"""Cross-origin answers as PocketBase gives them: every origin, no credentials."""

import re

from gateway.core.front_door.headers import RawHeaders, first

ALLOW_ORIGIN = (b"access-control-allow-origin", b"*")
METHODS = b"GET,HEAD,PUT,PATCH,POST,DELETE"
DEFAULT_HEADERS = b"Accept,Accept-Language,Authorization,Content-Type,Range,X-Client-Id"
MAX_AGE_SECONDS = b"600"

_HEADER_NAMES = re.compile(r"[A-Za-z0-9-]+(?: ?, ?[A-Za-z0-9-]+)*")
_MAX_NAMES_LENGTH = 1024


def preflight(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """The answer's headers. Names asked for are granted, since custom headers may feed PocketBase's rules."""
    asked = first(headers, b"access-control-request-headers") or ""
    granted = len(asked) <= _MAX_NAMES_LENGTH and _HEADER_NAMES.fullmatch(asked)
    return [
        ALLOW_ORIGIN,
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", asked.encode() if granted else DEFAULT_HEADERS),
        (b"access-control-max-age", MAX_AGE_SECONDS),
        (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    ]
