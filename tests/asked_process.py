"""A process that is asked by lines and answers by lines."""

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


class Asked:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.id = process.pid

    def line(self) -> str:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise EOFError(f"{self._process.args} has ended")
        return line.strip()

    def ask(self, text: str) -> dict[str, Any]:
        self.tell(text)
        return json.loads(self.line())

    def tell(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()


@contextmanager
def running(module: str, *arguments: str) -> Generator[Asked]:
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Asked(process)
        finally:
            process.kill()
