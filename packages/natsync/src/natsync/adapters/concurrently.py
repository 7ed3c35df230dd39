"""Several things at once, but never more than so many."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from common.task_group import TaskGroup

T = TypeVar("T")
R = TypeVar("R")


async def each(act: Callable[[T], Awaitable[R]], items: Iterable[T], *, at_once: int = 16) -> list[R]:
    """Act on all items; results come as they are ready. The first failure ends the others and is raised."""
    results: list[R] = []
    waiting = iter(items)

    async def work() -> None:
        for item in waiting:
            results.append(await act(item))  # noqa: PERF401 - the iterator is shared between workers

    try:
        async with TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(work())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return results
