"""The rule set in force: read at the start, and in development again whenever its files change.

A set takes the place of another as a whole, and only once every file has been run. When one does not load, the new set
says so and refuses everything until it does. The old rules are not kept instead: whoever saves a file would go on being
judged by rules that are no longer there, and would not see that the new ones are broken.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

import structlog
import watchfiles

from gateway.adapters.rule_files import Reading, forget, read_folder, rule_files
from gateway.core.rule_files.rule_set import LoadFault, ModeratedFields, Place, RuleSet
from gateway.isolate.lanes import Lanes
from gateway.isolate.outcome import Crowded, Overdue

logger = structlog.get_logger(__name__)

LOAD_SECONDS = 10.0
CALM_MILLISECONDS = 100
LOOK_SECONDS = 1.0
MAX_CALM_LOOKS = 50
NOT_READ = "The rules have not been read yet."


class RuleFolder:
    """`extra` are rules that come from settings."""

    def __init__(
        self, folder: Path, lanes: Lanes, *, extra: Sequence[ModeratedFields] = (), load_seconds: float = LOAD_SECONDS
    ) -> None:
        self._folder = folder
        self._lanes = lanes
        self._extra = tuple(extra)
        self._load_seconds = load_seconds
        self._seen = b""
        self.current = RuleSet(faults=(LoadFault(Place(str(folder), 0), NOT_READ),))
        self.loaded_at = 0.0

    async def load(self) -> None:
        """Never raises; `current.faults` says what is wrong."""
        seen = await asyncio.to_thread(fingerprint, self._folder)
        self.current = await self._read()
        self._seen = seen
        self.loaded_at = time.time()
        for fault in self.current.faults:
            logger.error(
                "a rule file does not load; every request is refused", place=str(fault.place), error=fault.reason
            )
        logger.info("rules read", files=len(self.current.files), rules=len(self.current.rules))

    async def watch(self) -> None:
        """Endless. What changed while nobody looked counts as a change."""
        async with aclosing(looks(self._folder)) as turns:
            async for _ in turns:
                if await asyncio.to_thread(fingerprint, self._folder) != self._seen:
                    await self._calm()
                    await self.load()

    async def _calm(self) -> None:
        """Not while a file is being written: half of one may well be Python."""
        seen = b""
        for _ in range(MAX_CALM_LOOKS):
            before, seen = seen, await asyncio.to_thread(fingerprint, self._folder)
            if seen == before:
                return
            await asyncio.sleep(CALM_MILLISECONDS / 1000)

    async def _read(self) -> RuleSet:
        """Beside the server's loop: running a file is running whatever is in it."""
        reading = Reading()
        try:
            outcome = await self._lanes.threads.run(
                lambda: read_folder(self._folder, reading, self._extra), seconds=self._load_seconds
            )
        except (Overdue, Crowded):
            return self._unread(reading, f"did not load within {self._load_seconds:g} s")
        return outcome.value or self._unread(reading, f"{type(outcome.error).__name__}")

    def _unread(self, reading: Reading, reason: str) -> RuleSet:
        forget(reading.modules)
        return RuleSet(faults=(LoadFault(Place(str(reading.at or self._folder), 0), reason),))


async def looks(folder: Path) -> AsyncGenerator[None]:
    """When to look again: soon after something was written, and every second for what nobody was told of."""
    while True:
        try:
            async with aclosing(changes_in(folder)) as changes:
                async for _ in changes:
                    yield
        except (OSError, RuntimeError) as error:
            logger.warning("the rules folder cannot be watched", folder=str(folder), error=type(error).__name__)
        yield
        await asyncio.sleep(LOOK_SECONDS)


def changes_in(folder: Path) -> AsyncGenerator[set[watchfiles.main.FileChange]]:
    return watchfiles.awatch(
        folder,
        step=CALM_MILLISECONDS,
        rust_timeout=int(LOOK_SECONDS * 1000),
        yield_on_timeout=True,
        recursive=False,
    )


def fingerprint(folder: Path) -> bytes:
    """Differs whenever the rules may: names and contents, or that there is no reading them."""
    digest = hashlib.sha256()
    try:
        for path in rule_files(folder):
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    except OSError as error:
        digest.update(type(error).__name__.encode())
    return digest.digest()
