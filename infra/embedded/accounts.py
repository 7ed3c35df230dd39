"""PostgreSQL refuses to run as root. Started by root it runs as an ordinary account of this machine; where that
account could not reach the files, as in a checkout below /root, it runs in a user namespace in which root is nobody.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CANDIDATES = ("postgres", "nobody")
NOBODY = 65534


class NoAccount(Exception):
    """PostgreSQL cannot be started by this user; the message says what would help."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who owns PostgreSQL's files, and what to put before a command so that it runs as that owner."""

    user_id: int
    group_id: int
    prefix: tuple[str, ...] = ()


def for_postgres(*paths: Path) -> Account:
    """The account that can run programs and keep data below `paths`. Raises NoAccount."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if all(is_open_to_all(path) for path in paths):
        return ordinary_account()
    return nobody_in_a_namespace()


def is_open_to_all(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents if parent.exists())


def ordinary_account() -> Account:
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        change = (f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", "--inh-caps=-all")
        return Account(entry.pw_uid, entry.pw_gid, (program("setpriv"), *change, "--pdeathsig=TERM"))
    raise NoAccount(
        "PostgreSQL refuses to run as root and there is no 'postgres' or 'nobody' account; use another user"
    )


def nobody_in_a_namespace() -> Account:
    namespace = (program("unshare"), "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode != 0:
        raise NoAccount(
            "PostgreSQL refuses to run as root, other accounts may not enter this folder, and user namespaces are off; "
            "use another user, or a folder that everybody may pass through"
        )
    return Account(os.geteuid(), os.getegid(), (*namespace, program("setpriv"), "--pdeathsig=TERM"))


def program(name: str) -> str:
    if (found := shutil.which(name)) is None:
        raise NoAccount(f"PostgreSQL refuses to run as root and '{name}' (util-linux) is missing; use another user")
    return found


def hand_over(directory: Path, account: Account) -> None:
    """Make `directory` private to the account, with all that an earlier account left in it."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    if directory.stat().st_uid != account.user_id:
        for path in (directory, *directory.rglob("*")):
            os.chown(path, account.user_id, account.group_id, follow_symlinks=False)
