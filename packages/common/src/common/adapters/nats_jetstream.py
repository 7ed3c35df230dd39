"""JetStream over the link: what is stored, acknowledged once and for all, and the requests that manage it."""

import asyncio
from collections.abc import Mapping
from itertools import count
from typing import Any

import msgspec
from nats.js.api import StreamConfig, StreamInfo

from common.adapters.nats_link import Link, deadline_in
from common.core import subjects
from common.core.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidRequest,
    NoResponders,
    NotFound,
    ServiceError,
    UpstreamUnavailable,
)
from common.core.messages import MessageTooLarge

MESSAGE_ID = "Nats-Msg-Id"
EXPECTED_STREAM = "Nats-Expected-Stream"
EXPECTED_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"

ATTEMPT_SECONDS = 2.0
"""After so long without an acknowledgement the message is sent again, under the same id."""
PAUSE_SECONDS = 0.25
NO_STREAM_ATTEMPTS = 3
"""A stream has no leader for a moment after a restart; one that is not there stays away."""
API_SECONDS = 5.0

WRONG_SEQUENCE = frozenset({10070, 10071, 10164})
NAME_IN_USE = 10058
INVALID_CONFIGURATION = 10052
_CONFLICTS = WRONG_SEQUENCE | {NAME_IN_USE, 10060, 10065, 10013, 10148}
_TOO_LARGE = frozenset({10054, 10097})
_FULL = 10077


class Stored(msgspec.Struct, frozen=True):
    """Where the stream has the message for good; `duplicate` when it had it before under the same id."""

    stream: str
    sequence: int
    duplicate: bool = False


class _Fault(msgspec.Struct):
    code: int = 500
    err_code: int = 0
    description: str = ""


class _Faulty(msgspec.Struct):
    error: _Fault | None = None


class _Acknowledgement(msgspec.Struct):
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _Fault | None = None


_acknowledgements = msgspec.json.Decoder(_Acknowledgement)
_faults = msgspec.json.Decoder(_Faulty)


class NotStored(UpstreamUnavailable):
    """A definite answer, that the message was not stored."""


class StreamFull(NotStored):
    """The stream is at its limit and discards what is new."""


class StreamRefused(Conflict):
    """The stream is in another state than was expected; `reason` is the server's error code.

    `repeated` says that an earlier try of the same call may have been what brought it there.
    """

    def __init__(self, message: str, *, reason: int) -> None:
        super().__init__(message)
        self.reason = reason
        self.repeated = False


def read_acknowledgement(subject: str, data: bytes) -> Stored:
    """Raises what the server's refusal stands for."""
    try:
        told = _acknowledgements.decode(data)
    except msgspec.MsgspecError:
        raise NotStored(f"What answers on {subject} is no stream.") from None
    if told.error:
        raise refusal(subject, told.error)
    if not told.stream:
        raise NotStored(f"What answers on {subject} is no stream.")
    return Stored(told.stream, told.seq, told.duplicate)


def refusal(subject: str, fault: _Fault) -> ServiceError:
    text = f"{subject}: {fault.description[:200]} ({fault.err_code})."
    if fault.err_code in _CONFLICTS:
        return StreamRefused(text, reason=fault.err_code)
    if fault.err_code in _TOO_LARGE:
        return MessageTooLarge(text)
    if fault.err_code == _FULL:
        return StreamFull(text)
    if fault.code == 404:
        return NotFound(text)
    if fault.code == 400 or fault.err_code == INVALID_CONFIGURATION:
        return InvalidRequest(text)
    return UpstreamUnavailable(text)


async def store(link: Link, subject: str, payload: bytes, headers: Mapping[str, str], *, deadline: float) -> Stored:
    """Publish until a stream has acknowledged it. `headers` have to name a message id: it is sent again under it.

    Raises NoResponders when no stream takes the subject, DeadlineExceeded when it may be stored or not.
    """
    for attempt in count(1):
        until = min(deadline, deadline_in(ATTEMPT_SECONDS))
        try:
            return await store_once(link, subject, payload, headers, deadline=until)
        except NotStored:
            raise
        except StreamRefused as error:
            error.repeated = attempt > 1
            raise
        except NoResponders:
            if attempt >= NO_STREAM_ATTEMPTS:
                raise
            pause = PAUSE_SECONDS
        except UpstreamUnavailable as error:
            pause = 0 if isinstance(error, DeadlineExceeded) else PAUSE_SECONDS
        await connected_again(link, subject, pause, deadline)
    raise AssertionError  # `count` does not end


async def store_once(
    link: Link, subject: str, payload: bytes, headers: Mapping[str, str], *, deadline: float
) -> Stored:
    """For what must not be sent twice, or has no time for it."""
    answer = await link.request(subject, payload, headers, deadline=deadline)
    return read_acknowledgement(subject, answer.payload)


async def connected_again(link: Link, subject: str, pause_seconds: float, deadline: float) -> None:
    try:
        async with asyncio.timeout_at(deadline):
            await asyncio.sleep(pause_seconds)
            await link.until_connected()
    except TimeoutError:
        raise DeadlineExceeded(f"No stream has acknowledged {subject} in time: it may be stored or not.") from None


async def ask(link: Link, subject: str, body: Mapping[str, Any], *, seconds: float = API_SECONDS) -> dict[str, Any]:
    """A request to JetStream's own API. Raises NotFound, StreamRefused, InvalidRequest, UpstreamUnavailable."""
    payload = msgspec.json.encode(body) if body else b""
    answer = await link.request(subject, payload, {}, deadline=deadline_in(seconds))
    try:
        fault = _faults.decode(answer.payload).error
        told = msgspec.json.decode(answer.payload, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise UpstreamUnavailable(f"{subject} was not answered by JetStream.") from None
    if fault:
        raise refusal(subject, fault)
    return told


async def ensure_stream(link: Link, config: StreamConfig) -> StreamInfo:
    """Make the stream, or bring the one of that name to that configuration.

    Raises StreamRefused where the two cannot be reconciled, such as another kind of storage.
    """
    name, wanted = str(config.name), config.as_dict()
    try:
        told = await ask(link, subjects.stream_request("CREATE", name), wanted)
    except StreamRefused as error:
        if error.reason != NAME_IN_USE:
            raise
        told = await update_stream(link, name, wanted)
    return StreamInfo.from_response(told)


async def update_stream(link: Link, name: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return await ask(link, subjects.stream_request("UPDATE", name), wanted)
    except InvalidRequest as error:
        raise StreamRefused(str(error), reason=INVALID_CONFIGURATION) from error


async def stream_info(link: Link, name: str) -> StreamInfo:
    """Raises NotFound."""
    return StreamInfo.from_response(await ask(link, subjects.stream_request("INFO", name), {}))
