"""PocketBase understands the form of a query that is sent on as it understands what the client wrote."""

from collections.abc import Generator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from gateway.core.front_door.query import MAX_PAIRS, MalformedQuery, canonical, parse
from tests.direct_pocketbase import DirectPocketBase, asking
from tests.servers.pocketbase import pocketbase_server
from tests.thorough import examples

RULE = """
t = @request.query.q
|| (@request.query.q:isset = false && t = 'unset')
|| (@request.query.page:isset = true && t = 'paged')
"""
TEXTS = ("", "x", "x y", "x+y", "é", "a;b", "a&b", "a=b", "%", "unset", "paged")


@dataclass(frozen=True, slots=True)
class Echo:
    """A collection whose list says what PocketBase read of the query; the other has no rule that reads it."""

    pocketbase: DirectPocketBase

    def told(self, name: str, query: str) -> tuple[int, object]:
        answer = self.pocketbase.ask(f"/api/collections/{name}/records?{query}")
        return answer.status, answer.json


@pytest.fixture(scope="module")
def echo() -> Generator[Echo]:
    with pocketbase_server() as server, asking(server) as pocketbase:
        for name, rule in (("echo", RULE.strip()), ("plain", "")):
            body = {"name": name, "type": "base", "fields": [{"name": "t", "type": "text"}], "listRule": rule}
            pocketbase.control("POST", "/api/collections", body)
            for text in TEXTS:
                pocketbase.control("POST", f"/api/collections/{name}/records", {"t": text})
        yield Echo(pocketbase)


def piece(text: str) -> st.SearchStrategy[str]:
    """A text spelt in one of the ways a client might, well or badly."""
    encoded = text.encode()
    escaped = "".join(f"%{byte:02x}" for byte in encoded)
    return st.sampled_from(
        (text.replace(" ", "+"), escaped, escaped.upper(), text.replace(" ", "%20"), text + "%", text + "%4")
    )


VALUES = (
    *TEXTS,
    "0",
    "1",
    "2",
    "+1",
    "-3",
    "01",
    "1e3",
    "true",
    "T",
    "no",
    "t='x'",
    "t=",
    "-t",
    "@rowid",
    "id",
    "t:excerpt(1)",
    " ",
)
NAMES = ("q", "filter", "page", "perPage", "sort", "fields", "skipTotal", "expand", "unknown", "Q", "")
pairs = st.tuples(
    st.sampled_from(NAMES).flatmap(piece),
    st.sampled_from(("=", "=", "=", "", "==", ";=")),
    st.sampled_from(VALUES).flatmap(piece),
).map("".join)
queries = st.lists(st.one_of(pairs, pairs, st.sampled_from(("", ";", "=", "%zz=1", "%", "a=1;q=x"))), max_size=6).map(
    "&".join
)


def sent(text: str) -> bytes:
    """As it stands in a request line: what is no visible ASCII must be escaped there."""
    return b"".join(b"%%%02X" % byte if byte <= 32 or byte >= 127 else bytes([byte]) for byte in text.encode())


@given(query=queries)
@example(query="q=x&q=")
@example(query="q=&q=x")
@example(query="q=%78;&q=x+y")
@example(query="%71=x%20y&q=x")
@example(query="q=a%3Bb")
@example(query="&".join(f"a{number}=1" for number in range(MAX_PAIRS - 1)) + "&q=x")
@settings(
    max_examples=examples(250),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_the_form_that_is_sent_on_means_what_was_written(echo: Echo, query: str) -> None:
    raw = sent(query)
    try:
        understood = parse(raw)
    except MalformedQuery:
        assume(False)
        return
    written = raw.decode()
    assert echo.told("echo", canonical(understood, "list", ("q", "page")).encoded()) == echo.told("echo", written)
    assert echo.told("plain", canonical(understood, "list").encoded()) == echo.told("plain", written)
    assert echo.told("echo", understood.encoded()) == echo.told("echo", written)
