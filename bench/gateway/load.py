"""One turn of wrk against one server, and what the server's processes took of the processor meanwhile."""

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path

from bench.programs import WRK

CONNECTIONS = 32
TURN_SECONDS = 3
PATIENCE_SECONDS = 30
REPORT = Path(__file__).with_name("report.lua")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class FailedTurn(Exception):
    """Something other than 200 was answered, or nothing: the figures would be of something else."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked of whom: `process_id` is the root of the server's processes."""

    name: str
    url: str
    token: str
    process_id: int


@dataclass(frozen=True, slots=True)
class Turn:
    requests_a_second: float
    p50_ms: float
    p99_ms: float
    cpu_us_a_request: float


async def turn(target: Target, *, connections: int = CONNECTIONS, seconds: int = TURN_SECONDS) -> Turn:
    """Raises FailedTurn."""
    command = [
        WRK.path(),
        f"--threads={min(connections, 2)}",
        f"--connections={connections}",
        f"--duration={seconds}s",
        f"--timeout={PATIENCE_SECONDS}s",
        f"--script={REPORT}",
        f"--header=Authorization: {target.token}",
        target.url,
    ]
    before = cpu_seconds(target.process_id)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    spent = cpu_seconds(target.process_id) - before
    told = json.loads(output.decode().splitlines()[-1])
    if process.returncode or told["errors"] or not told["requests"]:
        raise FailedTurn(f"{target.name}: {told}")
    return Turn(
        told["requests"] / told["seconds"], told["p50_ms"], told["p99_ms"], spent / told["requests"] * 1_000_000
    )


def cpu_seconds(root: int) -> float:
    """User and system time of a process and all that descend from it, by proc_pid_stat(5)."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(folder.name)] = int(fields[1])
        ticks[int(folder.name)] = int(fields[11]) + int(fields[12])
    return sum(spent for id, spent in ticks.items() if descends(id, root, parents)) / TICKS_A_SECOND


def descends(id: int, root: int, parents: dict[int, int]) -> bool:
    while id not in (root, 0):
        id = parents.get(id, 0)
    return id == root
