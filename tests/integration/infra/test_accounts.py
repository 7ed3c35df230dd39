"""PostgreSQL runs wherever the checkout lies, as root and otherwise."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from infra.embedded import postgres
from infra.embedded.accounts import Account, for_postgres, hand_over
from tests.servers.postgres import wait_until_accepting
from tests.servers.process import directory, free_port, server

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="this machine's user is not root, so it cannot change accounts")


def serve_once(data: Path, log: Path) -> None:
    postgres.initialise(data, password="secret-enough")
    port = free_port()
    with server(postgres.command(data, port=port), port=port, log=log, stop=signal.SIGINT):
        wait_until_accepting(port)


@AS_ROOT
def test_a_cluster_survives_its_folder_being_closed_and_opened_again() -> None:
    with directory() as home:
        data, log = home / "data", home / "postgres.log"
        assert for_postgres(data).user_id != 0
        serve_once(data, log)
        home.chmod(0o700)
        assert for_postgres(data).user_id == 0
        serve_once(data, log)
        home.chmod(0o711)
        serve_once(data, log)


@AS_ROOT
def test_a_closed_folder_is_served_by_nobody_in_a_namespace() -> None:
    with directory() as home:
        home.chmod(0o700)
        account = for_postgres(home / "data")
        seen = subprocess.run([*account.prefix, "id", "-u"], check=True, capture_output=True, text=True)
        assert seen.stdout.strip() == "65534"


def test_handing_over_makes_a_private_folder(tmp_path: Path) -> None:
    hand_over(tmp_path / "data", Account(os.geteuid(), os.getegid()))
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_initdbs_own_words_are_passed_on(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    data = tmp_path / "data"
    data.mkdir()
    (data / "in-the-way").touch()
    with pytest.raises(postgres.NotInitialised, match=r"not empty|directory|argument"):
        postgres.initialise(data, password="secret-enough")
