"""The platform's state as a file that other commands read, and as the table that people read."""

import fcntl
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO

import msgspec

TRIES = 20
TRY_SECONDS = 0.025


class State(StrEnum):
    WAITING = "waiting"
    STARTING = "starting"
    GREEN = "green"
    UNREADY = "not ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class PartStatus:
    name: str
    state: State
    pid: int | None
    restarts: int
    log: str


@dataclass(frozen=True, slots=True)
class Status:
    """What the supervisor last wrote; `error` is why the platform could not start."""

    parts: list[PartStatus] = field(default_factory=list[PartStatus])
    error: str | None = None


class AlreadyRunning(Exception):
    """Another process holds this home."""


def lock(data: Path) -> IO[str]:
    """Hold this home until the file is closed or the process ends. Raises AlreadyRunning."""
    run = data / "run"
    run.mkdir(parents=True, exist_ok=True)
    file = (run / "lock").open("a+")
    for _ in range(TRIES):  # somebody who only looks is gone in an instant
        if is_free(file, fcntl.LOCK_EX):
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            return file
        time.sleep(TRY_SECONDS)
    file.close()
    raise AlreadyRunning(str(running_pid(data) or "unknown"))


def running_pid(data: Path) -> int | None:
    """Who holds this home, if anybody. Looking does not hold it: a shared lock is no news to others who look."""
    path = data / "run" / "lock"
    if not path.exists():
        return None
    with path.open() as file:
        for _ in range(TRIES):  # between taking the lock and writing its id a holder has none
            if is_free(file, fcntl.LOCK_SH):
                return None
            file.seek(0)
            if (written := file.read().strip()).isdigit():
                return int(written)
            time.sleep(TRY_SECONDS)
    return None


def is_free(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def write(data: Path, parts: Iterable[PartStatus], error: str | None = None) -> None:
    """A folder that was deleted meanwhile is not made anew."""
    target = data / "run" / "status.json"
    draft = target.with_suffix(".new")
    with suppress(FileNotFoundError):
        draft.write_bytes(msgspec.json.encode(Status(list(parts), error)))
        draft.replace(target)


def read(data: Path) -> Status:
    try:
        return msgspec.json.decode((data / "run" / "status.json").read_bytes(), type=Status)
    except FileNotFoundError:
        return Status()


def all_green(parts: Iterable[PartStatus]) -> bool:
    states = [part.state for part in parts]
    return bool(states) and all(state is State.GREEN for state in states)
