"""A page of docs/how-to that is a script in pieces: its blocks as files, and what it says that they print."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "how-to" / "nats"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
BACKGROUND = "in the background"
SHELL = """\
set -eu
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT
{commands}
node page.mjs
"""


@dataclass(frozen=True, slots=True)
class Page:
    """`printed` is what all of it prints, in order."""

    shell: str
    script: str
    printed: str
    files: Mapping[str, str]

    @classmethod
    def named(cls, name: str, addresses: Mapping[str, str]) -> "Page":
        """With other addresses in it than those on the page."""
        blocks = [
            (kind, title, replaced(text, addresses)) for kind, title, text in BLOCK.findall((FOLDER / name).read_text())
        ]
        return cls(
            shell=SHELL.format(commands="".join(command(title, text) for kind, title, text in blocks if kind == "sh")),
            script="".join(text for kind, title, text in blocks if kind == "js" and not title),
            printed="".join(text for kind, _, text in blocks if kind == "text"),
            files={title: text for kind, title, text in blocks if kind == "js" and title},
        )


def replaced(text: str, addresses: Mapping[str, str]) -> str:
    """None of the new addresses is taken for an old one."""
    old = re.compile("|".join(rf"(?<!\d){re.escape(each)}(?!\d)" for each in addresses))
    return old.sub(lambda found: addresses[found[0]], text)


def command(title: str, text: str) -> str:
    return f"{{ {text.strip()}; }} > server.log 2>&1 &\n" if title == BACKGROUND else text
