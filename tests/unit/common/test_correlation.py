"""Which request is being worked on, as it comes in and goes out; without tracing, and with it."""

import asyncio
from collections.abc import Mapping

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from common import correlation
from common.correlation import Attribute, Kind, describe, incoming, outgoing, span, trace_with

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def logged() -> dict[str, object]:
    return structlog.contextvars.get_contextvars()


def test_an_id_that_comes_in_goes_out_and_into_the_logs() -> None:
    with incoming({"x-request-id": "abc-1"}) as request_id:
        assert request_id == "abc-1"
        assert outgoing() == {"X-Request-Id": "abc-1"}
        assert logged()["request_id"] == "abc-1"
    assert outgoing() == {}
    assert "request_id" not in logged()


@given(st.text(max_size=80))
def test_an_id_that_could_do_harm_in_a_log_is_replaced(given_id: str) -> None:
    with incoming({"x-request-id": given_id}) as request_id:
        assert request_id
        assert len(request_id) <= 64
        assert all(character.isascii() and (character.isalnum() or character in "._-") for character in request_id)


def test_without_an_id_each_request_gets_its_own() -> None:
    ids: set[str] = set()
    for _ in range(100):
        with incoming({}) as request_id:
            ids.add(request_id)
    assert len(ids) == 100


def test_work_within_work_has_its_own_id_and_gives_the_other_back() -> None:
    with incoming({"x-request-id": "outer"}):
        with incoming({"x-request-id": "inner"}):
            assert outgoing() == {"X-Request-Id": "inner"}
        assert outgoing() == {"X-Request-Id": "outer"}
        assert logged()["request_id"] == "outer"


async def test_tasks_work_for_the_request_that_started_them_and_requests_are_kept_apart() -> None:
    async def called() -> str:
        await asyncio.sleep(0)
        return outgoing()["X-Request-Id"]

    async def request(name: str) -> str:
        with incoming({"x-request-id": name}):
            return await asyncio.create_task(called())

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(request(f"r{number}")) for number in range(20)]
    assert [task.result() for task in asked] == [f"r{number}" for number in range(20)]


def test_a_caller_s_trace_is_handed_on_though_nothing_is_traced_here() -> None:
    with incoming({"traceparent": PARENT, "tracestate": "a=1,b=2"}) as request_id:
        assert outgoing() == {"X-Request-Id": request_id, "traceparent": PARENT, "tracestate": "a=1,b=2"}


@pytest.mark.parametrize(
    "parent",
    ["", "x", PARENT.upper(), PARENT + "-x", PARENT[:-1], "ff" + PARENT[2:], f"00-{'0' * 32}-b7ad6b7169203331-01"],
)
def test_a_trace_that_is_said_wrongly_is_not(parent: str) -> None:
    with incoming({"traceparent": parent, "tracestate": "a=1"}) as request_id:
        assert outgoing() == {"X-Request-Id": request_id}


@pytest.mark.parametrize("state", ["", "x" * 513, "a=\r\nb", "a=é"])
def test_a_trace_state_that_does_not_fit_is_left_out(state: str) -> None:
    with incoming({"traceparent": PARENT, "tracestate": state}) as request_id:
        assert outgoing() == {"X-Request-Id": request_id, "traceparent": PARENT}


def test_spans_are_nothing_while_nothing_is_traced() -> None:
    with incoming({"x-request-id": "abc"}), span("part") as nothing:
        describe({"a": 1}, name="else")
        assert nothing is None
        assert outgoing() == {"X-Request-Id": "abc"}


class Recorded:
    """A span that remembers what was done to it."""

    def __init__(self, name: str, kind: Kind, headers: Mapping[str, str] | None) -> None:
        self.name, self.kind, self.given = name, kind, headers
        self.attributes: dict[str, Attribute] = {}
        self.ended: list[BaseException | None] = []

    @property
    def trace_id(self) -> str:
        return "t1"

    def headers(self) -> dict[str, str]:
        return {"traceparent": self.name}

    def describe(self, attributes: Mapping[str, Attribute], name: str) -> None:
        self.attributes.update(attributes)
        self.name = name or self.name

    def end(self, error: BaseException | None) -> None:
        self.ended.append(error)


class Recorder:
    def __init__(self) -> None:
        self.spans: list[Recorded] = []

    def begin(self, name: str, kind: Kind, headers: Mapping[str, str] | None) -> Recorded:
        self.spans.append(Recorded(name, kind, headers))
        return self.spans[-1]


def fail_within_a_span() -> None:
    with span("part", kind="client") as request_id:
        assert (request_id, outgoing()["traceparent"]) == ("abc", "part")
        describe({"rows": 3}, name="better name")
        raise LookupError


def test_with_tracing_each_piece_of_work_is_a_span_that_ends_with_it() -> None:
    recorder = Recorder()
    trace_with(recorder)
    try:
        with incoming({"x-request-id": "abc", "traceparent": PARENT}, name="notes", kind="consumer"):
            assert logged() | {"request_id": "abc", "trace_id": "t1"} == logged()
            assert outgoing() == {"X-Request-Id": "abc", "traceparent": "notes"}
            with pytest.raises(LookupError):
                fail_within_a_span()
        with span("alone") as request_id:
            assert request_id
    finally:
        trace_with(None)
    notes, part, alone = recorder.spans
    assert (notes.kind, notes.given, notes.ended) == (
        "consumer",
        {"x-request-id": "abc", "traceparent": PARENT},
        [None],
    )
    assert (part.name, part.kind, part.given, part.attributes) == ("better name", "client", None, {"rows": 3})
    assert isinstance(part.ended[0], LookupError)
    assert (alone.kind, alone.ended) == ("internal", [None])
    assert "trace_id" not in logged()
    assert not correlation.is_tracing()


def test_work_that_began_before_tracing_ends_after_it() -> None:
    with incoming({}) as request_id:
        trace_with(Recorder())
        trace_with(None)
        assert outgoing() == {"X-Request-Id": request_id}
