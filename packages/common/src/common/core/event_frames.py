"""One event as the bytes that go over the wire, the same for every client, so that they need be made only once.

Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream. Chunks: RFC
9112 §7.1. WebSocket frames: RFC 6455 §5.2, of a server and therefore unmasked, without extensions.
"""

LAST_CHUNK = b"0\r\n\r\n"

_TEXT, _CLOSE = 0x81, 0x88
_SHORT, _MEDIUM = 125, 0xFFFF
_NO_LINE = frozenset(b"\r\n\0")


def sse_event(name: bytes, data: bytes, *, id: bytes = b"", retry_ms: int = 0) -> bytes:
    """`retry_ms` is how long the client shall wait before it comes again.

    Raises ValueError for what would begin another line.
    """
    if not _NO_LINE.isdisjoint(name + data + id):
        raise ValueError("An event's name, id and data are one line each.")
    head = (b"retry:%d\n" % retry_ms if retry_ms else b"") + (b"id:%b\n" % id if id else b"")
    return b"%bevent:%b\ndata:%b\n\n" % (head, name, data)


def sse_comment(text: bytes = b"") -> bytes:
    """Keeps a connection alive and means nothing."""
    return b":%b\n\n" % text


def http_chunk(data: bytes) -> bytes:
    """A chunk of a body; `data` must not be empty, for that would be its end."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def websocket_text(payload: bytes) -> bytes:
    """`payload` is UTF-8."""
    return _head(_TEXT, len(payload)) + payload


def websocket_close(code: int) -> bytes:
    return _head(_CLOSE, 2) + code.to_bytes(2, "big")


def _head(first: int, size: int) -> bytes:
    if size <= _SHORT:
        return bytes((first, size))
    if size <= _MEDIUM:
        return bytes((first, 126)) + size.to_bytes(2, "big")
    return bytes((first, 127)) + size.to_bytes(8, "big")
