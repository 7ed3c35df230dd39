"""Rules that raise, hang, cheat or fall over never let a request through, and take nobody else with them."""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.core.errors import Forbidden, NotFound, ServiceError, UpstreamUnavailable
from gateway.core.body_refusals import InvalidFields
from gateway.core.operation import Read, Upload, Write
from gateway.core.rule_files.refusals import RuleFailed, RuleOverdue
from gateway.isolate.lanes import Lanes
from gateway.isolate.loops import Loops
from gateway.isolate.threads import Threads
from tests.court import ANN, BOB, Court, sitting, until_nobody_is_lost, write_rules
from tests.eventually import eventually

SOON = 0.1


async def refused_by(folder: Path, rule: str, *, soon: bool = False) -> tuple[ServiceError, Court]:
    """What a create is refused with by the one rule, and that other collections go on being written."""
    write_rules(folder, rule=rule)
    lanes = Lanes(loops=Loops(grace_seconds=SOON))
    async with sitting(folder, lanes=lanes, deadline_seconds=SOON if soon else 5) as court:
        assert not court.folder.current.faults
        with pytest.raises(ServiceError) as refused:
            await court.create({"title": "a"})
        assert await court.create({"title": "a"}, collection="others") == {"title": "a"}
        return refused.value, court


RAISING = [
    'raise ValueError("hunter2")',
    "raise SystemExit",
    "raise KeyboardInterrupt",
    "raise GeneratorExit",
    "raise StopIteration",
    "raise StopAsyncIteration",
    "raise BaseException",
    "import asyncio; raise asyncio.CancelledError",
    "import sys; sys.exit(0)",
    'ctx.record["missing"]',
    "assert False",
    "raise ExceptionGroup('g', [ValueError()])",
    "import no_such_module",
    "return False",
    "return True",
    "return ctx",
    'ctx.collection = "others"',
    'ctx.action = "delete"',
    'ctx.record_id = "other"',
    "ctx.record = None",
    "ctx.record = []",
    'ctx.record["id"] = object()',
    'ctx.record["collectionName"] = "others"',
    'ctx.record["self"] = ctx.record',
    'ctx.record["huge"] = "x" * 2_000_000',
    'ctx.record["many"] = list(range(1_000_000))',
    "again = lambda: again()\n            again()",
    "class Mute(Exception):\n                def __str__(self): raise SystemExit\n            raise Mute",
    'refuse("no", status=200)',
    "ctx.files['a'] = ()",
    "del ctx.record",
    "if ctx.stored: pass",
    "raise FieldError",
]


@pytest.mark.parametrize("kind", ["", "async "], ids=["sync", "async"])
@pytest.mark.parametrize("body", RAISING)
async def test_a_rule_that_does_what_no_rule_may_fails_the_request(tmp_path: Path, body: str, kind: str) -> None:
    error, court = await refused_by(
        tmp_path,
        f"""
        @before("posts", "create")
        {kind}def rule(ctx):
            {body}
        """,
    )
    assert type(error) is RuleFailed
    assert str(error) == "Something went wrong while processing your request."
    [failure] = court.journal.failures
    assert failure.place.file == str(tmp_path / "rule.py")
    assert failure.place.line >= 3
    assert "hunter2" not in repr(failure)


HANGING = [
    "while True: pass",
    "sum(1 for _ in iter(int, 1))",
    "import threading; threading.Event().wait(1)",
    "import time; time.sleep(1)",
]


@pytest.mark.parametrize("kind", ["", "async "], ids=["sync", "async"])
@pytest.mark.parametrize("body", HANGING)
async def test_a_rule_that_hangs_is_overdue_and_the_next_one_runs(tmp_path: Path, body: str, kind: str) -> None:
    write_rules(
        tmp_path,
        rule=f"""
        @before("posts", "create")
        {kind}def hangs(ctx):
            {body}

        @before("others", "create")
        {kind}def works(ctx):
            ctx.record["seen"] = True
        """,
    )
    lanes = Lanes(loops=Loops(grace_seconds=SOON))
    async with sitting(tmp_path, lanes=lanes, deadline_seconds=0.3) as court:
        with pytest.raises(RuleOverdue):
            await court.create({"title": "a"})
        assert court.journal.failures[0].kind == "Overdue"

        async def works() -> bool:
            try:
                return "seen" in await court.create({}, collection="others")
            except RuleOverdue:
                return False

        await eventually(works)
        await until_nobody_is_lost(lanes)


async def test_a_rule_that_awaits_for_ever_is_overdue(tmp_path: Path) -> None:
    error, _ = await refused_by(
        tmp_path,
        """
        import asyncio

        @before("posts", "create")
        async def rule(ctx):
            await asyncio.Event().wait()
        """,
        soon=True,
    )
    assert type(error) is RuleOverdue


async def test_a_rule_that_swallows_its_cancellation_and_returns_is_overdue_all_the_same(tmp_path: Path) -> None:
    error, _ = await refused_by(
        tmp_path,
        """
        import asyncio

        @before("posts", "create")
        async def rule(ctx):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ctx.record["title"] = "late"
        """,
        soon=True,
    )
    assert type(error) is RuleOverdue


async def test_many_hanging_rules_exhaust_neither_the_server_nor_other_requests_for_long(tmp_path: Path) -> None:
    write_rules(
        tmp_path,
        rule="""
        @before("posts", "create")
        def spins(ctx):
            while True:
                pass

        @before("others", "create")
        def works(ctx):
            ctx.record["seen"] = True
        """,
    )
    lanes = Lanes(Threads(count=2, max_lost=2))
    async with sitting(tmp_path, lanes=lanes, deadline_seconds=SOON) as court:
        results = await asyncio.wait([asyncio.create_task(court.create({})) for _ in range(10)])
        assert all(isinstance(task.exception(), RuleOverdue) for task in results[0])

        async def works() -> bool:
            try:
                return "seen" in await court.create({}, collection="others")
            except RuleOverdue:
                return False

        await eventually(works)
        await until_nobody_is_lost(lanes)


async def test_nothing_that_a_rule_leaves_running_changes_what_it_returned(tmp_path: Path) -> None:
    write_rules(
        tmp_path,
        a="""
        import threading

        @before("posts", "create")
        def first(ctx):
            seen = threading.Event()

            def later():
                seen.wait()
                ctx.record["title"] = "changed"
                ctx.record["tags"].append("changed")

            thread = threading.Thread(target=later)
            thread.start()
            HELD.append((seen, thread))

        HELD = []

        @before("posts", "create")
        def second(ctx):
            for seen, thread in HELD:
                seen.set()
                thread.join()
        """,
    )
    async with sitting(tmp_path) as court:
        assert await court.create({"title": "a", "tags": ["b"]}) == {"title": "a", "tags": ["b"]}


async def test_verdicts_of_concurrent_requests_are_never_swapped(tmp_path: Path) -> None:
    write_rules(
        tmp_path,
        rule="""
        import asyncio, random, time

        @before("posts", "create")
        def in_a_thread(ctx):
            time.sleep(random.random() / 500)
            if ctx.record["n"] % 3 == 0:
                refuse(str(ctx.record["n"]))
            ctx.record["sync"] = ctx.record["n"]

        @before("posts", "create")
        async def in_a_loop(ctx):
            await asyncio.sleep(random.random() / 500)
            if ctx.record["n"] % 3 == 1:
                raise FieldError("n", str(ctx.record["n"]))
            ctx.record["async"] = ctx.record["n"]
        """,
    )

    async def verdict(court: Court, n: int) -> object:
        try:
            return await court.create({"n": n})
        except InvalidFields as error:
            return error.data["n"]["message"]
        except Forbidden as error:
            return f"forbidden {error}"

    def expected(n: int) -> object:
        return [f"forbidden {n}", str(n), {"n": n, "sync": n, "async": n}][n % 3]

    async with sitting(tmp_path) as court:
        async with asyncio.TaskGroup() as tasks:
            asking = [tasks.create_task(verdict(court, n)) for n in range(300)]
        assert [task.result() for task in asking] == [expected(n) for n in range(300)]


@pytest.fixture(scope="module")
def modifying(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    write_rules(
        folder,
        rule="""
        @before("posts", "*")
        def no_followers(ctx):
            if "followers" in ctx.written:
                raise FieldError("followers", "Not yours to change.")
        """,
    )
    return folder


SPELLINGS = st.sampled_from(["followers", "followers+", "+followers", "followers-", "followers:autogenerate"])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=3), SPELLINGS, st.booleans())
async def test_no_spelling_of_a_guarded_field_gets_past_its_guard(
    modifying: Path, fields: dict[str, Any], spelling: str, is_file: bool
) -> None:
    files = {spelling: (Upload("a", "image/png", 1),)} if is_file else {}
    given_fields = fields if is_file else {**fields, spelling: 1}
    async with sitting(modifying) as court:
        with pytest.raises(InvalidFields):
            await court.write(Write("update", "Posts", "p1", given_fields, files))


async def test_the_clients_modifiers_do_not_change_what_a_rule_has_set(tmp_path: Path) -> None:
    write_rules(
        tmp_path,
        rule="""
        @before("posts", "create")
        def sign(ctx):
            ctx.record = {**ctx.record, "author": ctx.principal.id}
        """,
    )
    async with sitting(tmp_path) as court:
        for spelling in ("author+", "+author", "author:autogenerate", "author"):
            assert await court.create({spelling: "bob"}, by=ANN) == {"author": ANN.id}
        with pytest.raises(InvalidFields) as refused:
            await court.create({"author": ANN.id, "author+": "bob"}, by=ANN)
        assert refused.value.data == {"author+": {"code": "validation_refused", "message": "Give the field once."}}
        unguarded = {"n": 1, "n+": 2}
        assert await court.create(unguarded, collection="others") == unguarded


async def test_what_a_rule_raises_out_of_a_task_group_of_its_own_is_what_it_meant(tmp_path: Path) -> None:
    error, _ = await refused_by(
        tmp_path,
        """
        import asyncio

        async def check(ctx):
            refuse("no")

        @before("posts", "create")
        async def rule(ctx):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(check(ctx))
        """,
    )
    assert isinstance(error, Forbidden)
    assert str(error) == "no"


STORED = """
    @before("posts", "update", "delete", "view")
    {kind}def owners_only(ctx):
        stored = {read}
        again = {read}
        assert stored is again
        if stored["owner"] != ctx.principal.id:
            refuse()

    @before("posts", "create")
    {kind}def nothing_yet(ctx):
        assert {read} is None
"""
READINGS = [("", "ctx.stored.wait()"), ("async ", "await ctx.stored")]


@pytest.mark.parametrize(("kind", "read"), READINGS, ids=["sync", "async"])
async def test_the_stored_record_is_read_once_and_its_absence_is_pocketbases_404(
    tmp_path: Path, kind: str, read: str
) -> None:
    write_rules(tmp_path, rule=STORED.format(kind=kind, read=read))
    async with sitting(tmp_path) as court:
        court.table.records["posts", "p1"] = {"id": "p1", "owner": ANN.id, "secret": 1}
        await court.write(Write("update", "posts", "p1", {}), ANN)
        assert court.table.reads == 1
        await court.read(Read("view", "posts", "p1"), ANN)
        with pytest.raises(Forbidden):
            await court.write(Write("delete", "posts", "p1"), BOB)
        with pytest.raises(NotFound, match="The requested resource wasn't found"):
            await court.write(Write("update", "posts", "none", {}), ANN)
        await court.create({})


@pytest.mark.parametrize(("kind", "read"), READINGS, ids=["sync", "async"])
async def test_a_rule_that_hides_that_the_record_could_not_be_read_does_not_pass(
    tmp_path: Path, kind: str, read: str
) -> None:
    write_rules(
        tmp_path,
        rule=f"""
        @before("posts", "update")
        {kind}def careless(ctx):
            try:
                {read}
            except Exception:
                pass
        """,
    )
    async with sitting(tmp_path) as court:
        court.table.is_away = True
        with pytest.raises(UpstreamUnavailable, match="away"):
            await court.update({})


async def test_waiting_for_the_stored_record_in_a_rule_with_async_is_a_fault(tmp_path: Path) -> None:
    error, _ = await refused_by(
        tmp_path,
        """
        @before("posts", "create")
        async def rule(ctx):
            ctx.stored.wait()
        """,
    )
    assert type(error) is RuleFailed


@pytest.fixture
async def redacting(tmp_path: Path) -> AsyncGenerator[Court]:
    write_rules(
        tmp_path,
        rule="""
        @after("users", "*")
        def no_emails(ctx):
            for record in ctx.records:
                if not ctx.principal.is_record("users", record.get("id")):
                    record.pop("email", None)

        @after("posts", "view")
        async def drafts(ctx):
            if ctx.answer.get("draft"):
                refuse(status=404)

        @after("posts", "delete")
        def farewell(ctx):
            assert ctx.answer is None and ctx.records == []
            assert ctx.stored.wait() is None
        """,
    )
    async with sitting(tmp_path) as court:
        yield court


def user(id: str, **more: object) -> dict[str, object]:
    return {"id": id, "collectionName": "users", "email": "e", **more}


async def shown(court: Court, operation: Read | Write, answer: object) -> object:
    return json.loads(await court.after(operation, json.dumps(answer).encode(), ANN))


async def test_answers_are_redacted_wherever_a_record_shows(redacting: Court) -> None:
    own, other = user(ANN.id), user("other")
    without = {"id": "other", "collectionName": "users"}
    assert await shown(redacting, Read("view", "users", "other"), other) == without
    assert await shown(redacting, Read("view", "users", ANN.id), own) == own
    assert await shown(redacting, Read("list", "users"), {"items": [own, other]}) == {"items": [own, without]}
    assert await shown(redacting, Write("update", "users", "other"), other) == without
    post = {"id": "p", "expand": {"author": other, "readers": [own, user("x", expand={"friend": user("y")})]}}
    seen = await shown(redacting, Read("list", "posts"), {"items": [post]})
    assert json.dumps(seen).count('"email"') == 1


async def test_an_expanded_record_that_nobody_can_place_is_not_shown(redacting: Court) -> None:
    answer = {"id": "p", "expand": {"author": {"email": "e"}}}
    with pytest.raises(ServiceError, match="collectionName"):
        await shown(redacting, Read("view", "posts", "p"), answer)
    known = Read("view", "posts", "p", expands={"author": "users"})
    assert await shown(redacting, known, answer) == {"id": "p", "expand": {"author": {}}}


async def test_a_rule_may_withhold_an_answer_and_see_one_without_a_body(redacting: Court) -> None:
    with pytest.raises(NotFound):
        await shown(redacting, Read("view", "posts", "p"), {"id": "p", "draft": True})
    assert await redacting.after(Write("delete", "posts", "p"), b"") == b""


async def test_an_answer_that_no_rule_guards_is_passed_on_byte_by_byte(redacting: Court) -> None:
    body = b'{ "n": 1.0,  "big": 123456789012345678901234567890 }'
    assert await redacting.after(Read("list", "comments"), body) == body
    assert json.loads(await redacting.after(Read("view", "posts", "p"), body)) == json.loads(body)


@pytest.mark.parametrize("body", ["ctx.answer = None", "ctx.answer = []", "1/0", 'ctx.answer["a"] = object()'])
async def test_an_answer_that_a_rule_breaks_goes_back_to_nobody(tmp_path: Path, body: str) -> None:
    write_rules(
        tmp_path,
        rule=f"""
        @after("posts", "view")
        def rule(ctx):
            {body}
        """,
    )
    async with sitting(tmp_path) as court:
        with pytest.raises(RuleFailed):
            await court.after(Read("view", "posts", "p"), b'{"email":"e"}')


async def test_rules_run_in_the_order_of_files_and_lines_after_the_models(tmp_path: Path) -> None:
    trace = 'ctx.record["trace"] = ctx.record.get("trace", "") + "{}"'
    write_rules(
        tmp_path,
        b=f"""
        @before("*", "*")
        def third(ctx):
            {trace.format("3")}
        """,
        a=f"""
        from pydantic import BaseModel

        @before("posts", "create")
        async def first(ctx):
            {trace.format("1")}

        @before("*", "create")
        def second(ctx):
            {trace.format("2")}

        class Post(BaseModel):
            title: str
            trace: str = "m"

        @validate("posts", Post)
        async def check(ctx, post):
            post.title = post.title.upper()
            if post.title == "NO":
                raise FieldError("title", "Not that one.")
        """,
    )
    async with sitting(tmp_path) as court:
        assert await court.create({"title": "a", "unknown": 1}) == {"title": "A", "trace": "m123"}
        with pytest.raises(InvalidFields):
            await court.create({"title": "no"})


async def test_a_caller_that_leaves_ends_what_its_rule_awaits(tmp_path: Path) -> None:
    write_rules(
        tmp_path,
        rule="""
        import asyncio, threading
        from pathlib import Path

        @before("posts", "create")
        async def rule(ctx):
            mark = Path(__file__).parent
            (mark / "begun").touch()
            try:
                await asyncio.Event().wait()
            finally:
                (mark / "ended").touch()
        """,
    )

    async def exists(name: str) -> bool:
        return (tmp_path / name).exists()

    async with sitting(tmp_path, deadline_seconds=30) as court:
        leaving = asyncio.create_task(court.create({}))
        await eventually(lambda: exists("begun"))
        leaving.cancel()
        await eventually(lambda: exists("ended"))
        assert leaving.cancelled() or leaving.cancelling()
