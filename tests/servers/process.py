"""Starts one server for tests and waits until it listens."""

import fcntl
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tests.servers.programs import Process, start

PATIENCE_SECONDS = 60


PORTS = range(12_000, 32_000)
"""Below those that the kernel gives to outgoing connections."""

RESERVATIONS = Path(tempfile.gettempdir()) / "pocketwire-test-ports"

_candidates = itertools.cycle(random.Random(os.getpid()).sample(PORTS, len(PORTS)))
_reserved: list[TextIO] = []


def free_port() -> int:
    """A port of this process's own, until it ends: no other test run is given it, and nobody listens there."""
    for port in itertools.islice(_candidates, len(PORTS)):
        if is_reserved(port) and is_free(port):
            return port
    raise RuntimeError(f"no free port in {PORTS}")


def is_reserved(port: int) -> bool:
    RESERVATIONS.mkdir(mode=0o777, exist_ok=True)
    reservation = (RESERVATIONS / str(port)).open("w")
    try:
        fcntl.flock(reservation, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        reservation.close()
        return False
    _reserved.append(reservation)
    return True


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def directory() -> Generator[Path]:
    """A folder that other accounts may pass through (pytest's own may not be: PostgreSQL runs as another)."""
    path = Path(tempfile.mkdtemp(prefix="pocketwire-test-"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def server(
    command: Sequence[str | Path],
    *,
    port: int,
    log: Path,
    stop: signal.Signals = signal.SIGTERM,
    environment: Mapping[str, str] | None = None,
) -> Generator[Process]:
    environment = {"PATH": os.defpath, "HOME": str(log.parent), **(environment or {})}
    with log.open("ab") as output:
        process = start([str(part) for part in command], output=output, errors=output, environment=environment)
        try:
            wait_until_listening(process, port, log)
            yield process
        finally:
            process.send_signal(stop)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_listening(process: Process, port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if (status := process.poll()) is not None:
            raise RuntimeError(f"{log.stem} ended with {status}: {log.read_text(errors='replace')}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on {port}: {log.read_text(errors='replace')}")
