"""Runs an operator's Python files: each in a module of its own, off `sys.path`, that leaves nothing beside itself."""

import secrets
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from gateway.core.rule_files.outcome import place_of, text_of
from gateway.core.rule_files.rule_set import LoadFault, Place
from gateway.isolate.outcome import GivenUp

MAX_FILES = 500
MAX_FILE_BYTES = 1024 * 1024
MAX_REASON_CHARACTERS = 500


@dataclass(slots=True)
class Reading:
    """One reading of a folder. `at` is the file that is being run, should it never come back."""

    at: Path | None = None
    faults: list[LoadFault] = field(default_factory=list[LoadFault])
    modules: list[str] = field(default_factory=list[str])

    def attempt(self, path: Path, take: Callable[[], None]) -> None:
        """Whatever is wrong with the file while `take` runs and reads it becomes a fault of this reading."""
        self.at = path
        try:
            take()
        except SyntaxError as error:
            line = error.lineno if error.filename == str(path) else None
            self.faults.append(LoadFault(Place(str(path), line or 0), reason_of(error)))
        except GivenUp:
            raise
        except BaseException as error:  # noqa: BLE001 - a file that calls sys.exit() does not load either
            place = place_of(error, str(path)) or Place(str(path), 0)
            self.faults.append(LoadFault(place, reason_of(error)))

    def run(self, path: Path, kind: str) -> ModuleType:
        """Raises whatever the file does. `kind` begins the module's name, which no import statement can spell."""
        source = path.read_bytes()
        if len(source) > MAX_FILE_BYTES:
            raise ValueError(f"more than {MAX_FILE_BYTES} bytes")
        code = compile(source, str(path), "exec", dont_inherit=True)
        # dataclasses and pydantic look their module up by name
        module = ModuleType(f"{kind}:{secrets.token_hex(4)}:{path.stem}")
        module.__file__, module.__package__ = str(path), ""
        sys.modules[module.__name__] = module
        self.modules.append(module.__name__)
        exec(code, module.__dict__)  # noqa: S102 - running the operator's code is what this is for
        return module


def forget(modules: Iterable[str]) -> None:
    for name in modules:
        sys.modules.pop(name, None)


def reason_of(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else text_of(error, max_characters=MAX_REASON_CHARACTERS)
    return f"{type(error).__name__}: {text}"
