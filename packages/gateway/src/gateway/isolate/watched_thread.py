"""A thread that can be told to stop, for as long as it burns the processor.

One that merely waits is left alone: it costs nothing, and CPython 3.11 can hang for ever under a debugger or under
coverage while an exception is pending in a thread that does not run.
"""

import asyncio
import ctypes
import time
from collections.abc import Callable
from threading import Thread, get_ident

from gateway.isolate.outcome import GivenUp

LOOK_SECONDS = 0.05
LOOK_AGAIN_SECONDS = 1.0
BUSY_SECONDS = 0.001


class WatchedThread(Thread):
    """A daemon, so that it never keeps the process from ending. `target` must let GivenUp end it."""

    def __init__(self, target: Callable[[], None], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)
        self._clock: int | None = None
        self._spent_before = 0.0

    def run(self) -> None:
        # asked here because asking for the clock of a thread that has ended may crash the process
        if hasattr(time, "pthread_getcpuclockid"):
            self._clock = time.pthread_getcpuclockid(get_ident())
        super().run()

    def chase(self) -> None:
        """From now on, until it has ended, it is interrupted whenever it is found busy. Call in the server's loop."""
        self._spent_before = self._spent()
        self._look_later(LOOK_SECONDS)

    def interrupt_if_busy(self) -> None:
        """Since the last look, that is."""
        spent = self._spent()
        if self.is_alive() and spent - self._spent_before > BUSY_SECONDS:
            self._interrupt()
        self._spent_before = spent

    def _look_later(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self.interrupt_if_busy()
        if self.is_alive():
            self._look_later(LOOK_AGAIN_SECONDS)

    def _spent(self) -> float:
        """Seconds of processor time; where nobody counts them, every thread looks busy."""
        try:
            return time.monotonic() if self._clock is None else time.clock_gettime(self._clock)
        except OSError:
            return 0.0  # it has ended

    def _interrupt(self) -> None:
        """Raises GivenUp in the thread, as soon as it runs Python code."""
        if self.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident), ctypes.py_object(GivenUp))
