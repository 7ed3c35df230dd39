"""nsc's folders: `<operator>/accounts/<account>/users/*.jwt`, and a folder of seeds named by their public keys."""

from collections.abc import Iterable
from pathlib import Path

from natsync.core.moving.adoption import NotAdoptable
from natsync.core.moving.nsc_store import Found, FoundAccount

MAX_FILE_BYTES = 4_000_000
MAX_FILES = 200_000


def read_store(store: Path, keys: Path, operator: str = "") -> Found:
    """`store` is an operator's folder, or the one that holds it. Raises NotAdoptable or OSError."""
    home = operator_folder(store, operator)
    accounts = [
        FoundAccount(text_of(token), tuple(text_of(user) for user in sorted((token.parent / "users").glob("*.jwt"))))
        for token in sorted(home.glob("accounts/*/*.jwt"))
    ]
    return Found(text_of(home / f"{home.name}.jwt"), tuple(accounts), seeds(keys))


def operator_folder(store: Path, operator: str) -> Path:
    homes = [home for home in (store, *children(store)) if (home / f"{home.resolve().name}.jwt").is_file()]
    named = [home.resolve() for home in homes if operator in ("", home.resolve().name)]
    if not named:
        raise NotAdoptable(f"{store} holds no operator{f' {operator}' if operator else ''}.")
    if len(named) > 1:
        raise NotAdoptable(f"{store} holds several operators, name one: {', '.join(home.name for home in named)}.")
    return named[0]


def children(folder: Path) -> Iterable[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else []


def seeds(keys: Path) -> dict[str, str]:
    """By public key, which is the file's name."""
    found: dict[str, str] = {}
    for file in keys.rglob("*.nk"):
        found[file.stem] = text_of(file).strip()
        if len(found) > MAX_FILES:
            raise NotAdoptable(f"{keys} holds more than {MAX_FILES} keys.")
    return found


def text_of(file: Path) -> str:
    if not file.is_file():
        raise NotAdoptable(f"There is no file {file}.")
    if file.stat().st_size > MAX_FILE_BYTES:
        raise NotAdoptable(f"{file} is longer than any token.")
    return file.read_text("utf-8", "replace")
