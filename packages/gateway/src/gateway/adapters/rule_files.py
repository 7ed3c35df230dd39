"""Rule files to a rule set: each is run in a module of its own, off `sys.path`, and leaves nothing beside itself."""

import secrets
import sys
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from gateway.core.rule_files.outcome import place_of, text_of
from gateway.core.rule_files.registry import Registry, registering
from gateway.core.rule_files.rule_set import LoadFault, ModeratedFields, Place, Rule, RuleSet
from gateway.isolate.outcome import GivenUp

MAX_FILES = 500
MAX_FILE_BYTES = 1024 * 1024
MAX_REASON_CHARACTERS = 500


@dataclass(slots=True)
class Reading:
    """One reading of the folder. `at` is the file that is being run, should it never come back."""

    at: Path | None = None
    rules: list[Rule] = field(default_factory=list[Rule])
    moderated: list[ModeratedFields] = field(default_factory=list[ModeratedFields])
    faults: list[LoadFault] = field(default_factory=list[LoadFault])
    modules: list[str] = field(default_factory=list[str])

    def add(self, registry: Registry) -> None:
        self.rules += registry.rules
        self.moderated += registry.moderated


def rule_files(folder: Path) -> list[Path]:
    """In the order in which their rules run. Raises OSError when the folder cannot be listed."""
    found = [path for path in folder.iterdir() if path.suffix == ".py" and not path.name.startswith(".")]
    return sorted(found, key=lambda path: path.name)


def read_folder(folder: Path, reading: Reading, extra: Sequence[ModeratedFields] = ()) -> RuleSet:
    """What is wrong with a file, or with the folder, stands in the set. Raises GivenUp alone."""
    files: list[Path] = []
    try:
        files = rule_files(folder)
        if len(files) > MAX_FILES:
            raise OSError(f"more than {MAX_FILES} rule files")
    except OSError as error:
        reading.faults.append(LoadFault(Place(str(folder), 0), reason_of(error)))
    for path in files[:MAX_FILES]:
        reading.at = path
        read_file(path, reading)
    rules = RuleSet(
        tuple(reading.rules), (*reading.moderated, *extra), tuple(reading.faults), tuple(str(path) for path in files)
    )
    weakref.finalize(rules, forget, tuple(reading.modules)).atexit = False
    return rules


def read_file(path: Path, reading: Reading) -> None:
    """The file's rules, or the one reason for having none of them."""
    try:
        with registering() as registry:
            run_file(path, reading.modules)
        reading.add(registry)
    except SyntaxError as error:
        line = error.lineno if error.filename == str(path) else None
        reading.faults.append(LoadFault(Place(str(path), line or 0), reason_of(error)))
    except GivenUp:
        raise
    except BaseException as error:  # noqa: BLE001 - a file that calls sys.exit() does not load either
        place = place_of(error, str(path)) or Place(str(path), 0)
        reading.faults.append(LoadFault(place, reason_of(error)))


def run_file(path: Path, modules: list[str]) -> None:
    source = path.read_bytes()
    if len(source) > MAX_FILE_BYTES:
        raise ValueError(f"more than {MAX_FILE_BYTES} bytes")
    code = compile(source, str(path), "exec", dont_inherit=True)
    # dataclasses and pydantic look their module up by name; no import statement can name this one
    module = ModuleType(f"rules:{secrets.token_hex(4)}:{path.stem}")
    module.__file__, module.__package__ = str(path), ""
    sys.modules[module.__name__] = module
    modules.append(module.__name__)
    exec(code, module.__dict__)  # noqa: S102 - running the operator's rules is what this is for


def forget(modules: Iterable[str]) -> None:
    for name in modules:
        sys.modules.pop(name, None)


def reason_of(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else text_of(error, max_characters=MAX_REASON_CHARACTERS)
    return f"{type(error).__name__}: {text}"
