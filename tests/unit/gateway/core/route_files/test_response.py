from collections.abc import AsyncIterator
from types import MappingProxyType
from typing import Any

import pytest
from pydantic import BaseModel, Field

from gateway.core.route_files.context import Context, Metadata
from gateway.core.route_files.refusals import FaultyFolder, Misrouted
from gateway.core.route_files.response import Response, head_of
from gateway.core.rule_files.context import GUEST
from gateway.core.rule_files.rule_set import LoadFault, Place


class Named(BaseModel):
    own_name: str = Field(default="ann", serialization_alias="ownName")


def test_json_carries_models_sets_and_mappings() -> None:
    ctx = Context()
    answer = ctx.json({"model": Named(), "roles": frozenset({"b", "a"}), "params": MappingProxyType({"a": "b"})})
    assert answer.json() == {"model": {"ownName": "ann"}, "roles": ["a", "b"], "params": {"a": "b"}}
    with pytest.raises(TypeError):
        ctx.json({"x": object()})
    assert head_of(ctx.empty()) == [(b"x-content-type-options", b"nosniff")]
    assert head_of(ctx.empty(202))[0] == (b"content-length", b"0")


@pytest.mark.parametrize("status", [204, 205, 304])
def test_an_answer_that_has_no_body_is_given_none(status: int) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"

    for answer in (Context().text("x", status), Context().stream(chunks(), status=status)):
        with pytest.raises(Misrouted, match="no body"):
            head_of(answer)


def test_each_way_to_answer_says_its_type() -> None:
    ctx = Context()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x"

    answers = (ctx.json(1), ctx.html("<p>"), ctx.text("ü"), ctx.file(b"x"), ctx.stream(chunks()), ctx.empty())
    assert [answer.content_type.partition(";")[0] for answer in answers] == [
        "application/json",
        "text/html",
        "text/plain",
        "application/octet-stream",
        "application/octet-stream",
        "",
    ]
    assert not [name for name, _ in head_of(answers[4]) if name == b"content-length"]
    assert [answer.is_stream for answer in answers] == [False, False, False, False, True, False]
    assert ctx.text("ü").text() == "ü"


@pytest.mark.parametrize("name", ["a.txt", 'x"; y=".exe', "a\r\nb: c", "ü.txt", "../../etc/passwd", "\u202egnp.exe"])
def test_a_filename_stays_within_its_quotes(name: str) -> None:
    answer = Context().file(b"x", filename=name)
    [value] = [value for key, value in head_of(answer) if key == b"content-disposition"]
    text = value.decode("ascii")
    assert text.startswith('attachment; filename="')
    assert text.endswith('"')
    assert not set(text[22:-1]) & set('"\\/\r\n;')


def test_a_header_may_be_said_several_times() -> None:
    headers: dict[str, str | list[str]] = {"Set-Cookie": ["a=1", "b=2"], "X-Own": "1"}
    listed = head_of(Context().text("x", headers=headers))
    assert [value for name, value in listed if name == b"set-cookie"] == [b"a=1", b"b=2"]
    assert (b"x-own", b"1") in listed
    assert (b"content-length", b"1") in listed


WRONG: list[Any] = [
    None,
    {"a": 1},
    "text",
    Response(status=99),
    Response(status=600),
    Response(status="200"),  # pyright: ignore[reportArgumentType]
    Response(status=True),
    Response(headers={"a b": "c"}),
    Response(headers={"a": "b\r\nc: d"}),
    Response(headers={"a": "\u2713"}),
    Response(headers={"a": 1}),  # pyright: ignore[reportArgumentType]
    Response(headers={"Content-Length": "0"}),
    Response(headers={"transfer-encoding": "chunked"}),
    Response(headers={"connection": "close"}),
    Response(headers={"Access-Control-Allow-Credentials": "true"}),
    Response(content_type="text/html\r\nx: y"),
]


@pytest.mark.parametrize("response", WRONG)
def test_what_cannot_be_sent_is_no_answer(response: Any) -> None:
    with pytest.raises(Misrouted):
        head_of(response)


def test_a_context_can_be_made_by_hand() -> None:
    ctx = Context()
    ctx.metadata = Metadata(request_id="xyz", json={"a": 1}, headers={"x": "y"})
    assert (ctx.principal, ctx.tenant_id, ctx.body, ctx.files) == (GUEST, "", None, {})
    assert ctx.metadata.json == {"a": 1}


def test_a_faulty_folder_names_each_file() -> None:
    error = FaultyFolder((LoadFault(Place("a.py", 1), "one"), LoadFault(Place("b.py", 2), "two")))
    assert str(error) == "a.py:1: one; b.py:2: two"
