"""The platform's state as a file that other commands read, and as the table that people read."""

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, cast


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
    document = {"error": error, "parts": [asdict(part) for part in parts]}
    target = data / "run" / "status.json"
    draft = target.with_suffix(".new")
    draft.write_text(json.dumps(document, indent=1))
    draft.replace(target)


def read(data: Path) -> tuple[list[PartStatus], str | None]:
    try:
        document = cast(Mapping[str, Any], json.loads((data / "run" / "status.json").read_text()))
    except FileNotFoundError:
        return [], None
    parts = [PartStatus(**{**part, "state": State(part["state"])}) for part in document["parts"]]
    return parts, document["error"]


def all_green(parts: Iterable[PartStatus]) -> bool:
    states = [part.state for part in parts]
    return bool(states) and all(state is State.GREEN for state in states)
