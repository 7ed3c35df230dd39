"""The gateway's way of a body, and nothing else of it: taken in, checked, written anew, sent to PocketBase.

A process of its own, so that its memory can be measured: `python -m tests.servers.body_gateway CONFIGURATION`.
"""

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import uvicorn
from starlette.types import Receive, Scope, Send

from common.core.errors import NotFound, ServiceError
from gateway.adapters.pocketbase_http import PocketBaseHttp, open_pocketbase_http
from gateway.adapters.upload_spool import UploadSpool
from gateway.core.batch import batch_accepts, batch_items, batch_operation, upstream_batch
from gateway.core.batch_refusals import item_failed
from gateway.core.body_pace import Pace
from gateway.core.body_refusals import TooSlow
from gateway.core.catalogue import Catalogue, Collection, admitted, parse
from gateway.core.exchange import UpstreamRequest
from gateway.core.field_values import settled_body
from gateway.core.form_query import form_query
from gateway.core.headers import declared_length, has_body
from gateway.core.json_body import written
from gateway.core.media_type import MediaType, of_request
from gateway.core.pocketbase_route import find
from gateway.core.query import parse as parse_query
from gateway.core.record_body import UpstreamBody, record_body, streamed, upstream_body
from gateway.core.refusal_answer import shape, status_of
from gateway.core.refusals import TooLarge
from gateway.core.struct_bodies import AUTH_BODIES, struct_fields
from gateway.core.upload_checks import FileField, accepts, file_fields
from gateway.inspect_uploads import inspect
from gateway.receive import ClientGone, Incoming
from gateway.take_in import Expected, Intake
from tests.servers.pocketbase import PocketBaseServer
from tests.servers.process import directory, free_port, server

MEBIBYTE = 1024 * 1024
CREATING, UPDATING = "Failed to create record.", "Failed to update record."


@dataclass(frozen=True, slots=True)
class Configuration:
    port: int
    pocketbase_url: str
    superuser_token: str
    spool: str
    max_body_bytes: int = 2048 * MEBIBYTE
    max_field_bytes: int = 32 * MEBIBYTE
    max_spool_bytes: int = 4096 * MEBIBYTE
    max_spool_files: int = 2000
    max_pixels: int = 1_000_000
    pace: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class BodyGatewayServer:
    url: str
    process_id: int
    spool: Path


@contextmanager
def body_gateway_server(
    pocketbase: PocketBaseServer, superuser_token: str, changed: Mapping[str, Any] | None = None
) -> Generator[BodyGatewayServer]:
    with directory() as home:
        spool = home / "spool"
        spool.mkdir()
        configuration = Configuration(free_port(), pocketbase.url, superuser_token, str(spool), **(changed or {}))
        command = [sys.executable, "-m", "tests.servers.body_gateway", json.dumps(asdict(configuration))]
        with server(command, port=configuration.port, log=home / "body_gateway.log") as process:
            yield BodyGatewayServer(f"http://127.0.0.1:{configuration.port}", process.pid, spool)


class BodyGateway:
    def __init__(self, configuration: Configuration, upstream: PocketBaseHttp, rows: list[dict[str, Any]]) -> None:
        self._configuration = configuration
        self._upstream = upstream
        self._catalogue = Catalogue(map(parse, rows))
        self._files: dict[str, dict[str, FileField]] = {row["id"]: file_fields(row) for row in rows}
        spool = UploadSpool(
            Path(configuration.spool),
            max_bytes=configuration.max_spool_bytes,
            max_files=configuration.max_spool_files,
        )
        self._intake = Intake(
            spool,
            pace=Pace(**configuration.pace),
            max_field_bytes=configuration.max_field_bytes,
            max_memory_bytes=256 * MEBIBYTE,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                status, body, is_closed = await self._answered(scope, receive)
            except ClientGone:
                return
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            if is_closed:
                headers.append((b"connection", b"close"))
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    async def _answered(self, scope: Scope, receive: Receive) -> tuple[int, bytes, bool]:
        try:
            return *await self._forwarded(scope, receive), False
        except ServiceError as error:
            status = 408 if isinstance(error, TooSlow) else status_of(error)
            told = shape(status, str(error)) | {"data": getattr(error, "data", {})}
            return status, orjson.dumps(told), isinstance(error, TooSlow | TooLarge) or hasattr(error, "data")

    async def _forwarded(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        method, headers, raw_path = scope["method"], scope["headers"], scope["raw_path"]
        media = of_request(method, headers)
        max_bytes = self._configuration.max_body_bytes
        declared = declared_length(headers)
        if (declared or 0) > max_bytes:
            raise TooLarge("Request entity too large.")
        incoming = Incoming(receive, asyncio.Event(), has_body=has_body(headers), max_bytes=max_bytes)
        if raw_path == b"/api/batch" and method == "POST":
            return await self._batch(incoming.chunks(), media)
        route = find(method, raw_path)
        if route is None:
            raise NotFound("There is nothing here.")
        collection = admitted(self._catalogue.find(route.collection)) if route.collection else None
        query = parse_query(scope["query_string"])
        if media.is_form:
            query = form_query(query, [found.name for found in collection.fields] if collection else [])
        target = route.upstream_path(collection.name if collection else None)
        target = f"{target}?{query.encoded()}" if query.pairs else target
        if route.kind == "records" and collection and method in ("POST", "PATCH"):
            return await self._record(method, target, incoming.chunks(), media, collection)
        async with self._intake.take_in(incoming.chunks(), media, declared_bytes=declared) as received:
            document = written(struct_fields(received, AUTH_BODIES.get(route.after[-1] if route.after else "", {})))
            body = UpstreamBody("application/json", len(document), (document,)) if media.kind != "none" else None
            return await self._exchanged(method, target, body)

    async def _record(
        self, method: str, target: str, chunks: AsyncIterator[bytes], media: MediaType, collection: Collection
    ) -> tuple[int, bytes]:
        fields, refusal = self._files[collection.id], UPDATING if method == "PATCH" else CREATING
        async with self._intake.take_in(chunks, media, Expected(accepts(fields), refusal)) as received:
            body = settled_body(record_body(received), collection.fields)
            await inspect(body, fields, refusal=refusal, max_pixels=self._configuration.max_pixels)
            return await self._exchanged(method, target, upstream_body(body, secrets.token_hex(16)))

    async def _batch(self, chunks: AsyncIterator[bytes], media: MediaType) -> tuple[int, bytes]:
        async with self._intake.take_in(chunks, media, Expected(batch_accepts(100 * MEBIBYTE))) as received:
            operations = list[Any]()
            for index, item in enumerate(batch_items(received, max_items=50)):
                try:
                    collection = admitted(self._catalogue.find(item.route.collection or ""))
                    fields = self._files[collection.id]
                    operations.append(operation := batch_operation(item, collection, fields))
                    await inspect(operation.body, fields, refusal=CREATING, max_pixels=self._configuration.max_pixels)
                except ServiceError as error:
                    raise item_failed(index, error) from error
            return await self._exchanged("POST", "/api/batch", upstream_batch(operations, secrets.token_hex(16)))

    async def _exchanged(self, method: str, target: str, body: UpstreamBody | None) -> tuple[int, bytes]:
        headers = [("Content-Type", body.content_type), ("Content-Length", str(body.length))] if body else []
        request = UpstreamRequest(method, target, headers, streamed(body) if body else None)
        async with self._upstream.exchange(request) as answer:
            return answer.status, b"".join([chunk async for chunk in answer.chunks()])


async def collections(configuration: Configuration) -> list[dict[str, Any]]:
    """Those that there are when the server starts."""
    headers = {"Authorization": configuration.superuser_token}
    async with httpx.AsyncClient(base_url=configuration.pocketbase_url, headers=headers) as client:
        return (await client.get("/api/collections?perPage=200")).json()["items"]


async def serve(configuration: Configuration) -> None:
    async with open_pocketbase_http(configuration.pocketbase_url, connections=100, realtime_connections=1) as upstream:
        application = BodyGateway(configuration, upstream, await collections(configuration))
        await uvicorn.Server(
            uvicorn.Config(application, port=configuration.port, log_level="warning", lifespan="off")
        ).serve()


if __name__ == "__main__":
    asyncio.run(serve(Configuration(**json.loads(sys.argv[1]))))
