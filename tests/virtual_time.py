"""An event loop whose time passes only while nothing is left to do: hours of waiting in milliseconds, exactly."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class Impatient(selectors.DefaultSelector):  # pyright: ignore[reportGeneralTypeIssues] - chosen at import
    """Does not wait; notes how long it was asked to."""

    asked: float = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("Nothing is left to happen, yet somebody waits.")
            self.asked = timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._impatient = Impatient()
        self._passed = 0.0
        super().__init__(self._impatient)

    def time(self) -> float:
        if self._impatient.asked > 0:
            self._passed, self._impatient.asked = self._passed + self._impatient.asked, 0.0
        return self._passed


def run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test that waits as long as it likes and takes no time."""

    @wraps(test)
    def run_at_once(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return run_at_once
