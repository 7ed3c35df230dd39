"""Writes a project to begin with: a rule, a route with its schema, a test, the settings, and keys of its own."""

import base64
import secrets
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

STARTER = "starter"
ENV_FILE = ".env"
IGNORED = f"{ENV_FILE}\n__pycache__/\n.pytest_cache/\n"


class ProjectExists(Exception):
    """A file of the project is there already; nothing was written."""


def start_project(folder: Path, *, email: str, password: str) -> list[Path]:
    """The files that were written, from the folder on. Raises ProjectExists, OSError."""
    texts = {
        **dict(texts_in(files("gateway") / STARTER)),
        ".gitignore": IGNORED,
        ENV_FILE: environment(email, password),
    }
    taken = sorted(name for name in texts if (folder / name).exists())
    if taken:
        raise ProjectExists(f"{', '.join(taken)} in {folder}")
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600 if name == ENV_FILE else 0o644)
        path.write_text(text, "utf-8")
    return [Path(name) for name in sorted(texts)]


def texts_in(folder: Traversable, above: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for item in folder.iterdir():
        name = f"{above}{item.name}"
        if item.is_dir():
            found += [] if item.name.startswith("__") else texts_in(item, f"{name}/")
        elif item.name.endswith((".py", ".toml")):
            found.append((name, item.read_text("utf-8")))
    return found


def environment(email: str, password: str) -> str:
    values = {
        "GATEWAY_POCKETBASE_EMAIL": email,
        "GATEWAY_POCKETBASE_PASSWORD": password,
        "GATEWAY_SIGNING_KEY": base64url(b"\1" + secrets.token_bytes(31)),
        "GATEWAY_SESSION_KEY": base64url(secrets.token_bytes(32)),
        "GATEWAY_OPERATOR_KEY": secrets.token_urlsafe(24),
    }
    return "".join(f"{name}='{escaped(value)}'\n" for name, value in values.items())


def escaped(value: str) -> str:
    """For single quotes in a `.env`."""
    return value.replace("\\", "\\\\").replace("'", "\\'")


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
