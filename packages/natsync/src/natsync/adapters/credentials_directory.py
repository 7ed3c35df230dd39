"""The files other processes start from. Each is replaced whole, and left alone when nothing in it changes."""

import os
from pathlib import Path


class CredentialsDirectory:
    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()

    def path(self, name: str) -> Path:
        return self.directory / name

    def write(self, name: str, text: str) -> bool:
        """Put a file in place, readable by its owner alone. Says whether anything changed."""
        path = self.path(name)
        make_private(path.parent)
        if path.exists() and path.read_text("utf-8") == text and path.stat().st_mode & 0o777 == 0o600:
            return False
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        return True


def make_private(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if directory.stat().st_mode & 0o777 != 0o700:
        directory.chmod(0o700)
