"""Forks our services from a process that has loaded their modules: `python -m tests.servers.zygote DESCRIPTOR`.

Loading costs a service a second of processor time, and a run starts hundreds. What is forked is a process like any
other: its own environment, arguments and output, and it ends as the interpreter ends. The journeys start
everything from nothing.
"""

import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import FrameType
from typing import NoReturn

SERVICES = ("gateway", "natsync", "chathub")
MODULES = ("gateway.__main__", "gateway.app", "natsync.__main__", "natsync.app", "chathub.__main__", "chathub.app")
MODULES_OF_COMMANDS = ("natsync.bootstrap", "chathub.migrate", "alembic.command")
MAX_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class Start:
    """Sent with three descriptors: its output, its errors, and a pipe for its id and, later, its exit status."""

    module: str
    arguments: list[str]
    environment: Mapping[str, str]

    def encoded(self) -> bytes:
        return json.dumps(asdict(self)).encode()


class Zygote:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._reports: dict[int, int] = {}
        self._ended, ended = os.pipe()
        os.set_blocking(ended, False)
        signal.set_wakeup_fd(ended)
        signal.signal(signal.SIGCHLD, ignore)

    def serve(self) -> Start:
        """Returns in every process that is forked, and never here."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._ended, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fd == self._ended:
                        os.read(self._ended, 4096)
                        self._report_ends()
                    elif start := self._take():
                        return start

    def _take(self) -> Start | None:
        message, descriptors, _, _ = socket.recv_fds(self._control, MAX_BYTES, 3)
        if not message:
            self._leave()
        output, errors, report = descriptors
        if child := os.fork():
            self._reports[child] = report
            os.close(output)
            os.close(errors)
            tell(report, child)
            return None
        self._close_for_child(report)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        os.closerange(3, max(output, errors) + 1)
        return Start(**json.loads(message))

    def _close_for_child(self, report: int) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._control.close()
        for descriptor in (report, *self._reports.values()):
            os.close(descriptor)

    def _report_ends(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                report = self._reports.pop(ended[0])
                tell(report, os.waitstatus_to_exitcode(ended[1]))
                os.close(report)

    def _leave(self) -> NoReturn:
        """Whoever asked has ended; nothing is left running."""
        for child in self._reports:
            os.kill(child, signal.SIGKILL)
        os._exit(0)


def ignore(_number: int, _frame: FrameType | None) -> None:
    """The wakeup descriptor tells."""


def tell(report: int, number: int) -> None:
    with suppress(BrokenPipeError):  # nobody waits for it any more
        os.write(report, f"{number}\n".encode())


def become(start: Start) -> None:
    os.environ.clear()
    os.environ.update(start.environment)
    time.tzset()
    sys.argv = [start.module, *start.arguments]
    sys.modules.pop(f"{start.module}.__main__")  # it runs anew, under its own name
    runpy.run_module(start.module, run_name="__main__", alter_sys=True)


def main(descriptor: int) -> None:
    for module in (*MODULES, *MODULES_OF_COMMANDS):
        importlib.import_module(module)
    gc.freeze()  # a collection would touch, and so copy, every page that is shared
    become(Zygote(socket.socket(fileno=descriptor)).serve())


if __name__ == "__main__":
    main(int(sys.argv[1]))
