"""A PostgreSQL cluster of our own: made once, then served on loopback with passwords only."""

import os
import subprocess
from pathlib import Path

from infra.embedded import binaries
from infra.embedded.accounts import Account, as_account, hand_over

ENVIRONMENT = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": os.defpath}


def initialise(directory: Path, *, password: str, account: Account | None) -> None:
    """Make the cluster unless it is there. Raises CalledProcessError with initdb's own words."""
    if (directory / "PG_VERSION").exists():
        return
    hand_over(directory, account)
    read_end, write_end = os.pipe()
    os.write(write_end, password.encode())
    os.close(write_end)
    command = [
        *(str(binaries.postgres("initdb")), f"--pgdata={directory}", "--username=postgres", "--encoding=UTF8"),
        *("--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile=/dev/fd/{read_end}"),
    ]
    try:
        subprocess.run(
            as_account(command, account),
            check=True,
            capture_output=True,
            text=True,
            pass_fds=(read_end,),
            env=ENVIRONMENT,
        )
    finally:
        os.close(read_end)


def command(directory: Path, *, port: int, account: Account | None) -> list[str]:
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
    return as_account([*server, *(f"--{name}={value}" for name, value in settings.items())], account)
