"""PostgreSQL refuses to run as root; as root it therefore runs as an ordinary account of this machine."""

import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path

CANDIDATES = ("postgres", "nobody")


class NoAccount(Exception):
    """PostgreSQL cannot be started by this user; the message says what would help."""


@dataclass(frozen=True, slots=True)
class Account:
    user_id: int
    group_id: int


def unprivileged() -> Account | None:
    """The account PostgreSQL is to run as; None when the present one will do."""
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise NoAccount(
        "PostgreSQL refuses to run as root and there is no 'postgres' or 'nobody' account; use another user"
    )


def as_account(command: list[str], account: Account | None) -> list[str]:
    """Prefix a command so that it runs as `account` and ends with its parent.

    The account keeps root's way past directory permissions: a checkout below /root is closed to everybody else,
    and PostgreSQL has to reach its programs and its data there.
    """
    if account is None:
        return command
    if (setpriv := shutil.which("setpriv")) is None:
        raise NoAccount("PostgreSQL refuses to run as root and 'setpriv' (util-linux) is missing; use another user")
    return [
        setpriv,
        f"--reuid={account.user_id}",
        f"--regid={account.group_id}",
        "--clear-groups",
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=-all,+dac_override",
        "--pdeathsig=TERM",
        *command,
    ]


def hand_over(directory: Path, account: Account | None) -> None:
    """Make `directory`, private to the account that will use it."""
    directory.mkdir(parents=True, exist_ok=True)
    if account is not None:
        os.chown(directory, account.user_id, account.group_id)
    directory.chmod(0o700)
