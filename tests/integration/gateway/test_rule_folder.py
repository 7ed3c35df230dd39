"""Rule files are read in isolation and as a whole, and one that does not load lets nothing through."""

import asyncio
import gc
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from common.core.errors import Forbidden
from gateway.adapters.rule_folder import RuleFolder
from gateway.adapters.run_files import MAX_FILE_BYTES
from gateway.core.operation import Read, Write
from gateway.core.rule_files.moderation import guards_of
from gateway.core.rule_files.refusals import RuleFailed, RulesNotLoaded
from gateway.core.rule_files.report import report
from gateway.isolate.lanes import open_lanes
from tests.court import Court, sitting, until_nobody_is_lost, write_rules
from tests.eventually import eventually

MARK = """
@before("posts", "create")
def mark(ctx):
    ctx.record["by"] = {!r}
"""


@asynccontextmanager
async def watched(folder: Path) -> AsyncGenerator[Court]:
    async with sitting(folder) as court:
        watching = asyncio.create_task(court.folder.watch())
        try:
            yield court
        finally:
            watching.cancel()
            await asyncio.wait([watching])


async def made(court: Court) -> dict[str, Any]:
    """What a create would write, once the rules let it."""
    try:
        return await court.create({})
    except RulesNotLoaded as error:
        raise LookupError from error


async def refuses_everything(court: Court) -> None:
    for ask in (
        court.create({}),
        court.update({}, collection="others"),
        court.write(Write("delete", "others", "o1")),
        court.read(Read("list", "others")),
        court.after(Read("view", "others", "o1"), b"{}"),
    ):
        with pytest.raises(RulesNotLoaded):
            await ask


BROKEN = {
    "def": (3, "SyntaxError"),
    "x = (": (3, "SyntaxError"),
    "\n1/0": (4, "ZeroDivisionError: division by zero"),
    "raise SystemExit(0)": (3, "SystemExit: 0"),
    "raise KeyboardInterrupt": (3, "KeyboardInterrupt"),
    "import no_such_module": (3, "ModuleNotFoundError"),
    "from . import other": (3, "ImportError"),
    "import other": (3, "ModuleNotFoundError"),
    "refuse()": (3, "Refused"),
    "def again(): again()\nagain()": (3, "RecursionError"),
    "@before('posts', 'creat')\ndef rule(ctx): ...": (3, "ValueError"),
    "@before('posts', 'create')\ndef rule(): ...": (3, "TypeError"),
    "validate('posts', dict)": (3, "TypeError"),
    "x = 1\n\0": (0, ""),
}


@pytest.mark.parametrize("source", BROKEN)
async def test_a_file_that_does_not_load_refuses_everything_and_says_where(tmp_path: Path, source: str) -> None:
    write_rules(tmp_path, good=MARK.format("good"), other="")
    (tmp_path / "bad.py").write_text(f"from gateway.rules import *\n\n{source}")
    async with sitting(tmp_path) as court:
        await refuses_everything(court)
        [fault] = court.folder.current.faults
        line, reason = BROKEN[source]
        assert fault.place.file == str(tmp_path / "bad.py")
        assert fault.place.line == line or not line
        assert fault.reason.startswith(reason)
        told = report(court.folder.current, court.journal.failures)
        assert told["enforcing"] is False
        assert told["faults"] == [{"file": fault.place.file, "line": fault.place.line, "reason": fault.reason}]


async def test_a_file_that_never_ends_does_not_load_and_is_named(tmp_path: Path) -> None:
    write_rules(tmp_path, a="", b="while True: pass", c="")
    with open_lanes() as lanes:
        folder = RuleFolder(tmp_path, lanes, load_seconds=1)
        await folder.load()
        [fault] = folder.current.faults
        assert fault.place.file == str(tmp_path / "b.py")
        assert fault.reason == "did not load within 1 s"
        await until_nobody_is_lost(lanes)


async def test_files_that_cannot_be_read_or_are_overlong_do_not_load(tmp_path: Path) -> None:
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "long.py").write_text("#" * (MAX_FILE_BYTES + 1))
    (tmp_path / "latin.py").write_bytes(b"x = '\xff'")
    async with sitting(tmp_path) as court:
        assert len(court.folder.current.faults) == 4
        await refuses_everything(court)


async def test_a_folder_that_is_missing_refuses_everything(tmp_path: Path) -> None:
    async with sitting(tmp_path / "missing") as court:
        await refuses_everything(court)


async def test_before_the_first_reading_nothing_passes(tmp_path: Path) -> None:
    with open_lanes() as lanes, pytest.raises(RulesNotLoaded):
        RuleFolder(tmp_path, lanes).current.check_loaded()


async def test_an_empty_folder_holds_no_rules(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("raise SystemExit")
    (tmp_path / ".#editing.py").symlink_to("nowhere")
    async with sitting(tmp_path) as court:
        assert await court.create({"title": "a"}) == {"title": "a"}


async def test_files_share_neither_names_nor_modules_and_leave_nothing_behind(tmp_path: Path) -> None:
    path, modules = list(sys.path), set(sys.modules)
    shadow = MARK.format("{}") + "\nSECRET = '{}'\nassert 'gateway.rules' in __import__('sys').modules"
    write_rules(tmp_path, json=shadow.format("json", "1"), gateway=shadow.format("gateway", "2"))
    (tmp_path / "z.py").write_text(
        "from __future__ import annotations\n"
        "import json, dataclasses\n"
        "from pydantic import BaseModel\n"
        "from gateway.rules import before, validate\n"
        "assert json.dumps({}) == '{}'\n"
        "assert 'SECRET' not in globals() and 'annotations' in globals()\n"
        "@dataclasses.dataclass\nclass Holder:\n    post: Post | None = None\n"
        "class Post(BaseModel):\n    author: Author\n"
        "class Author(BaseModel):\n    name: str\n"
        "validate('posts', Post)\n"
        "@before('posts', 'create')\ndef last(ctx):\n    ctx.record['who'] = __name__\n"
    )
    async with sitting(tmp_path) as court:
        assert court.folder.current.faults == ()
        fields = await court.create({"author": {"name": "ann"}})
        assert fields["author"] == {"name": "ann"}
        assert fields["who"].startswith("rules:")
        assert fields["who"] in sys.modules
    assert sys.path == path
    assert not list(tmp_path.rglob("__pycache__"))  # noqa: ASYNC240
    del court
    gc.collect()
    assert not [name for name in set(sys.modules) - modules if name.startswith("rules:")]


async def test_a_changed_file_is_read_again_as_a_whole(tmp_path: Path) -> None:
    write_rules(tmp_path, a=MARK.format("old"))
    async with watched(tmp_path) as court:
        assert await court.create({}) == {"by": "old"}
        write_rules(tmp_path, a=MARK.format("new"))
        await eventually(lambda: made(court), lambda fields: fields == {"by": "new"})


async def test_requests_under_way_end_with_the_rules_they_began_with(tmp_path: Path) -> None:
    write_rules(tmp_path, a=MARK.format("old") + '@after("posts", "create")\ndef out(ctx): ctx.answer["by"] = "old"')
    async with watched(tmp_path) as court:
        hearing = court.hearing()
        write_rules(tmp_path, a=MARK.format("new"))
        await eventually(lambda: made(court), lambda fields: fields == {"by": "new"})
        write = await hearing.before_write(Write("create", "posts"))
        assert write.fields == {"by": "old"}
        assert await hearing.after(write, b"{}") == b'{"by":"old"}'


async def test_a_change_that_breaks_a_file_refuses_until_it_is_mended(tmp_path: Path) -> None:
    write_rules(tmp_path, a=MARK.format("a"), b=MARK.format("b"))
    async with watched(tmp_path) as court:
        (tmp_path / "b.py").write_text("def")
        await eventually(lambda: is_broken(court))
        await refuses_everything(court)
        (tmp_path / "b.py").unlink()
        await eventually(lambda: made(court), lambda fields: fields == {"by": "a"})


async def is_broken(court: Court) -> bool:
    return bool(court.folder.current.faults)


async def test_a_file_that_is_deleted_takes_its_rules_with_it_only_when_the_folder_is_read(tmp_path: Path) -> None:
    write_rules(tmp_path, a=MARK.format("a") + "\nimport linecache")
    async with sitting(tmp_path) as court:
        (tmp_path / "a.py").unlink()
        assert await court.create({}) == {"by": "a"}
        await court.folder.load()
        assert await court.create({}) == {}


async def test_a_rule_whose_file_is_gone_still_fails_with_its_place(tmp_path: Path) -> None:
    write_rules(tmp_path, a='@before("posts", "create")\ndef rule(ctx):\n    1/0')
    async with sitting(tmp_path) as court:
        (tmp_path / "a.py").unlink()
        with pytest.raises(RuleFailed):
            await court.create({})
        assert court.journal.failures[0].place.line == 4


async def test_a_folder_that_vanishes_refuses_everything_and_may_come_back(tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    write_rules(folder, a=MARK.format("a"))
    async with watched(folder) as court:
        shutil.rmtree(folder)

        await eventually(lambda: is_broken(court))
        await refuses_everything(court)
        folder.mkdir()
        write_rules(folder, a=MARK.format("back"))
        await eventually(lambda: made(court), lambda fields: fields == {"by": "back"})


async def test_the_set_is_never_half_old_and_half_new(tmp_path: Path) -> None:
    """While a new file is still being run, the old rules are in force, all of them and no other."""
    both = '@before("posts", "create")\ndef rule(ctx):\n    ctx.record.setdefault("n", []).append({})'
    slow = """
from pathlib import Path
here = Path(__file__).parent
(here / "begun").touch()
while not (here / "go").exists():
    pass
"""
    write_rules(tmp_path, a=both.format(1), b=both.format(1))
    async with watched(tmp_path) as court:
        write_rules(tmp_path, a=both.format(2), b=slow + both.format(2))

        async def has_begun() -> bool:
            return (tmp_path / "begun").exists()

        await eventually(has_begun)
        assert await court.create({}) == {"n": [1, 1]}
        (tmp_path / "go").touch()
        assert await eventually(lambda: made(court), lambda fields: fields["n"] != [1, 1]) == {"n": [2, 2]}


async def test_operators_see_files_rules_and_what_went_wrong(tmp_path: Path) -> None:
    write_rules(
        tmp_path,
        a="""
        @before("posts", "create")
        def fails(ctx):
            raise ValueError("hunter2")

        moderate("post", "title")
        """,
    )
    with open_lanes() as lanes:
        folder = RuleFolder(tmp_path, lanes, extra=guards_of(["posts.body"]))
        await folder.load()
        assert folder.current.find_moderated("posts", "create")
    async with sitting(tmp_path) as court:
        for _ in range(3):
            with pytest.raises(RuleFailed):
                await court.create({})
        told = report(court.folder.current, court.journal.failures, ["posts", "users"])
    file = str(tmp_path / "a.py")
    assert told["enforcing"] is True
    [listed] = told["files"]
    assert listed["file"] == file
    assert [(rule["name"], rule["phase"], rule["line"]) for rule in listed["rules"]] == [
        ("fails", "before", 3),
        ("moderate", "moderate", 7),
    ]
    [failure] = told["failures"]
    assert (failure["file"], failure["line"], failure["kind"], failure["count"]) == (file, 5, "ValueError", 3)
    assert told["unknown_collections"] == ["post"]
    assert "hunter2" not in str(told)


async def test_a_refusal_is_no_failure_of_the_rule(tmp_path: Path) -> None:
    write_rules(tmp_path, a='@before("posts", "create")\ndef no(ctx): refuse()')
    async with sitting(tmp_path) as court:
        with pytest.raises(Forbidden):
            await court.create({})
        assert court.journal.failures == []
