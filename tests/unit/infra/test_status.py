from pathlib import Path

import pytest

from infra.embedded import status
from infra.embedded.status import AlreadyRunning


def test_a_home_has_one_holder_and_everybody_sees_who(tmp_path: Path) -> None:
    assert status.running_pid(tmp_path) is None
    with status.lock(tmp_path):
        holder = status.running_pid(tmp_path)
        with pytest.raises(AlreadyRunning, match=str(holder)):
            status.lock(tmp_path)
    assert status.running_pid(tmp_path) is None


def test_two_who_only_look_do_not_take_each_other_for_the_holder(tmp_path: Path) -> None:
    status.lock(tmp_path).close()
    with (tmp_path / "run" / "lock").open() as looking:
        assert status.is_free(looking, status.fcntl.LOCK_SH)
        assert status.running_pid(tmp_path) is None
