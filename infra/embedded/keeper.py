"""The process that starts the supervisor, and starts it again should it be killed. It holds the home's lock.

`python -m infra.embedded.keeper DESCRIPTOR` is how `up` starts it: it loads next to nothing, and lives as long.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

from infra.embedded.process import end_with_parent
from infra.embedded.repository import REPOSITORY

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
KEEPER = [sys.executable, "-m", "infra.embedded.keeper"]
SUPERVISOR = [sys.executable, "-m", "infra.embedded", "supervise"]


def hold_interrupts() -> None:
    """Signals to stop wait until `release_interrupts`, here and in a keeper that is started meanwhile."""
    signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)


def release_interrupts() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)


def start(data: Path, held: IO[str]) -> subprocess.Popen[bytes]:
    """Start a keeper that takes over the lock; the caller's hold on it ends here."""
    with held, (data / "logs" / "supervisor.log").open("ab") as log:
        return subprocess.Popen(
            [*KEEPER, str(held.fileno())],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(held.fileno(),),
        )


class Keeper:
    def __init__(self) -> None:
        self._stopping = False
        self._child: subprocess.Popen[bytes] | None = None

    def keep(self, lock: int) -> int:
        """Run until the supervisor ends by itself or is told to; its exit code. `lock` is the lock's descriptor."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        release_interrupts()
        os.set_inheritable(lock, False)
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        code = 0
        while not self._stopping:
            code = self._supervise()
            if code >= 0:  # otherwise a signal ended it
                break
        return max(code, 0)

    def _supervise(self) -> int:
        self._child = subprocess.Popen(SUPERVISOR, cwd=REPOSITORY, preexec_fn=end_with_parent)
        if self._stopping:
            self._child.terminate()
        return self._child.wait()

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True
        if self._child is not None:
            self._child.terminate()


if __name__ == "__main__":
    sys.exit(Keeper().keep(int(sys.argv[1])))
