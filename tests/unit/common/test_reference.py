"""Whatever a service takes from the library is explained in its reference, and whatever is explained exists."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import common

REPOSITORY = Path(__file__).parents[3]
PAGES = REPOSITORY / "docs" / "reference" / "common"
TUTORIAL = REPOSITORY / "docs" / "tutorial" / "a-fourth-service.md"
MODULE = re.compile(r"`(common(?:\.[a-z_]+)+)`")


def imported_by_services() -> Iterator[tuple[str, str]]:
    """Module and name of each import from the library in a service or the tutorial."""
    files = (REPOSITORY / "packages").glob("*/src/*/**/*.py")
    texts = [file.read_text() for file in files if "/src/common/" not in file.as_posix()]
    texts += re.findall(r"^```python.*?\n(.*?)^```", TUTORIAL.read_text(), re.MULTILINE | re.DOTALL)
    for text in texts:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "common":
                yield from ((node.module, alias.name) for alias in node.names)


def test_every_name_that_a_service_imports_is_explained() -> None:
    told = "\n".join(page.read_text() for page in PAGES.glob("*.md"))
    names = {name for _, name in imported_by_services()}
    assert not sorted(name for name in names if not re.search(rf"\b{name}\b", told))


def test_every_module_that_a_page_names_exists() -> None:
    modules = {module.name for module in pkgutil.walk_packages(common.__path__, "common.")}
    named = {name for page in PAGES.glob("*.md") for name in MODULE.findall(page.read_text())}
    assert named
    for name in named - modules:
        parent, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(parent), attribute), name
