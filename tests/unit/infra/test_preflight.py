import os
from collections.abc import Generator
from pathlib import Path

import pytest

from infra.embedded import preflight, status
from infra.embedded.preflight import CannotStart


@pytest.fixture(autouse=True)
def same_umask() -> Generator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_who_comes_second_writes_nothing_where_another_is_starting(tmp_path: Path) -> None:
    data = tmp_path / ".data"
    with status.lock(data), pytest.raises(CannotStart, match="already running"):
        preflight.prepare({"POCKETWIRE_HOME": str(tmp_path)})
    assert [path.relative_to(data) for path in data.rglob("*")] == [Path("run"), Path("run/lock")]
    assert not (tmp_path / ".env").exists()
