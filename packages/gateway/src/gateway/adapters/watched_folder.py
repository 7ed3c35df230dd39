"""What an operator's folders of Python files come to: read at the start, and in development again when they change.

A set takes the place of another as a whole, and only once every file has been run. When one does not load, the new set
says so until it does. The old one is not kept instead: whoever saves a file would go on being answered by code that is
no longer there, and would not see that the new code is broken.
"""

import asyncio
import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import structlog
import watchfiles

from gateway.adapters.run_files import Reading, forget
from gateway.core.rule_files.rule_set import LoadFault, Place
from gateway.isolate.lanes import Lanes
from gateway.isolate.outcome import Crowded, Overdue

logger = structlog.get_logger(__name__)

LOAD_SECONDS = 10.0
CALM_MILLISECONDS = 100
LOOK_SECONDS = 1.0
MAX_CALM_LOOKS = 50
NOT_READ = "The folder has not been read yet."


class Loaded(Protocol):
    @property
    def faults(self) -> tuple[LoadFault, ...]: ...


S = TypeVar("S", bound=Loaded)


class WatchedFolder(ABC, Generic[S]):
    """`current` is the set in force. The first folder is the one that is named where none of the files is at fault."""

    def __init__(self, folders: Sequence[Path], lanes: Lanes, *, load_seconds: float = LOAD_SECONDS) -> None:
        self._folders = tuple(folders)
        self._lanes = lanes
        self._load_seconds = load_seconds
        self._seen = b""
        self.current = self.at_fault(LoadFault(Place(str(self._folders[0]), 0), NOT_READ))
        self.loaded_at = 0.0

    @abstractmethod
    def files(self) -> list[Path]:
        """All that the set is read from. Raises OSError when they cannot be listed."""

    @abstractmethod
    def read(self, reading: Reading) -> S:
        """Runs the files. What is wrong with one stands in the set. Raises GivenUp alone."""

    @abstractmethod
    def at_fault(self, fault: LoadFault) -> S:
        """The set that stands for one that cannot be read at all."""

    @abstractmethod
    def tell(self) -> None:
        """Log what has just come in force."""

    async def load(self) -> None:
        """Never raises; `current.faults` says what is wrong."""
        seen = await asyncio.to_thread(fingerprint, self.files)
        self.current = await self._read()
        self._seen = seen
        self.loaded_at = time.time()
        self.tell()

    async def watch(self) -> None:
        """Endless. What changed while nobody looked counts as a change."""
        async with aclosing(looks(self._folders)) as turns:
            async for _ in turns:
                if await asyncio.to_thread(fingerprint, self.files) != self._seen:
                    await self._calm()
                    await self.load()

    async def _calm(self) -> None:
        """Not while a file is being written: half of one may well be Python."""
        seen = b""
        for _ in range(MAX_CALM_LOOKS):
            before, seen = seen, await asyncio.to_thread(fingerprint, self.files)
            if seen == before:
                return
            await asyncio.sleep(CALM_MILLISECONDS / 1000)

    async def _read(self) -> S:
        """Beside the server's loop: running a file is running whatever is in it."""
        reading = Reading()
        try:
            outcome = await self._lanes.threads.run(lambda: self.read(reading), seconds=self._load_seconds)
        except (Overdue, Crowded):
            return self._unread(reading, f"did not load within {self._load_seconds:g} s")
        return outcome.value or self._unread(reading, f"{type(outcome.error).__name__}")

    def _unread(self, reading: Reading, reason: str) -> S:
        forget(reading.modules)
        return self.at_fault(LoadFault(Place(str(reading.at or self._folders[0]), 0), reason))


async def looks(folders: Sequence[Path]) -> AsyncGenerator[None]:
    """When to look again: soon after something was written, and every second for what nobody was told of."""
    while True:
        try:
            async with aclosing(changes_in(folders)) as changes:
                async for _ in changes:
                    yield
        except (OSError, RuntimeError) as error:
            logger.warning("a folder cannot be watched", folder=str(folders[0]), error=type(error).__name__)
        yield
        await asyncio.sleep(LOOK_SECONDS)


def changes_in(folders: Sequence[Path]) -> AsyncGenerator[set[watchfiles.main.FileChange]]:
    return watchfiles.awatch(
        *(folder for folder in folders if folder.is_dir() or folder == folders[0]),
        step=CALM_MILLISECONDS,
        rust_timeout=int(LOOK_SECONDS * 1000),
        yield_on_timeout=True,
    )


def fingerprint(files: Callable[[], list[Path]]) -> bytes:
    """Differs whenever the set may: names and contents, or that there is no reading them."""
    digest = hashlib.sha256()
    try:
        for path in files():
            digest.update(f"{path}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    except OSError as error:
        digest.update(type(error).__name__.encode())
    return digest.digest()
