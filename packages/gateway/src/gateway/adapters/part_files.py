"""The files that parts are kept in: opened by name in a folder, never through a link, and locked while they change."""

import fcntl
import os
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from common.core.errors import Conflict, NotFound
from gateway.core.uploads.part_name import PartName, parsed

LOCK = ".lock"
UNFINISHED = ".new-"

UNKNOWN = "There is no such upload."
BUSY = "The upload is being written; please retry."


class Busy(Conflict):
    """Somebody else holds the lock."""

    code = "busy"


def names_in(directory: int) -> Iterator[PartName]:
    return filter(None, map(parsed, texts_in(directory)))


def texts_in(directory: int) -> list[str]:
    return os.listdir(directory)


def open_file(name: str, directory: int, flags: int) -> int:
    """Raises NotFound."""
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode=0o600, dir_fd=directory)
    except FileNotFoundError as error:
        raise NotFound(UNKNOWN) from error


@contextmanager
def opened_file(name: str, directory: int) -> Generator[int]:
    file = open_file(name, directory, os.O_RDONLY)
    try:
        yield file
    finally:
        os.close(file)


@contextmanager
def locked_file(name: str, directory: int) -> Generator[int]:
    """Raises NotFound, Busy."""
    file = open_file(name, directory, os.O_RDWR)
    try:
        lock(file)
        yield file
    finally:
        os.close(file)


@contextmanager
def locked_folder(directory: int) -> Generator[None]:
    """Waits for its turn: nobody holds this lock for long."""
    file = open_file(LOCK, directory, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def lock(file: int) -> None:
    """Raises Busy. Whoever waits does so without a thread: what a client does may take a lock for long."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Busy(BUSY) from None


def check_there(file: int) -> None:
    """Raises NotFound for a file that was removed after it was opened."""
    if os.fstat(file).st_nlink == 0:
        raise NotFound(UNKNOWN)


def write_new(directory: int, name: str, data: bytes) -> None:
    """Under its name it is whole from the first moment."""
    unfinished = f"{UNFINISHED}{secrets.token_hex(16)}"
    file = open_file(unfinished, directory, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        write_at(file, data, 0)
        os.rename(unfinished, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        os.unlink(unfinished, dir_fd=directory)
        raise
    finally:
        os.close(file)


def write_at(file: int, data: bytes, at: int) -> None:
    left = memoryview(data)
    while left:
        done = os.pwrite(file, left, at)
        left, at = left[done:], at + done


def is_full(directory: int, size_bytes: int) -> bool:
    told = os.fstatvfs(directory)
    return told.f_bavail * told.f_frsize < size_bytes
