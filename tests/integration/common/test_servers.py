"""The servers that the other tests stand on do start."""

import asyncpg

from common.adapters.nats_connections import connected, open_nats
from common.adapters.pocketbase import open_pocketbase
from common.adapters.valkey_connections import open_valkey, valkey_answers
from tests.eventually import eventually
from tests.servers.pocketbase import PocketBaseServer


async def test_every_server_answers(
    pocketbase: PocketBaseServer, nats_url: str, valkey_url: str, postgres_url: str
) -> None:
    async with open_pocketbase(pocketbase.url, email=pocketbase.email, password=pocketbase.password) as control:
        assert "users" in {collection["name"] for collection in await control.collections()}
    async with open_valkey(valkey_url) as valkey:
        await valkey_answers(valkey)
    connection = await asyncpg.connect(postgres_url)
    assert (await connection.fetchval("show server_version")).startswith("18")
    await connection.close()
    async with open_nats(nats_url, name="test", creds=None) as nats:

        async def standing() -> bool:
            return nats.is_connected

        await eventually(standing)
        await connected(nats)
