"""The page that a window shows once it is back from a provider, in place of PocketBase's, which is not reachable."""

import base64
import hashlib
from collections.abc import Sequence

SUCCESS_PATH, FAILURE_PATH = "/auth/oauth2/success", "/auth/oauth2/failure"
SUCCESS, FAILURE = f"..{SUCCESS_PATH}", f"..{FAILURE_PATH}"
"""From `/api/oauth2-redirect`, wherever the gateway is mounted."""
POCKETBASES = {
    b"../_/#/auth/oauth2-redirect-success": SUCCESS.encode(),
    b"../_/#/auth/oauth2-redirect-failure": FAILURE.encode(),
}

_CLOSE = "window.close()"
_PAGE = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    "<title>{0}</title><h1>{0}</h1><p>{1}<script>{2}</script></html>"
)
_HASH = base64.b64encode(hashlib.sha256(_CLOSE.encode()).digest()).decode()

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": f"default-src 'none'; script-src 'sha256-{_HASH}'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
SIGNED_IN = _PAGE.format("Signed in", "You can close this window and go back to the application.", _CLOSE)
NOT_SIGNED_IN = _PAGE.format("Not signed in", "Please go back to the application and try again.", "")


def instead_of_pocketbases(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """An answer's headers, with a redirect to our own page where it was to PocketBase's."""
    return [(name, POCKETBASES.get(value, value) if name == b"location" else value) for name, value in headers]
