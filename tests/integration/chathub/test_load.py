"""Many at once, as processes of their own that only count: `POCKETWIRE_EXAMPLES=10000` for as many as are promised."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from tests.asked_process import Asked, running
from tests.eventually import eventually
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer
from tests.thorough import examples, takes_its_time

SENDERS = 50
MESSAGES = examples(2_000)
CLIENTS = examples(300)
ROWS = "select cache_id from chatserver.chat_messages where owner_id like $1 order by cache_id"


@contextmanager
def crowd(node: Chathub, tokens: list[str], file: Path, *how: str) -> Generator[Asked]:
    file.write_text("\n".join(tokens))
    with running("tests.chat_crowd", str(node.port), str(len(tokens)), str(file), *how) as asked:
        assert asked.line() == "ready"
        yield asked


@pytest.fixture
def second(environment: dict[str, str], tmp_path: Path) -> Generator[Chathub]:
    with chathub.chathub(tmp_path / "second.log", environment) as node:
        chathub.wait_until_ready(node)
        yield node


@takes_its_time
async def test_all_clients_of_two_nodes_are_told_the_same_and_it_is_what_is_stored(
    node: Chathub, second: Chathub, tokens: Issuer, tmp_path: Path, database_url: str
) -> None:
    names = [f"many{number}" for number in range(SENDERS)]
    here, there = [tokens.token(name) for name in names[::2]], [tokens.token(name) for name in names[1::2]]
    with (
        crowd(node, here, tmp_path / "here", "follow") as first,
        crowd(second, there, tmp_path / "there", "follow") as other,
    ):
        said = await asyncio.gather(*(asyncio.to_thread(one.ask, f"say {MESSAGES // 2}") for one in (first, other)))
        assert [one["left"] for one in said] == [0, 0]
        heard = await asyncio.gather(*(asyncio.to_thread(one.ask, f"follow {MESSAGES}") for one in (first, other)))
    assert [one["orders"] for one in heard] == [1, 1]
    assert heard[0]["places"] == heard[1]["places"]
    assert len(set(heard[0]["places"])) == MESSAGES
    connection = await asyncpg.connect(database_url)
    rows = await eventually(lambda: connection.fetch(ROWS, "many%"), lambda rows: len(rows) >= MESSAGES)
    assert [row[0] for row in rows] == heard[0]["places"]
    await connection.close()


@takes_its_time
async def test_a_node_full_of_clients_sends_them_away_and_ends_in_time_though_one_reads_nothing(
    environment: dict[str, str], tokens: Issuer, log_file: Path, tmp_path: Path
) -> None:
    with chathub.chathub(log_file, environment) as node:
        chathub.wait_until_ready(node)
        clients = [tokens.token(f"full{number}") for number in range(CLIENTS)]
        with crowd(node, clients, tmp_path / "clients") as asked:
            asked.ask("deaf 1")
            node.process.terminate()
            codes = await asyncio.to_thread(asked.ask, "closes")
            assert node.process.wait(14) == 0
    assert codes.pop("seconds") < 12
    assert codes == {"1012": CLIENTS - 1}
