"""Starts one process of the platform: own session, own log file, gone when the supervisor is gone."""

import asyncio
import ctypes
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
LOG_BYTES = 20 * 1024 * 1024
TAIL_BYTES = 8192

_libc = ctypes.CDLL(None)


def end_with_parent() -> None:
    """Runs in the child before it becomes the program: a killed supervisor leaves nothing running."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


async def spawn(command: Sequence[str], environment: Mapping[str, str], log: Path) -> asyncio.subprocess.Process:
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
            start_new_session=True,
            preexec_fn=end_with_parent,
        )


async def run(command: Sequence[str], environment: Mapping[str, str], log: Path, seconds: float) -> int:
    """Run a program to its end; its exit code. Cancelled or late (TimeoutError), it is killed first."""
    child = await spawn(command, environment, log)
    try:
        async with asyncio.timeout(seconds):
            return await child.wait()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def last_line(log: Path) -> str:
    """Of what a program said before it ended."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


async def stop(process: asyncio.subprocess.Process, stop_signal: signal.Signals, patience_seconds: float) -> None:
    """Ask, wait, and only then kill."""
    if process.returncode is not None:
        return
    process.send_signal(stop_signal)
    try:
        async with asyncio.timeout(patience_seconds):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def bound(log: Path) -> None:
    """Keep a log and one predecessor, each within LOG_BYTES. Writers append, so cutting the file is safe."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.with_suffix(".log.1").write_bytes(log.read_bytes())
        with log.open("r+b") as file:
            file.truncate(0)
