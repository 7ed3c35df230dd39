"""What the official SDK sends means the same to PocketBase directly and through the gateway."""

import json
from pathlib import Path

import httpx

from tests.integration.gateway.test_body_meaning import FIELDS
from tests.servers import node
from tests.servers.gateway import GatewayServer
from tests.servers.pocketbase import PocketBaseServer

SCRIPT = Path(__file__).with_name("bodies.mjs")


async def test_every_way_of_sending_a_record(
    guarded: PocketBaseServer, superuser: httpx.AsyncClient, gateway: GatewayServer
) -> None:
    node.install()
    rules = dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule", "deleteRule"), "")
    await superuser.post("/api/collections", json={"name": "sent", "type": "base", "fields": FIELDS, **rules})
    try:
        direct = json.loads(await node.run(SCRIPT, guarded.url, "sent"))
        through = json.loads(await node.run(SCRIPT, gateway.url, "sent"))
    finally:
        await superuser.delete("/api/collections/sent")
    assert through == direct
    assert [told[1] for told in direct if isinstance(told[1], int)] == [400, 400]
