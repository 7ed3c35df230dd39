"""The snippets of docs/how-to/write-rules.md run, and do what the page says."""

import re
import runpy
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from common.core.errors import Forbidden, InvalidRequest, NotFound, Unauthenticated
from gateway.core.body_refusals import InvalidFields
from gateway.core.operation import Read, Write
from tests.court import ANN, BOB, Court, sitting

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "write-rules.md"
SNIPPETS = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL))


@pytest.fixture
async def guide(tmp_path: Path) -> AsyncGenerator[Court]:
    for name, source in SNIPPETS.items():
        if name.startswith("rules/"):
            (tmp_path / Path(name).name).write_text(source)
    async with sitting(tmp_path) as court:
        assert court.folder.current.faults == ()
        yield court


def test_every_snippet_is_named() -> None:
    assert len(SNIPPETS) == PAGE.read_text().count("```python") == 7


async def test_the_first_rule_signs_comments_of_members(guide: Court) -> None:
    assert await guide.create({"text": "hi"}, collection="comments", by=ANN) == {"text": "hi", "author": ANN.id}
    with pytest.raises(Unauthenticated, match="Sign in to comment"):
        await guide.create({"text": "hi"}, collection="comments")


async def test_refusals_are_shaped_as_the_page_says(guide: Court) -> None:
    with pytest.raises(InvalidFields, match="Failed to create record") as refused:
        await guide.create({"title:autogenerate": "LOUD"}, collection="notes")
    assert refused.value.data == {"title": {"code": "validation_shouting", "message": "Must not shout."}}
    with pytest.raises(InvalidFields) as refused:
        await guide.create({"a": "x" * 101, "b": "x" * 101, "c": "x"}, collection="notes")
    assert set(refused.value.data) == {"a", "b"}
    with pytest.raises(Forbidden, match="You are not allowed to perform this request"):
        await guide.write(Write("delete", "notes", "n1"))


async def test_models_read_creates_whole_and_updates_in_part(guide: Court) -> None:
    made = await guide.create({"title": "abc", "unknown": 1}, collection="articles")
    assert made == {"title": "abc", "starts": 0, "ends": 0}
    assert await guide.update({"starts": 9}, collection="articles") == {"starts": 9}
    with pytest.raises(InvalidRequest, match="It ends before it starts"):
        await guide.update({"starts": 9, "ends": 1}, collection="articles")
    for fields in ({"title": "index"}, {"title": "ab"}, {"starts+": 1}):
        with pytest.raises(InvalidFields):
            await guide.update(fields, collection="articles")


async def test_stored_owners_alone_change_tasks(guide: Court) -> None:
    guide.table.records["tasks", "t1"] = {"owner": ANN.id}
    await guide.write(Write("update", "tasks", "t1"), ANN)
    for id, asker in (("t1", BOB), ("t2", ANN)):
        with pytest.raises(NotFound, match="The requested resource wasn't found"):
            await guide.write(Write("delete", "tasks", id), asker)


async def test_birthdays_show_to_their_owners_alone(guide: Court) -> None:
    body = b'{"items":[{"id":"p1","birthday":"x","collectionName":"people"}]}'
    assert b"birthday" not in await guide.after(Read("list", "people"), body, ANN)
    assert b"birthday" not in await guide.after(Read("view", "tasks"), b'{"expand":{"who":%b}}' % body[10:-2])


async def test_moderation_is_off_until_a_classifier_is_named(guide: Court) -> None:
    assert await guide.create({"title": "x"}, collection="reviews") == {"title": "x"}
    assert len(guide.folder.current.moderated) == 2


def test_a_rule_is_tested_as_the_page_says(tmp_path: Path) -> None:
    for name in ("rules/comments.py", "tests/test_comments.py"):
        (tmp_path / Path(name).name).write_text(SNIPPETS[name])
    rules: dict[str, Any] = runpy.run_path(str(tmp_path / "comments.py"))
    tests: dict[str, Any] = runpy.run_path(str(tmp_path / "test_comments.py"))
    tests["test_comments_are_signed"](rules["members_only"])
