"""A PostgreSQL cluster of our own: made once, then served on loopback with passwords only."""

import os
import subprocess
from pathlib import Path

from infra.embedded import binaries
from infra.embedded.accounts import Account, for_postgres, hand_over

ENVIRONMENT = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": os.defpath}


class NotInitialised(Exception):
    """The cluster could not be made; the message is initdb's own last line."""


def account(directory: Path) -> Account:
    """Who runs the cluster in `directory`. Raises NoAccount."""
    return for_postgres(directory, binaries.postgres("postgres"))


def initialise(directory: Path, *, password: str) -> None:
    """Make the cluster unless it is there. Raises NotInitialised."""
    owner = account(directory)
    hand_over(directory, owner)
    if (directory / "PG_VERSION").exists():
        return
    read_end, write_end = os.pipe()
    os.fchown(read_end, owner.user_id, owner.group_id)  # initdb opens it anew, as the account
    os.write(write_end, password.encode())
    os.close(write_end)
    command = [
        *(str(binaries.postgres("initdb")), f"--pgdata={directory}", "--username=postgres", "--encoding=UTF8"),
        *("--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile=/dev/fd/{read_end}"),
    ]
    try:
        made = subprocess.run(
            [*owner.prefix, *command],
            check=False,
            capture_output=True,
            text=True,
            pass_fds=(read_end,),
            env=ENVIRONMENT,
        )
    finally:
        os.close(read_end)
    if made.returncode != 0:
        raise NotInitialised((made.stderr.strip().splitlines() or ["initdb said nothing"])[-1])


def command(directory: Path, *, port: int) -> list[str]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "100",
        "shared_buffers": "128MB",
        "timezone": "UTC",
        "log_statement": "none",
        "log_min_error_statement": "panic",
        "log_timezone": "UTC",
    }
    server = [str(binaries.postgres("postgres")), "-D", str(directory)]
    return [*account(directory).prefix, *server, *(f"--{name}={value}" for name, value in settings.items())]
