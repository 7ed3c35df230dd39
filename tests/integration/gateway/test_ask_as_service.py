"""What a granted route reads when PocketBase takes the service's token for a guest's."""

from typing import Any, cast

import httpx
import pytest

from common.adapters.pocketbase import PocketBase, open_pocketbase
from common.core.errors import NotFound
from gateway.core.route_files.database_call import DatabaseCall
from gateway.routing.ask_as_service import ServiceCalls
from tests.servers.gateway import signed_up
from tests.servers.pocketbase import PocketBaseServer


class Open:
    known = ()

    async def admitted(self, spelling: str) -> Any:
        return spelling


async def lapsed(service: PocketBase, call: DatabaseCall) -> Any:
    service._token = "lapsed"
    return await ServiceCalls(service, cast(Any, None), Open()).call(call)


async def test_a_token_that_has_lapsed_makes_no_guest_of_the_service(
    guarded: PocketBaseServer, superuser_token: str
) -> None:
    async with httpx.AsyncClient(base_url=guarded.url) as web:
        owner = (await signed_up(web)).id
        root = {"Authorization": superuser_token}
        body = {"title": "hers", "owner": owner}
        made = (await web.post("/api/collections/notes/records", json=body, headers=root)).json()
    mine = {"filter": f'owner = "{owner}"', "fields": "id,title"}
    async with open_pocketbase(guarded.url, email=guarded.email, password=guarded.password) as service:
        await service.collections()
        listed = await lapsed(service, DatabaseCall("list", "notes", query=mine))
        assert listed["items"] == [{"id": made["id"], "title": "hers"}]
        seen = await lapsed(service, DatabaseCall("view", "notes", made["id"], query={"fields": "title"}))
        assert seen == {"title": "hers"}
        for absent in ("absent", f'{made["id"]}" || id != "'):
            with pytest.raises(NotFound):
                await lapsed(service, DatabaseCall("view", "notes", absent))
