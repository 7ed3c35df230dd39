"""Everything that can be wrong with a start is found here, before anything is started."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from common.serving.settings import SettingsError
from infra.embedded import parts, ports, settings, status
from infra.embedded.accounts import NoAccount
from infra.embedded.settings import PlatformSettings
from infra.embedded.status import AlreadyRunning


class CannotStart(Exception):
    """The message is one line for whoever wanted to start the platform."""


def prepare(environment: Mapping[str, str]) -> tuple[PlatformSettings, IO[str]]:
    """The settings and the lock, held, on a home that is ready to be started in. Raises CannotStart."""
    os.umask(0o077)  # whatever is written from here on, by any part, is for its user alone
    data = settings.home_folder(environment) / ".data"
    try:
        held = status.lock(data)
    except AlreadyRunning as error:
        raise CannotStart(f"already running (pid {error}): `just status` shows it, `just down` stops it") from None
    except OSError as error:
        raise CannotStart(f"cannot write to {error.filename}: {error.strerror}") from None
    try:
        make_folders(data)
        return check(environment), held
    except (SettingsError, ports.PortTaken, NoAccount, FileNotFoundError) as error:
        held.close()
        raise CannotStart(str(error)) from None
    except OSError as error:
        held.close()
        raise CannotStart(f"cannot write to {error.filename}: {error.strerror}") from None


def check(environment: Mapping[str, str]) -> PlatformSettings:
    settings.generate_missing(environment)
    chosen = settings.load(environment)
    ports.check(ports.wanted(chosen))
    parts.describe(chosen, settings.variables(environment))
    (chosen.data / "initialised").touch()
    (chosen.data / "run" / "status.json").unlink(missing_ok=True)
    return chosen


def make_folders(data: Path) -> None:
    """Raises OSError."""
    private = [data / name for name in ("logs", "run", "pocketbase", "valkey", "natsync", "nats", "caddy")]
    for folder in (data, *private):
        folder.mkdir(parents=True, exist_ok=True)
    data.chmod(0o711)  # PostgreSQL's account passes through it when the platform runs as root
    for folder in private:
        folder.chmod(0o700)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
