"""Keeps the parts of a platform running, in order, until told to stop.

steps and parts | what each needs is green | run or spawn | probe until green | wait for its death | delay | again
"""

import asyncio
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import structlog

from infra.embedded import process, status
from infra.embedded.graph import Deaths, Part, Step, StepFailed, stop_waves
from infra.embedded.status import PartStatus, State

logger = structlog.get_logger(__name__)

PROBE_WHILE_STARTING_SECONDS = 0.1
PROBE_WHILE_GREEN_SECONDS = 1.0
STOP_PATIENCE_SECONDS = 15.0
STOP_PATIENCE_WITHOUT_DATA_SECONDS = 2.0  # nothing is left to be saved, and PocketBase does not end by itself then
HOUSEKEEPING_SECONDS = 1.0


class Supervisor:
    def __init__(self, parts: Sequence[Part], steps: Sequence[Step], data: Path) -> None:
        self._parts = parts
        self._steps = steps
        self._data = data
        names = [*(part.name for part in parts), *(step.name for step in steps)]
        self._ready = {name: asyncio.Event() for name in names}
        self._status = {part.name: PartStatus(part.name, State.WAITING, None, 0, self._log(part)) for part in parts}
        self._stopping = asyncio.Event()
        self._failed: BaseException | None = None
        self._stop_patience_seconds = STOP_PATIENCE_SECONDS

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Start everything and keep it running until `stop`; then stop what depends on others first.

        Raises StepFailed, after stopping what had started, when a step does not succeed, and whatever else kept a
        part from being started.
        """
        self._report()
        tasks = {part.name: asyncio.ensure_future(self._keep(part)) for part in self._parts}
        steps = asyncio.ensure_future(self._perform_all())
        stopping = asyncio.ensure_future(self._stopping.wait())
        house = asyncio.ensure_future(self._keep_house())
        try:
            await asyncio.wait([stopping, *tasks.values()], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel([steps, stopping, house])
            for wave in stop_waves(self._parts, self._steps):
                await cancel([tasks[name] for name in wave])
        if failed := self._failed or first_failure(tasks.values()):
            raise failed

    async def _perform_all(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                for step in self._steps:
                    tasks.create_task(self._perform(step))
        except* StepFailed as failures:
            self._failed = failures.exceptions[0]
            self.stop()

    async def _keep_house(self) -> None:
        """Bound the logs; and when the data is deleted beneath us, stop: nothing could be found or stopped later."""
        while (self._data / "run").exists():
            for part in self._parts:
                process.bound(Path(self._log(part)))
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
        logger.error("the data folder is gone: stopping")
        self._stop_patience_seconds = STOP_PATIENCE_WITHOUT_DATA_SECONDS
        self.stop()

    async def _perform(self, step: Step) -> None:
        await self._needs(step.needs)
        started = time.monotonic()
        try:
            await step.run()
        except StepFailed:
            raise
        except Exception as error:
            logger.exception("step failed", step=step.name)
            raise StepFailed(f"the step '{step.name}' failed: {type(error).__name__}: {error}") from error
        logger.info("step done", step=step.name, seconds=round(time.monotonic() - started, 2))
        self._ready[step.name].set()

    async def _keep(self, part: Part) -> None:
        await self._needs(part.needs)
        deaths = Deaths()
        while True:
            lived, code = await self._live_once(part)
            if code is not None and code == part.refuses_with:
                raise StepFailed(f"{part.name}: {process.last_line(Path(self._log(part)))}")
            delay = deaths.next_delay(lived)
            logger.warning("part ended", part=part.name, lived_seconds=round(lived, 1), restart_in_seconds=delay)
            self._now(part, State.RESTARTING, restarts=self._status[part.name].restarts + 1)
            await asyncio.sleep(delay)

    async def _live_once(self, part: Part) -> tuple[float, int | None]:
        """From spawn to death; seconds lived and exit code. On cancellation the process is stopped first."""
        started = time.monotonic()
        child = await process.spawn(part.command, part.environment, Path(self._log(part)))
        self._now(part, State.STARTING, pid=child.pid)
        watching = asyncio.ensure_future(self._watch(part))
        try:
            await child.wait()
        finally:
            watching.cancel()
            self._ready[part.name].clear()
            await asyncio.shield(process.stop(child, part.stop_signal, self._stop_patience_seconds))
            self._now(part, State.STOPPED)
        return time.monotonic() - started, child.returncode

    async def _watch(self, part: Part) -> None:
        while True:
            if await part.is_ready():
                self._ready[part.name].set()
                self._now(part, State.GREEN)
                await asyncio.sleep(PROBE_WHILE_GREEN_SECONDS)
            else:
                if self._status[part.name].state is State.GREEN:
                    self._now(part, State.UNREADY)
                await asyncio.sleep(PROBE_WHILE_STARTING_SECONDS)

    async def _needs(self, names: Sequence[str]) -> None:
        for name in names:
            if name in self._ready:
                await self._ready[name].wait()

    def _log(self, part: Part) -> str:
        return str(self._data / "logs" / f"{part.name}.log")

    def _now(self, part: Part, state: State, *, pid: int | None = None, restarts: int | None = None) -> None:
        before = self._status[part.name]
        now = PartStatus(
            part.name,
            state,
            before.pid if pid is None and state in (State.GREEN, State.UNREADY) else pid,
            before.restarts if restarts is None else restarts,
            before.log,
        )
        if now != before:
            self._status[part.name] = now
            self._report()

    def _report(self) -> None:
        status.write(self._data, self._status.values())


async def supervise(parts: Sequence[Part], steps: Sequence[Step], data: Path) -> None:
    """Run until SIGTERM or SIGINT. Raises StepFailed when the platform cannot start."""
    supervisor = Supervisor(parts, steps, data)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    await supervisor.run()


async def cancel(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def first_failure(tasks: Iterable[asyncio.Future[None]]) -> BaseException | None:
    return next((error for task in tasks if not task.cancelled() and (error := task.exception())), None)
