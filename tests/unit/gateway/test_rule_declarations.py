"""A rule file declares its rules, and one that could never guard what it is meant to does not load."""

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel

from gateway.core.rule_files.registry import Registry, registering
from gateway.rules import Context, after, before, moderate, validate


class Post(BaseModel):
    title: str


@pytest.fixture
def registry() -> Generator[Registry]:
    with registering() as registry:
        yield registry


def rule(_: Context) -> None: ...


def test_a_rule_knows_where_it_stands_and_what_it_guards(registry: Registry) -> None:
    @before(["Posts", "comments"], "create", "update")
    def no_shouting(_: Context) -> None: ...

    @after("*", "*")
    async def redact(_: Context) -> None: ...

    first, second = registry.rules
    assert (first.name.split(".")[-1], first.phase, first.is_async) == ("no_shouting", "before", False)
    assert first.place.file == __file__
    assert first.collections == {"posts", "comments"}
    assert first.actions == {"create", "update"}
    assert second.is_async
    assert second.actions == {"create", "update", "delete", "list", "view"}


def test_a_model_guards_from_the_line_on_that_names_it_and_takes_one_check(registry: Registry) -> None:
    validate("posts", Post, "create")

    @validate("posts", Post)
    def check(_: Context, __: Post) -> None: ...

    @validate("posts", Post)
    async def check_too(_: Context, __: Post) -> None: ...

    assert [rule.name.split(".")[-1] for rule in registry.rules] == ["Post", "check", "check_too"]
    assert [rule.is_async for rule in registry.rules] == [False, False, True]
    assert registry.rules[0].actions == {"create"}
    assert registry.rules[0].place.file == __file__


def test_the_same_function_may_guard_twice_and_stays_a_function(registry: Registry) -> None:
    assert before("posts", "create")(before("users", "update")(rule)) is rule
    assert len(registry.rules) == 2


def generator(_: Context) -> Generator[None]:
    yield


def two(_: Context, __: Context) -> None: ...


def none() -> None: ...


DECLARE: Any = before  # so that what must not be written can be
VALIDATE: Any = validate
DECLARATIONS: list[Callable[[], Any]] = [
    lambda: before("posts"),
    lambda: before("posts", "creat"),
    lambda: before("", "create"),
    lambda: before([], "create"),
    lambda: before(["posts", " users"], "create"),
    lambda: DECLARE("posts", "create")(partial(rule)),
    lambda: before("posts", "create")(generator),
    lambda: DECLARE("posts", "create")(two),
    lambda: DECLARE("posts", "create")(none),
    lambda: DECLARE("posts", "create")(Post),
    lambda: validate("posts", Post, "delete"),
    lambda: validate("posts", dict),  # pyright: ignore[reportArgumentType]
    lambda: VALIDATE("posts", Post)(rule),
    lambda: moderate("posts"),
    lambda: moderate("posts", "title", threshold=0),
    lambda: moderate("posts", "title", threshold=2),
]


@pytest.mark.parametrize("declare", DECLARATIONS)
def test_what_could_never_guard_is_no_rule(registry: Registry, declare: Callable[[], Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        declare()


def test_texts_to_be_moderated_are_named(registry: Registry) -> None:
    moderate("posts", "title", "body", threshold=0.5)
    [guard] = registry.moderated
    assert guard.fields == {"title", "body"}
    assert guard.threshold == 0.5
    assert guard.place.file == __file__


def test_a_rule_file_may_be_imported_by_its_own_tests() -> None:
    assert before("posts", "create")(rule) is rule
    validate("posts", Post)
    moderate("posts", "title")
