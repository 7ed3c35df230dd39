"""Programs that a suite runs beside its own: which there must be, and how to come by them."""

import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


class MissingProgram(Exception):
    """A suite cannot run without it; nothing is installed by itself."""


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    comes_by: str

    def path(self) -> str:
        """Beside the interpreter, where wheels put programs, or where the system has it. Raises MissingProgram."""
        folders = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/usr/local/sbin:/usr/sbin"
        found = shutil.which(self.name, path=folders) or shutil.which(self.name)
        if found is None:
            raise MissingProgram(f"{self.name} is missing; get it by `{self.comes_by}`")
        return found


WRK = Program("wrk", "apt-get install wrk")
NGINX = Program("nginx", "apt-get install nginx-light")
TRAEFIK = Program("traefik", "just setup")


def check(programs: Iterable[Program]) -> None:
    """Raises MissingProgram, which names all that are missing."""
    missing: list[str] = []
    for program in programs:
        try:
            program.path()
        except MissingProgram as fault:
            missing.append(str(fault))
    if missing:
        raise MissingProgram("; ".join(missing))
