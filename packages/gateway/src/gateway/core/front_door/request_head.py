"""The head of a request as it goes to PocketBase (RFC 9112 §2)."""

from collections.abc import Sequence


def request_head(method: str, target: str, host: str, headers: Sequence[tuple[str, str]]) -> bytes:
    """Raises ValueError for a line break within: it would begin another header, or another request."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *[f"{name}: {value}" for name, value in headers]]
    text = "\r\n".join(lines)
    breaks = len(lines) - 1
    if text.count("\r") != breaks or text.count("\n") != breaks:
        raise ValueError("A request's head has a line break within a line.")
    return f"{text}\r\n\r\n".encode()
