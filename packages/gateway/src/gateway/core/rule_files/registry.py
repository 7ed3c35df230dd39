"""Collects what a rule file declares while it is being loaded."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from gateway.core.rule_files.rule_set import ModeratedFields, Rule


@dataclass(slots=True)
class Registry:
    rules: list[Rule] = field(default_factory=list[Rule])
    moderated: list[ModeratedFields] = field(default_factory=list[ModeratedFields])


_registry: ContextVar[Registry | None] = ContextVar("_registry", default=None)


@contextmanager
def registering() -> Generator[Registry]:
    registry = Registry()
    token = _registry.set(registry)
    try:
        yield registry
    finally:
        _registry.reset(token)


def current() -> Registry:
    """Where a rule goes that is declared now. Outside of loading, as in a unit test of a rule file, nowhere."""
    return _registry.get() or Registry()
