"""Files that come in piece by piece, on disk: any worker of the machine may go on where another one ended.

One file a part: 16 bytes that name whose turn it is to write, the length of what follows, the upload's intent, and then
what has come in; its size says how much that is. Every operation opens the file anew and locks it, so that nothing is
left open or locked by a worker that dies, and a name that has been removed is gone for everybody.
"""

import asyncio
import hashlib
import os
import secrets
import stat
import time
import zlib
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from common.core.errors import NotFound
from gateway.adapters.part_files import (
    BUSY,
    UNFINISHED,
    UNKNOWN,
    Busy,
    check_there,
    is_full,
    lock,
    locked_file,
    locked_folder,
    names_in,
    open_file,
    opened_file,
    texts_in,
    write_at,
    write_new,
)
from gateway.core.body_refusals import NoRoom
from gateway.core.uploads.part_name import (
    ID_BYTES,
    Bounds,
    Claim,
    PartName,
    has_room,
    is_over,
    is_upload_id,
    keeps_answer,
)
from gateway.core.uploads.transfer_refusals import Moved, TakenOver

TURN_BYTES = 16
LENGTH_BYTES = 4
CHUNK_BYTES = 256 * 1024
LOCK_TRIES = 20
LOCK_INTERVAL_SECONDS = 0.05
TURN = ".turn-"
TURNS = 4096
"""Records share so many locks, whose files stay where they are."""
TURN_TRIES = 1200
UNFINISHED_SECONDS = 60.0

FULL = "Too many uploads are under way; please retry."
UNSAFE = "The folder of uploads is not the gateway's own."

P = ParamSpec("P")
T = TypeVar("T")


class PartStore:
    """`directory` is made when it is first needed; all workers of one machine share it, and nobody else."""

    def __init__(self, directory: Path, bounds: Bounds, clock: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self.bounds = bounds
        self._clock = clock

    async def begin(self, claim: Claim, size_bytes: int, intent: bytes) -> "Part":
        """Raises NoRoom."""
        return await in_thread(self._begin, claim, size_bytes, intent)

    async def take(self, claim: Claim, id: str) -> "Part":
        """Nobody who took it before can write to it any more. Raises NotFound, and Busy while PocketBase gets it."""
        return await tried(self._take, claim, id)

    async def find(self, claim: Claim, id: str) -> "Part":
        """To look at, not to write to. Raises NotFound."""
        return await in_thread(self._find, claim, id)

    async def turn(self, record: str) -> "Hold":
        """Whoever writes a file into that record is the only one of this machine who does.

        PocketBase's PATCH reads a record and writes the whole of it back: of two files added at once it keeps one.
        Raises Busy when others are at it for too long.
        """
        for _ in range(TURN_TRIES):
            with suppress(Busy):
                return await in_thread(self._turn, record)
            await asyncio.sleep(LOCK_INTERVAL_SECONDS)
        raise Busy(BUSY)

    async def remove_session(self, session: str) -> int:
        """How many of its parts there were."""
        return await asyncio.to_thread(self._remove_where, lambda name, _changed: name.claim.session == session)

    async def sweep(self) -> int:
        """Remove what has waited for too long; how many there were."""
        return await asyncio.to_thread(self._sweep)

    # In threads

    def _turn(self, record: str) -> "Hold":
        name = f"{TURN}{zlib.crc32(record.encode()) % TURNS:03x}"
        with self.opened_directory() as directory:
            return held(open_file(name, directory, os.O_RDWR | os.O_CREAT), lock)

    def _begin(self, claim: Claim, size_bytes: int, intent: bytes) -> "Part":
        id, now = secrets.token_urlsafe(ID_BYTES), int(self._clock())
        name = PartName(claim, id, size_bytes, now)
        turn = secrets.token_bytes(TURN_BYTES)
        head = turn + len(intent).to_bytes(LENGTH_BYTES, "big") + intent
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.opened_directory() as directory, locked_folder(directory):
            there = list(names_in(directory))
            if not has_room(self.bounds, there, claim.owner, size_bytes) or is_full(directory, size_bytes):
                raise NoRoom(FULL)
            write_new(directory, str(name), head)
        return Part(self, name, turn, len(head), intent)

    def _take(self, claim: Claim, id: str) -> "Part":
        part, turn = self._find(claim, id), secrets.token_bytes(TURN_BYTES)
        if part.is_done:
            return part
        try:
            with self.opened_directory() as directory, locked_file(str(part.name), directory) as file:
                check_there(file)
                os.pwrite(file, turn, 0)
        except NotFound:
            return self._find(claim, id)  # it has come to its end in between, or is gone
        return Part(self, part.name, turn, part.begins_at, part.intent)

    def _find(self, claim: Claim, id: str) -> "Part":
        if not is_upload_id(id):
            raise NotFound(UNKNOWN)
        with self.opened_directory() as directory:
            for name in names_in(directory):
                if name.claim == claim and secrets.compare_digest(name.id, id):
                    return self._read(directory, name)
        raise NotFound(UNKNOWN)

    def _read(self, directory: int, name: PartName) -> "Part":
        with opened_file(str(name), directory) as file:
            head = os.pread(file, TURN_BYTES + LENGTH_BYTES, 0)
            length = int.from_bytes(head[TURN_BYTES:], "big")
            intent = os.pread(file, length, len(head))
        return Part(self, name, b"", len(head) + length, intent)

    def _sweep(self) -> int:
        now = self._clock()
        self._remove_unfinished(now)
        return self._remove_where(lambda name, changed: is_over(self.bounds, name, changed=changed, now=now))

    def _remove_unfinished(self, now: float) -> None:
        """Files that a worker has not come to give a name before it died."""
        with suppress(NotFound), self.opened_directory() as directory:
            for text in texts_in(directory):
                with suppress(FileNotFoundError):
                    is_old = now - os.lstat(text, dir_fd=directory).st_mtime > UNFINISHED_SECONDS
                    if text.startswith(UNFINISHED) and is_old:
                        os.unlink(text, dir_fd=directory)

    def _remove_where(self, is_meant: Callable[[PartName, float], bool]) -> int:
        """Whatever is being written to PocketBase is left alone."""
        count = 0
        with suppress(NotFound), self.opened_directory() as directory:
            for name in names_in(directory):
                with suppress(NotFound, Busy, FileNotFoundError):
                    if is_meant(name, os.lstat(str(name), dir_fd=directory).st_mtime):
                        with locked_file(str(name), directory):
                            os.unlink(str(name), dir_fd=directory)
                        count += 1
        return count

    @contextmanager
    def opened_directory(self) -> Generator[int]:
        """Raises NotFound when there is none, NoRoom when it is none of our own, or others may look into it."""
        try:
            directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFound(UNKNOWN) from error
        try:
            told = os.fstat(directory)
            if told.st_uid != os.geteuid() or stat.S_IMODE(told.st_mode) & 0o077:
                raise NoRoom(UNSAFE)
            yield directory
        finally:
            os.close(directory)


class Part:
    """An upload so far. Only who took it last can write to it."""

    def __init__(self, store: PartStore, name: PartName, turn: bytes, begins_at: int, intent: bytes) -> None:
        self.name = name
        self.begins_at = begins_at
        self.intent = intent
        self._store = store
        self._turn = turn

    @property
    def id(self) -> str:
        return self.name.id

    @property
    def is_done(self) -> bool:
        return self.name.kind == "done"

    async def offset(self) -> int:
        """How many bytes there are. Raises NotFound once the part is gone."""
        return await in_thread(self._offset)

    async def changed(self) -> float:
        return (await in_thread(self._stat)).st_mtime

    async def append(self, offset: int, data: bytes) -> int:
        """The new offset. Raises NotFound, TakenOver, Moved for another offset than where the part ends, NoRoom."""
        return await tried(self._append, offset, data)

    async def cut(self, offset: int) -> None:
        """Take back what came after that. Raises NotFound, TakenOver."""
        await tried(self._cut, offset)

    async def read(self, offset: int, length: int) -> bytes:
        return await in_thread(self._read, offset, length)

    async def chunks(self) -> AsyncIterator[bytes]:
        """All of it; the file stays open meanwhile, so that nobody can put another one in its place."""
        with self._opened() as file:
            at = self.begins_at
            while chunk := await asyncio.to_thread(os.pread, file, CHUNK_BYTES, at):
                at += len(chunk)
                yield chunk

    async def sha256(self) -> str:
        return await in_thread(self._sha256)

    async def hold(self) -> "Hold":
        """Nobody else can take it meanwhile. Raises NotFound, TakenOver, Busy."""
        return await tried(self._hold)

    async def remove(self) -> None:
        await in_thread(self._remove)

    async def settle(self, answer: bytes) -> None:
        """Keep PocketBase's answer for a while in place of the file."""
        await asyncio.to_thread(self._settle, answer)

    # In threads

    @contextmanager
    def _opened(self) -> Generator[int]:
        with self._store.opened_directory() as directory, opened_file(str(self.name), directory) as file:
            yield file

    @contextmanager
    def _mine(self) -> Generator[int]:
        with self._store.opened_directory() as directory, locked_file(str(self.name), directory) as file:
            self._check_turn(file)
            yield file

    def _check_turn(self, file: int) -> None:
        check_there(file)
        if os.pread(file, TURN_BYTES, 0) != self._turn:
            raise TakenOver

    def _stat(self) -> os.stat_result:
        with self._opened() as file:
            return os.fstat(file)

    def _offset(self) -> int:
        return self._stat().st_size - self.begins_at

    def _append(self, offset: int, data: bytes) -> int:
        with self._mine() as file:
            end = os.fstat(file).st_size
            if end != self.begins_at + offset or offset + len(data) > self.name.size_bytes:
                raise Moved
            try:
                write_at(file, data, end)
            except OSError as error:
                os.ftruncate(file, end)
                raise NoRoom(FULL) from error
        return offset + len(data)

    def _cut(self, offset: int) -> None:
        with self._mine() as file:
            if os.fstat(file).st_size > self.begins_at + offset:
                os.ftruncate(file, self.begins_at + offset)

    def _read(self, offset: int, length: int) -> bytes:
        with self._opened() as file:
            return os.pread(file, length, self.begins_at + offset)

    def _sha256(self) -> str:
        found = hashlib.sha256()
        with self._opened() as file:
            at = self.begins_at
            while chunk := os.pread(file, 4 * CHUNK_BYTES, at):
                at += len(chunk)
                found.update(chunk)
        return found.hexdigest()

    def _hold(self) -> "Hold":
        def lock_mine(file: int) -> None:
            lock(file)
            self._check_turn(file)

        with self._store.opened_directory() as directory:
            return held(open_file(str(self.name), directory, os.O_RDWR), lock_mine)

    def _remove(self) -> None:
        with suppress(NotFound, FileNotFoundError), self._store.opened_directory() as directory:
            os.unlink(str(self.name), dir_fd=directory)

    def _settle(self, answer: bytes) -> None:
        done = replace(self.name, kind="done")
        head = bytes(TURN_BYTES) + len(self.intent).to_bytes(LENGTH_BYTES, "big") + self.intent
        with suppress(OSError), self._store.opened_directory() as directory:
            if keeps_answer(self._store.bounds, names_in(directory), done.claim.owner):
                write_new(directory, str(done), head + answer)
        self._remove()


class Hold:
    """A lock on a part, or on a record's turn. Ends with the process at the latest."""

    def __init__(self, file: int) -> None:
        self._file = file

    def release(self) -> None:
        os.close(self._file)


def held(file: int, locking: Callable[[int], None]) -> Hold:
    try:
        locking(file)
    except BaseException:
        os.close(file)
        raise
    return Hold(file)


async def tried(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """In a thread, and again while somebody else is at it. Raises Busy when that goes on."""
    for _ in range(LOCK_TRIES - 1):
        with suppress(Busy):
            return await in_thread(work, *args, **kwargs)
        await asyncio.sleep(LOCK_INTERVAL_SECONDS)
    return await in_thread(work, *args, **kwargs)


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Raises NoRoom for whatever the disk, or the system, would not do."""
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except OSError as error:
        raise NoRoom(FULL) from error
