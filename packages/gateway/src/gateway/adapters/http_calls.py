"""The routes' database from outside the gateway: for tests, scripts and other servers."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from common.core.errors import UpstreamUnavailable
from common.core.pocketbase_answers import json_body
from gateway.core.route_files.answered import error_of
from gateway.core.route_files.database_call import DatabaseCall
from gateway.routing.database import MAX_BATCH, Database

SECONDS = 30.0
AWAY = "The gateway does not answer; please retry."


class HttpCalls:
    """Calls over a client whose base URL is a gateway's, or PocketBase's own; `token` says as whom."""

    def __init__(self, client: httpx.AsyncClient, token: str = "") -> None:
        self._client = client
        self._headers = {"Authorization": token} if token else {}

    async def call(self, call: DatabaseCall) -> Any:
        """Raises a ServiceError for a refusal."""
        target = f"{call.path}?{call.query_string}" if call.query else call.path
        try:
            answer = await self._client.request(call.method, target, json=call.body, headers=self._headers)
        except httpx.HTTPError as error:
            raise UpstreamUnavailable(AWAY) from error
        if answer.status_code >= 300:
            headers = {name.lower(): value for name, value in answer.headers.raw}
            raise error_of(answer.status_code, answer.content, headers)
        return json_body(answer.content)


@asynccontextmanager
async def open_database(url: str, token: str = "", *, max_batch: int = MAX_BATCH) -> AsyncGenerator[Database]:
    """As the bearer of the token; as a guest without one."""
    async with httpx.AsyncClient(base_url=url, timeout=SECONDS, trust_env=False) as client:
        yield Database(HttpCalls(client, token), max_batch=max_batch)
