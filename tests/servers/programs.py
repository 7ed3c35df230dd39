"""Runs programs: each from nothing, or, once `fork_services` was called, our services from a zygote."""

import atexit
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import IO, Any, Protocol

from tests.servers.zygote import SERVICES, Start

_forking = threading.Event()


def fork_services() -> None:
    """From now on, in this process: they start ten times as fast, and share pages with what loaded their modules."""
    _forking.set()


class Process(Protocol):
    """What tests use of subprocess.Popen."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Forked:
    def __init__(self, report: int) -> None:
        self._report = report
        self._said = b""
        self._status: int | None = None
        self._lock = threading.Lock()
        self._hear(None)
        self.pid = int(self._said.split(b"\n")[0])

    def __del__(self) -> None:
        os.close(self._report)

    def poll(self) -> int | None:
        with self._lock:
            if self._status is None and self._hear(0) and self._said.count(b"\n") == 2:
                self._status = int(self._said.split(b"\n")[1])
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            select.select([self._report], [], [], left)
        return status

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _hear(self, seconds: float | None) -> bool:
        if not select.select([self._report], [], [], seconds)[0]:
            return False
        if not (more := os.read(self._report, 64)):
            raise RuntimeError("the zygote has ended")
        self._said += more
        return True


@cache
def zygote(_test_process: int) -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.servers.zygote", str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)
    theirs.close()
    atexit.register(process.wait, 10)
    atexit.register(ours.close)
    return ours


def start(command: Sequence[str], *, output: IO[Any], errors: IO[Any], environment: Mapping[str, str]) -> Process:
    if not is_forked(command):
        return subprocess.Popen(command, stdout=output, stderr=errors, env=environment)
    wanted = Start(command[2], list(command[3:]), dict(environment))
    report, reporting = os.pipe()
    descriptors = [output.fileno(), errors.fileno(), reporting]
    socket.send_fds(zygote(os.getpid()), [wanted.encoded()], descriptors)
    os.close(reporting)
    return Forked(report)


def is_forked(command: Sequence[str]) -> bool:
    return _forking.is_set() and list(command[:2]) == [sys.executable, "-m"] and command[2] in SERVICES


def run(
    command: Sequence[str], *, environment: Mapping[str, str], seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """To its end. Raises subprocess.TimeoutExpired."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = start(command, output=output, errors=errors, environment=environment)
        try:
            status = process.wait(seconds)
        finally:
            process.kill()
        return subprocess.CompletedProcess(list(command), status, text_of(output), text_of(errors))


def text_of(file: IO[str]) -> str:
    file.seek(0)
    return file.read()
