"""Several processes behind one port.

The first process holds the listening sockets and serves nothing itself; the workers that it starts inherit them, so
that the kernel gives each connection to whichever is free, and no port is closed while one of them is started again.
A worker ends when it is told to, and by itself when the first process is gone.
"""

import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import structlog

from common.serving.server import STOP_SECONDS

logger = structlog.get_logger(__name__)

BACKLOG = 2048
SHORTEST_LIFE_SECONDS = 1.0
"""A worker that ends sooner is not started again before."""

LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker inherits: file descriptors, and a folder where all of them have a socket of their own."""

    index: int
    public: int
    operations: int
    lifeline: int
    directory: Path

    def arguments(self) -> list[str]:
        return [str(self.index), str(self.public), str(self.operations), str(self.lifeline), str(self.directory)]

    @property
    def own_socket(self) -> Path:
        return self.directory / f"{self.index}.sock"


@dataclass(slots=True)
class Running:
    process: subprocess.Popen[bytes]
    begun: float


@dataclass(slots=True)
class Supervisor:
    """`command` starts a worker, once the arguments of its place are added."""

    command: Sequence[str]
    places: Sequence[Place]
    _running: dict[int, Running] = field(default_factory=dict[int, Running])
    _is_stopping: bool = False

    def run(self) -> None:
        """Until SIGTERM or SIGINT; then the workers have as long as they may take to stop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self._is_stopping:
            for place in self.places:
                self._look_after(place)
            time.sleep(LOOK_SECONDS)
        self._drain()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True

    def _look_after(self, place: Place) -> None:
        running, now = self._running.get(place.index), time.monotonic()
        if running is not None:
            status = running.process.poll()
            if status is None or now - running.begun < SHORTEST_LIFE_SECONDS:
                return
            logger.error("a worker ended and is started again", worker=place.index, status=status)
        inherited = [fd for fd in (place.public, place.operations, place.lifeline) if fd >= 0]
        process = subprocess.Popen([*self.command, *place.arguments()], pass_fds=inherited)  # noqa: S603 - our own
        self._running[place.index] = Running(process, now)

    def _drain(self) -> None:
        processes = [running.process for running in self._running.values()]
        for process in processes:
            process.terminate()
        until = time.monotonic() + STOP_SECONDS
        for process in processes:
            try:
                process.wait(max(until - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def supervise(command: Sequence[str], *, workers: int, host: str, port: int, operations_port: int) -> None:
    """Serve with so many processes until SIGTERM or SIGINT. Raises OSError where a port cannot be had."""
    with tempfile.TemporaryDirectory(prefix="workers-") as folder, bound(host, port) as public:
        operations = bound("127.0.0.1", operations_port) if operations_port else None
        lifeline, _held = os.pipe()  # its other end closes with this process, however that ends
        listening = operations.fileno() if operations else -1
        places = [Place(index, public.fileno(), listening, lifeline, Path(folder)) for index in range(workers)]
        try:
            Supervisor(command, places).run()
        finally:
            if operations:
                operations.close()


def bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(BACKLOG)
    return listener


def end_with(lifeline: int) -> None:
    """Ends this process in order once the one that started it is gone."""

    def watch() -> None:
        os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="lifeline").start()
