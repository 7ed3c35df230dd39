"""Groups of tasks whose host can be cancelled at any moment, and is never left counted as cancelled.

`asyncio.TaskGroup` of Python 3.11 and 3.12 cancels its host to end the block early, and forgets to take that back when
the host is already waiting at the block's end: `cancelling()` then says for ever that somebody wants it to end. And
where children fail while the host is cancelled from outside, their errors come out and the cancellation is lost.

Source: https://github.com/python/cpython/issues/116720
"""

import asyncio
import sys
from types import TracebackType

if sys.version_info >= (3, 13):
    TaskGroup = asyncio.TaskGroup  # noqa: TID251 - it is sound there
else:

    class TaskGroup(asyncio.TaskGroup):  # noqa: TID251 - mended here
        """As that of `asyncio`. A cancellation from outside comes before the errors of children, which cause it."""

        _before = 0

        async def __aenter__(self) -> "TaskGroup":
            self._before = cancellations()
            await super().__aenter__()
            return self

        async def __aexit__(
            self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
        ) -> None:
            host, taken_back = asyncio.current_task(), self._has_cancelled_its_host()
            try:
                await super().__aexit__(kind, error, traceback)
            except BaseExceptionGroup as failures:
                if host and self._has_cancelled_its_host() and not taken_back:
                    host.uncancel()
                if cancellations() > self._before:
                    raise asyncio.CancelledError from failures
                raise

        def _has_cancelled_its_host(self) -> bool:
            return vars(self)["_parent_cancel_requested"]


def cancellations() -> int:
    """How often whoever runs this was asked to end."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0
