"""The schema is made once, however often and from however many places that is asked."""

import asyncio

import asyncpg

from tests.servers import chathub
from tests.servers.process import free_port

ALL = "".join(f"applied {number:04d}\n" for number in range(1, 7))
TABLES = """
select array_agg(table_name::text order by table_name) from information_schema.tables where table_schema = 'chatserver'
"""


async def test_a_second_run_finds_everything_up_to_date(empty_database_url: str) -> None:
    first, second = chathub.migrate(empty_database_url), chathub.migrate(empty_database_url)
    assert (first.stdout, first.stderr, first.returncode) == (
        ALL,
        "",
        0,
    )
    assert (second.stdout, second.stderr, second.returncode) == ("up to date\n", "", 0)
    connection = await asyncpg.connect(empty_database_url)
    assert set(await connection.fetchval(TABLES)) == {
        *("alembic_version", "amendments", "bans", "channel_members", "channels", "chat_messages", "chat_sessions"),
        *(
            "dead_letters",
            "logs",
            "moderation_log",
            "nodes",
            "private_messages",
            "purged_channels",
            "purges",
            "rate_limiter",
        ),
        *("server_instances", "untold", "users"),
    }
    assert await connection.fetchval("select array_agg(name::text) from chatserver.channels") == ["general"]
    await connection.close()


async def test_what_was_set_aside_earlier_is_known_by_its_author_and_its_message(empty_database_url: str) -> None:
    chathub.migrate(empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    letters = "chatserver.dead_letters"
    await connection.execute(f"alter table {letters} drop column owner_id, drop column about_epoch, drop column about")
    await connection.execute("update chatserver.alembic_version set version_num = '0005'")
    payloads = [b'{"owner_id":"a"}', b'{"owner_id":"a","target_epoch":7,"target":8}', b"\xff", b'{"target":"?"}', b"[]"]
    insert = f"insert into {letters} (stream_epoch, cache_id, subject, payload, reason) values (1, $1, 's', $2, 'r')"
    await connection.executemany(insert, list(enumerate(payloads)))
    assert chathub.migrate(empty_database_url).stdout.startswith("applied 0006\n")
    found = await connection.fetch(f"select owner_id, about_epoch, about from {letters} order by cache_id")
    assert [tuple(row) for row in found] == [("a", 1, 0), ("a", 7, 8), (None, 1, 2), (None, 1, 3), (None, 1, 4)]
    await connection.close()


async def test_runs_at_the_same_time_apply_it_once(empty_database_url: str) -> None:
    async with asyncio.TaskGroup() as tasks:
        runs = [tasks.create_task(asyncio.to_thread(chathub.migrate, empty_database_url)) for _ in range(3)]
    assert sorted(run.result().stdout for run in runs) == [
        ALL,
        "up to date\n",
        "up to date\n",
    ]


def test_an_absent_server_is_waited_for_only_so_long_and_its_password_is_not_told() -> None:
    url = f"postgresql://somebody:hush-hush@127.0.0.1:{free_port()}/chat"
    done = chathub.run("migrate", "--wait-seconds", "0.3", environment={"DATABASE_URL": url})
    assert done.returncode == 1
    assert "PostgreSQL did not answer" in done.stderr
    assert "hush-hush" not in done.stdout + done.stderr


def test_a_url_that_is_none_is_not_repeated() -> None:
    done = chathub.run("migrate", environment={"DATABASE_URL": "mysql://somebody:hush-hush@host/chat"})
    assert done.returncode == 1
    assert "hush-hush" not in done.stdout + done.stderr


def test_missing_settings_are_one_line() -> None:
    done = chathub.run("serve", environment={"CHATHUB_ISSUER": "http://issuer.test"})
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "DATABASE_URL" in done.stderr
