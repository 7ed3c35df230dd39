"""The platform's state as a file that other commands read, and as the table that people read."""

import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO

import msgspec


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
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise AlreadyRunning(holder) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def running_pid(data: Path) -> int | None:
    """Who holds this home, if anybody."""
    if not (data / "run" / "lock").exists():
        return None
    try:
        lock(data).close()
    except AlreadyRunning as error:
        return int(str(error))
    return None


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
