"""The lines of the NATS client protocol that the bus writes and reads itself.

Source: docs.nats.io/reference/reference-protocols/nats-protocol, ADR-4 (headers), ADR-15 (acknowledgement subjects).
"""

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from common.core.errors import InvalidRequest

_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}")
_HEADER_VALUE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{0,4096}")
_VIOLATION = re.compile(
    r"permissions violation for (?P<operation>publish|subscription) (?:with reply of |to )"
    r'"(?P<subject>[^"]*)"(?: using queue "(?P<queue>[^"]*)")?',
    re.IGNORECASE,
)
_HEADER_START = b"NATS/1.0"
_TOO_MANY_SUBSCRIPTIONS = "maximum subscriptions exceeded"


class Headers(NamedTuple):
    """`status` is what the server itself says (`503` for no responders); names are in lower case."""

    status: str
    values: Mapping[str, str]


class Violation(NamedTuple):
    """The server refused something. nats-py folds the names to lower case; a subject of None stands for any."""

    operation: Literal["publish", "subscription"]
    subject: str | None
    queue: str = ""


class Delivered(NamedTuple):
    """What JetStream says of a message that it hands to a consumer."""

    stream: str
    consumer: str
    deliveries: int
    stream_sequence: int
    consumer_sequence: int
    pending: int


NO_HEADERS = Headers("", {})


def publication(subject: str, reply: str, headers: Mapping[str, str], payload: bytes) -> bytes:
    """PUB or HPUB. The subject has to be valid already. Raises InvalidRequest, naming a header that cannot be sent."""
    to = f"{subject} {reply}" if reply else subject
    if not headers:
        return b"PUB %b %d\r\n%b\r\n" % (to.encode(), len(payload), payload)
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items() if sendable(name, value)])
    block = b"NATS/1.0\r\n%b\r\n" % lines.encode()
    return b"HPUB %b %d %d\r\n%b%b\r\n" % (to.encode(), len(block), len(block) + len(payload), block, payload)


def sendable(name: str, value: str) -> bool:
    """Raises InvalidRequest for a header that would change the shape of what is sent."""
    if not _HEADER_NAME.fullmatch(name):
        raise InvalidRequest(f"{name[:64]!r} cannot be the name of a header.")
    if not _HEADER_VALUE.fullmatch(value):
        raise InvalidRequest(f"The header {name} is too long or has a control character.")
    return True


def subscription(subject: str, queue: str, sid: int) -> bytes:
    return f"SUB {subject} {queue} {sid}\r\n".encode()


def unsubscription(sid: int) -> bytes:
    return b"UNSUB %d\r\n" % sid


def read_headers(block: bytes | None) -> Headers:
    """What cannot be read is left out: it comes from others and must not stop a reader."""
    if not block:
        return NO_HEADERS
    first, *lines = block.removeprefix(_HEADER_START).decode("utf-8", "replace").split("\r\n")
    values: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            values[name.strip().lower()] = value.strip()
    status = first.strip()
    if " " in status:
        values.setdefault("description", status[4:])
    return Headers(status[:3], values)


def read_violation(text: str) -> Violation | None:
    """What an error line of the server refuses, if it is of that kind."""
    if found := _VIOLATION.search(text):
        operation = "publish" if found["operation"].lower() == "publish" else "subscription"
        return Violation(operation, found["subject"].lower(), (found["queue"] or "").lower())
    if _TOO_MANY_SUBSCRIPTIONS in text.lower():
        return Violation("subscription", None)
    return None


def read_delivered(reply: str) -> Delivered | None:
    """From the subject on which a message is to be acknowledged; None when it was not handed out by a consumer."""
    tokens = reply.split(".")
    if len(tokens) < 9 or tokens[:2] != ["$JS", "ACK"]:
        return None
    if len(tokens) >= 11:  # with a domain and an account before the stream
        tokens = tokens[:2] + tokens[4:]
    stream, consumer, *numbers = tokens[2:9]
    try:
        deliveries, stream_sequence, consumer_sequence, _, pending = map(int, numbers)
    except ValueError:
        return None
    return Delivered(stream, consumer, deliveries, stream_sequence, consumer_sequence, pending)
