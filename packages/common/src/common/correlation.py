"""Which request is being worked on: taken from who calls us, given to whom we call, over HTTP and NATS alike.

The request's id goes into every log line. Where tracing is on (`common.serving.tracing`), each stretch of work is also
a span of a trace; where it is off, nothing is spent on spans, and a caller's trace is handed on as it came.

Sources: W3C Trace Context.
"""

import random
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Literal, Protocol, TypeAlias

from structlog.contextvars import STRUCTLOG_KEY_PREFIX

REQUEST_ID_HEADER = "X-Request-Id"
CARRIED_HEADERS = ("x-request-id", "traceparent", "tracestate")
"""All that `incoming` looks at, in lower case."""

Kind: TypeAlias = Literal["server", "client", "producer", "consumer", "internal"]
Attribute: TypeAlias = str | int | float | bool

MAX_TRACE_STATE_LENGTH = 512

_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACE_PARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Span(Protocol):
    """A stretch of work that has begun, in the task that began it."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        ...

    def headers(self) -> dict[str, str]:
        """What makes the next service's work part of this: `traceparent` and, where there is one, `tracestate`."""
        ...

    def describe(self, attributes: Mapping[str, Attribute], name: str) -> None: ...

    def end(self, error: BaseException | None) -> None: ...


class Tracing(Protocol):
    def begin(self, name: str, kind: Kind, headers: Mapping[str, str] | None) -> Span:
        """In the trace that the headers name, or a new one; without headers, within the current span."""
        ...


_tracing: Tracing | None = None  # a process has one, as it has one log
_current: ContextVar["Work | None"] = ContextVar("work", default=None)

# Bound by name as structlog's own are, so that every line has them; `bind_contextvars` would take five times as long.
_logged_request_id: ContextVar[str] = ContextVar(f"{STRUCTLOG_KEY_PREFIX}request_id")
_logged_trace_id: ContextVar[str] = ContextVar(f"{STRUCTLOG_KEY_PREFIX}trace_id")


def trace_with(tracing: Tracing | None) -> None:
    """Begin, or with None cease, to make spans in this process."""
    global _tracing
    _tracing = tracing


def is_tracing() -> bool:
    return _tracing is not None


class Work:
    """What `incoming` and `span` return: a context manager that says on whose behalf its block works."""

    __slots__ = ("_before", "_headers", "_kind", "_logged", "_name", "_traced", "carried", "request_id", "span")

    _kind: Kind
    _traced: Token[str]

    def __init__(self, headers: Mapping[str, str] | None, name: str, kind: Kind, request_id: str) -> None:
        self.request_id = request_id
        self.carried: dict[str, str] | None = None
        self.span: Span | None = None
        self._headers, self._name, self._kind = headers, name, kind

    def __enter__(self) -> str:
        if _tracing is not None:
            self.span = _tracing.begin(self._name, self._kind, self._headers)
            self._traced = _logged_trace_id.set(self.span.trace_id)
        elif self._headers and "traceparent" in self._headers:
            self.carried = trace_headers(self._headers)
        self._logged = _logged_request_id.set(self.request_id)
        self._before = _current.set(self)
        return self.request_id

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        _current.reset(self._before)
        _logged_request_id.reset(self._logged)
        if self.span is not None:
            _logged_trace_id.reset(self._traced)
            self.span.end(error)


def incoming(headers: Mapping[str, str], *, name: str = "incoming", kind: Kind = "server") -> Work:
    """`with incoming(headers) as id:` works on behalf of the request that `headers` name, or of a new one.

    The headers' names are in lower case. A request id that is not 1 to 64 characters of `A-Z a-z 0-9 . _ -` is not
    taken up: it would end in logs. `name` is what the span is called, one of few; `kind` says what started the work.
    """
    given = headers.get("x-request-id")
    return Work(headers, name, kind, given if given and _PLAIN.fullmatch(given) else new_id())


def outgoing() -> dict[str, str]:
    """The headers that tell the next service which request it is working for; empty outside of any."""
    work = _current.get()
    if work is None:
        return {}
    told = {REQUEST_ID_HEADER: work.request_id}
    if work.span is not None:
        told.update(work.span.headers())
    elif work.carried is not None:
        told.update(work.carried)
    return told


def span(name: str, *, kind: Kind = "internal") -> AbstractContextManager[str | None]:
    """A part of the current work that is worth a span of its own. Nothing while tracing is off."""
    if _tracing is None:
        return _NOTHING
    work = _current.get()
    return Work(None, name, kind, work.request_id if work else new_id())


def describe(attributes: Mapping[str, Attribute], *, name: str = "") -> None:
    """Say more of the current span, or what it is called; secrets are taken out. Nothing while tracing is off."""
    if _tracing is not None and (work := _current.get()) is not None and work.span is not None:
        work.span.describe(attributes, name)


def new_id() -> str:
    return f"{random.getrandbits(64):016x}"  # a name and no secret; the system's source takes twice as long


def trace_headers(headers: Mapping[str, str]) -> dict[str, str] | None:
    """A caller's trace as it is handed on; None where it does not say one, or says it wrongly."""
    parent, state = headers.get("traceparent", ""), headers.get("tracestate", "")
    if _TRACE_PARENT.fullmatch(parent) is None:
        return None
    is_fit = state and len(state) <= MAX_TRACE_STATE_LENGTH and state.isascii() and state.isprintable()
    return {"traceparent": parent, "tracestate": state} if is_fit else {"traceparent": parent}


_NOTHING = nullcontext()
