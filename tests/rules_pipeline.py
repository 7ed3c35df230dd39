"""A stand-in for the gateway's pipeline: every kind of body parsed to the seam, judged, and sent on to a PocketBase."""

import json
from collections.abc import Mapping
from email import message_from_bytes
from typing import Any
from urllib.parse import parse_qsl

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from common.core.errors import ServiceError
from gateway.core.body_refusals import InvalidFields
from gateway.core.operation import Read, Upload, Write, WriteAction
from gateway.core.refusal_answer import shape, status_of
from gateway.core.rule_files.context import GUEST, Asker, Metadata
from gateway.judging.judge import Hearing, Judge

ACTIONS: Mapping[str, WriteAction] = {"POST": "create", "PATCH": "update", "DELETE": "delete"}
Files = dict[str, list[tuple[str, bytes, str]]]


class Pipeline:
    """`askers` knows whose token is whose."""

    def __init__(self, judge: Judge, pocketbase: httpx.AsyncClient, askers: Mapping[str, Asker]) -> None:
        self._judge = judge
        self._pocketbase = pocketbase
        self._askers = askers

    def app(self) -> Starlette:
        records = "/api/collections/{collection}/records"
        return Starlette(
            routes=[
                Route(records, self.handle, methods=["GET", "POST"]),
                Route(records + "/{id}", self.handle, methods=["GET", "PATCH", "DELETE"]),
                Route("/api/batch", self.batch, methods=["POST"]),
            ]
        )

    async def handle(self, request: Request) -> Response:
        try:
            hearing = self._hearing(request)
            if request.method == "GET":
                return await self._read(request, hearing)
            return await self._write(request, hearing)
        except ServiceError as error:
            return refusal(error)

    async def batch(self, request: Request) -> Response:
        try:
            return await self._batch(await request.json(), self._hearing(request), headers_of(request))
        except ServiceError as error:
            return refusal(error)

    def _hearing(self, request: Request) -> Hearing:
        asker = self._askers.get(request.headers.get("authorization", ""), GUEST)
        return self._judge.hearing(asker, Metadata(request_id="r1"))

    async def _read(self, request: Request, hearing: Hearing) -> Response:
        collection, id = request.path_params["collection"], request.path_params.get("id")
        read = Read("list" if id is None else "view", collection, id, dict(request.query_params))
        await hearing.before_read(read)
        url = f"{request.url.path}?{request.url.query}"
        answer = await self._pocketbase.get(url, headers=headers_of(request))
        return await answered(hearing, read, answer)

    async def _write(self, request: Request, hearing: Hearing) -> Response:
        collection, id = request.path_params["collection"], request.path_params.get("id")
        fields, files = await body_of(request)
        uploads = {
            key: tuple(Upload(name, kind, len(data), data[:16]) for name, data, kind in listed)
            for key, listed in files.items()
        }
        action = ACTIONS[request.method]
        write = Write(action, collection, id, fields, uploads, dict(request.query_params))
        write = await hearing.before_write(write)
        url = f"{request.url.path}?{request.url.query}"
        sent: Any = multipart(write.fields, files) if files else {"json": dict(write.fields)}
        answer = await self._pocketbase.request(request.method, url, headers=headers_of(request), **sent)
        return await answered(hearing, write, answer)

    async def _batch(self, body: dict[str, Any], hearing: Hearing, headers: dict[str, str]) -> Response:
        writes: list[Write] = []
        for item in body["requests"]:
            _, _, _, collection, _, *id = item["url"].split("/")
            write = Write(ACTIONS[item["method"]], collection, id[0] if id else None, item.get("body", {}))
            writes.append(await hearing.before_write(write))
        requests = [
            {"method": item["method"], "url": item["url"], "body": dict(write.fields)}
            for item, write in zip(body["requests"], writes, strict=True)
        ]
        answer = await self._pocketbase.post("/api/batch", json={"requests": requests}, headers=headers)
        if answer.status_code != 200:
            return Response(answer.content, answer.status_code, media_type="application/json")
        results = answer.json()
        for write, result in zip(writes, results, strict=True):
            if result["body"] is not None:
                result["body"] = json.loads(await hearing.after(write, json.dumps(result["body"]).encode()))
        return JSONResponse(results)


async def body_of(request: Request) -> tuple[dict[str, Any], Files]:
    kind, body = request.headers.get("content-type", ""), await request.body()
    if kind.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(body.decode())), {}
    if not kind.startswith("multipart/form-data"):
        return (json.loads(body) if body else {}), {}
    fields: dict[str, Any] = {}
    files: Files = {}
    for part in message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body).walk():
        name, data = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if not (isinstance(name, str) and isinstance(data, bytes)):
            continue
        if filename := part.get_filename():
            files.setdefault(name, []).append((filename, data, part.get_content_type()))
        else:
            fields[name] = data.decode()
    return fields, files


def multipart(fields: Mapping[str, Any], files: Files) -> dict[str, Any]:
    return {
        "data": {"@jsonPayload": json.dumps(dict(fields))},
        "files": [(key, file) for key, listed in files.items() for file in listed],
    }


async def answered(hearing: Hearing, operation: Read | Write, answer: httpx.Response) -> Response:
    body = answer.content
    if answer.is_success:
        body = await hearing.after(operation, body)
    return Response(body, answer.status_code, media_type="application/json")


def refusal(error: ServiceError) -> Response:
    status = status_of(error)
    data = dict(error.data) if isinstance(error, InvalidFields) else dict[str, Any]()
    return JSONResponse({**shape(status, str(error)), "data": data}, status)


def headers_of(request: Request) -> dict[str, str]:
    token = request.headers.get("authorization")
    return {"Authorization": token} if token else {}
