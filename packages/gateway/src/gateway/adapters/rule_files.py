"""Rule files to a rule set."""

import weakref
from collections.abc import Sequence
from pathlib import Path

from gateway.adapters.run_files import MAX_FILES, Reading, forget, reason_of
from gateway.core.rule_files.registry import Registry, registering
from gateway.core.rule_files.rule_set import LoadFault, ModeratedFields, Place, RuleSet


def rule_files(folder: Path) -> list[Path]:
    """In the order in which their rules run. Raises OSError when the folder cannot be listed."""
    found = [path for path in folder.iterdir() if path.suffix == ".py" and not path.name.startswith(".")]
    return sorted(found, key=lambda path: path.name)


def read_folder(folder: Path, reading: Reading, extra: Sequence[ModeratedFields] = ()) -> RuleSet:
    """What is wrong with a file, or with the folder, stands in the set. Raises GivenUp alone."""
    files, found = listed(folder, reading), Registry()
    for path in files[:MAX_FILES]:
        reading.attempt(path, lambda path=path: read_file(path, reading, found))
    rules = RuleSet(
        tuple(found.rules), (*found.moderated, *extra), tuple(reading.faults), tuple(str(path) for path in files)
    )
    weakref.finalize(rules, forget, tuple(reading.modules)).atexit = False
    return rules


def listed(folder: Path, reading: Reading) -> list[Path]:
    try:
        files = rule_files(folder)
        if len(files) > MAX_FILES:
            raise OSError(f"more than {MAX_FILES} rule files")
    except OSError as error:
        reading.faults.append(LoadFault(Place(str(folder), 0), reason_of(error)))
        return []
    return files


def read_file(path: Path, reading: Reading, found: Registry) -> None:
    """The file's rules, or none of them. Raises whatever the file does."""
    with registering() as registry:
        reading.run(path, "rules")
    found.rules += registry.rules
    found.moderated += registry.moderated
