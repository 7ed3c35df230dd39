"""What rule files import: the ways to declare a rule, and the ways for it to say no.

A rule is a function of one Context. It lets the request pass by returning, and refuses by raising: `refuse`, `invalid`
or a FieldError. Whatever else it raises refuses the request as well, as a fault of the rule.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel

from gateway.core.operation import ACTIONS, Action, Read, Upload, Write
from gateway.core.rule_files import registry
from gateway.core.rule_files.context import GUEST, Asker, Context, Metadata, Stored
from gateway.core.rule_files.model_validation import Models
from gateway.core.rule_files.refusals import FieldError, Refused, invalid, refuse
from gateway.core.rule_files.rule_set import EVERY, ModeratedFields, Phase, Place, Rule, RuleCall

__all__ = [
    "GUEST",
    "Asker",
    "Context",
    "FieldError",
    "Metadata",
    "Read",
    "Refused",
    "Stored",
    "Upload",
    "Write",
    "after",
    "before",
    "invalid",
    "moderate",
    "refuse",
    "validate",
]

Names: TypeAlias = str | Iterable[str]
Check: TypeAlias = Callable[[Context, Any], None] | Callable[[Context, Any], Awaitable[None]]

F = TypeVar("F", bound=RuleCall)
C = TypeVar("C", bound=Check)


def before(collections: Names, *actions: str) -> Callable[[F], F]:
    """The function decides before PocketBase hears of it, and may change `ctx.record`.

    `before("posts", "create", "update")`; `"*"` stands for every collection or every action. Raises TypeError or
    ValueError, so that the file does not load, for anything that could never guard what it is meant to.
    """
    return declaring("before", collections, actions)


def after(collections: Names, *actions: str) -> Callable[[F], F]:
    """The function sees PocketBase's answer and may change `ctx.answer`; a write has happened by then."""
    return declaring("after", collections, actions)


def declaring(phase: Phase, collections: Names, actions: tuple[str, ...]) -> Callable[[F], F]:
    names, meant = folded(checked_names(collections)), checked_actions(actions, ACTIONS)

    def declare(function: F) -> F:
        is_async = checked_function(function, parameters=1)
        place = Place(function.__code__.co_filename, function.__code__.co_firstlineno)
        rule = Rule(phase, function.__qualname__, place, names, meant, function, is_async)
        registry.current().rules.append(rule)
        return function

    return declare


def validate(collections: Names, model: type[BaseModel], *actions: str) -> Callable[[C], C]:
    """Every create and update is read through the model, from this line on.

    As a decorator it adds a check of `(ctx, parsed)`, where `parsed` is the model as read: `@validate("posts", Post)`.
    """
    names, meant = (
        folded(checked_names(collections)),
        checked_actions(actions or ("create", "update"), ("create", "update")),
    )
    models = Models.of(model)
    rule = Rule("validate", model.__name__, caller_place(), names, meant, reading(models), is_async=False)
    rules = registry.current().rules
    rules.append(rule)

    def check_too(check: C) -> C:
        is_async = checked_function(check, parameters=2)
        call = checking_async(models, check) if is_async else checking(models, check)
        rules[rules.index(rule)] = replace(rule, name=check.__qualname__, call=call, is_async=is_async)
        return check

    return check_too


def reading(models: Models) -> Callable[[Context], None]:
    def read(context: Context) -> None:
        models.adopt(context, models.parsed(context))

    return read


def checking(models: Models, check: Callable[[Context, Any], Any]) -> Callable[[Context], object]:
    def read_and_check(context: Context) -> object:
        parsed = models.parsed(context)
        returned = check(context, parsed)
        models.adopt(context, parsed)
        return returned

    return read_and_check


def checking_async(models: Models, check: Callable[[Context, Any], Any]) -> Callable[[Context], Awaitable[object]]:
    async def read_and_check(context: Context) -> object:
        parsed = models.parsed(context)
        returned = await check(context, parsed)
        models.adopt(context, parsed)
        return returned

    return read_and_check


def moderate(collections: Names, *fields: str, threshold: float | None = None) -> None:
    """The text of these fields is shown to the configured classifier; without one, this line does nothing.

    A threshold between 0 and 1 takes the place of the configured one.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise ValueError("a threshold lies between 0 and 1")
    names, meant = folded(checked_names(collections)), checked_actions((EVERY,), ("create", "update"))
    chosen = frozenset(checked_names(fields))
    guard = ModeratedFields("moderate", "moderate", caller_place(), names, meant, chosen, threshold)
    registry.current().moderated.append(guard)


def checked_names(names: Names) -> list[str]:
    listed = [names] if isinstance(names, str) else list(names)
    if not listed or not all(name and name == name.strip() for name in listed):
        raise ValueError(f"a rule names what it guards; {names!r} does not")
    return listed


def folded(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.casefold() for name in names)


def checked_actions(actions: Iterable[str], allowed: tuple[Action, ...]) -> frozenset[Action]:
    given = set(actions)
    unknown = given - {EVERY, *allowed}
    if unknown or not given:
        raise ValueError(f"a rule names its actions, of {', '.join(allowed)} or *; got {sorted(given)}")
    return frozenset(action for action in allowed if EVERY in given or action in given)


def checked_function(function: Callable[..., Any], *, parameters: int) -> bool:
    """Is it async? Raises TypeError for what could not be called with that many values, or would only seem to run."""
    if not inspect.isfunction(function):
        raise TypeError(f"a rule is a function, not {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function.__qualname__} yields; a rule returns or raises")
    inspect.signature(function).bind(*range(parameters))
    return inspect.iscoroutinefunction(function)


def caller_place() -> Place:
    """Where the declaration stands, two calls up."""
    frame = inspect.currentframe()
    caller = frame.f_back.f_back if frame and frame.f_back else None
    return Place(caller.f_code.co_filename, caller.f_lineno) if caller else Place("", 0)
