"""In which order accounts are to reach the servers: who exports comes before who imports from it.

A server that loads an account whose exporter it lacks asks for that one and waits, close to two seconds each.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def waves(items: Sequence[T], key: Callable[[T], str], imports: Callable[[T], Iterable[str]]) -> list[list[T]]:
    """Groups that may each be published at once, one after the other.

    Accounts that import from each other in a circle come together, in the group in which nothing else is left.
    """
    waiting = {key(item): item for item in items}
    exporters = {name: waiting.keys() & set(imports(item)) - {name} for name, item in waiting.items()}
    ordered: list[list[T]] = []
    while waiting:
        free = [name for name in waiting if not exporters[name] & waiting.keys()] or list(waiting)
        ordered.append([waiting.pop(name) for name in free])
    return ordered
