"""Passes on what is no record and signs nobody in: health, files, streams, and what comes before a sign-in."""

from collections.abc import Mapping
from typing import Any, Protocol

from common.core.errors import NotFound
from gateway.bodies.receive import Incoming, watched
from gateway.bodies.take_in import Intake
from gateway.carry_sign_in import Attempts
from gateway.carry_write import check_size, taken_in, upstream_request
from gateway.core.bodies.record_body import UpstreamBody
from gateway.core.bodies.struct_bodies import (
    AUTH_BODIES,
    FILE_TOKEN_BODY,
    Shape,
    identity_in,
    oauth2_redirect_fields,
    oauth2_redirect_form,
    struct_document,
    struct_fields,
)
from gateway.core.front_door.cross_origin import ALLOW_ORIGIN
from gateway.core.front_door.exchange import Upstream, UpstreamAnswer, UpstreamRequest
from gateway.core.front_door.headers import inbound, unshared
from gateway.core.front_door.landing_page import FAILURE, SUCCESS, instead_of_pocketbases
from gateway.core.request import Call
from gateway.core.sessions.provider_sign_in import Returned
from gateway.core.uploads.upload_checks import PLAIN_BODY_BYTES
from gateway.follow_write import Writing, effects_of_auth
from gateway.realtime.passed_streams import PassedStreams
from gateway.reply import Reply


class Waiting(Protocol):
    """Clients of the gateway's own; one that signs in waits for what its provider sends."""

    def is_ours(self, client_id: str) -> bool: ...

    async def come_back(self, state: str, address: str, returned: Returned) -> str:
        """Where the browser is to go, if anywhere else than to our page. Raises NotFound, UpstreamUnavailable."""
        ...


class Passing:
    def __init__(
        self,
        upstream: Upstream,
        writing: Writing,
        intake: Intake,
        attempts: Attempts,
        *,
        passed: PassedStreams,
        waiting: Waiting | None = None,
    ) -> None:
        self._upstream = upstream
        self._writing = writing
        self._intake = intake
        self._attempts = attempts
        self._passed = passed
        self._waiting = waiting

    async def pass_on(self, call: Call, incoming: Incoming, reply: Reply) -> None:
        """Answers, or raises a ServiceError. Gives up a read for which nobody waits: raises ClientGone, or Closing when
        an endless answer was cut short.
        """
        if call.request.route.kind == "oauth2-redirect" and self._is_ours(call.query.get("state")):
            await self._returned(call, dict(call.query.pairs), reply)
        elif call.request.is_endless:
            async with watched(incoming, is_endless=True), self._passed.held():
                await self._read(call, reply)
        elif call.request.is_read:
            async with watched(incoming):
                await self._read(call, reply)
        else:
            await self._posted(call, incoming, reply)

    async def _read(self, call: Call, reply: Reply) -> None:
        is_endless = call.request.is_endless
        request = UpstreamRequest(
            call.request.method, call.target(call.query), call.outbound(), None, is_endless=is_endless
        )
        async with self._upstream.exchange(request) as answer:
            headers = [*instead_of_pocketbases(inbound(answer.headers)), ALLOW_ORIGIN]
            if call.collection and any(field.is_protected for field in call.collection.fields):
                headers = unshared(headers)  # PocketBase lets everybody keep what took a token to get
            if is_endless:
                headers = [item for item in headers if item[0] != b"x-accel-buffering"]
                headers.append((b"x-accel-buffering", b"no"))
            await reply.stream(answer.status, headers, answer.chunks())

    async def _posted(self, call: Call, incoming: Incoming, reply: Reply) -> None:
        check_size(call, incoming, PLAIN_BODY_BYTES)
        async with taken_in(self._intake, call, incoming) as received:
            if call.request.route.kind == "oauth2-redirect":
                told = oauth2_redirect_fields(received)
                if self._is_ours(told.get("state", "")):
                    await self._returned(call, told, reply)
                    return
                async with self._upstream.exchange(upstream_request(call, oauth2_redirect_form(received))) as answer:
                    await passed_on(answer, reply)
                return
            fields = struct_fields(received, shape_of(call))
            await self._count(call, fields)
            request = upstream_request(call, document_of(call, fields))
            async with self._writing.exchange(request, effects_of_auth(call, fields), call.principal) as answer:
                await passed_on(answer, reply)

    def _is_ours(self, state: str) -> bool:
        return self._waiting is not None and self._waiting.is_ours(state)

    async def _returned(self, call: Call, told: Mapping[str, str], reply: Reply) -> None:
        """The state names who waits; for PocketBase's SDK it is the id of its realtime client."""
        returned = Returned(told.get("code", ""), told.get("error", ""))
        target = SUCCESS if returned.code and not returned.error else FAILURE
        try:
            if self._waiting:
                target = await self._waiting.come_back(told["state"], call.request.address, returned) or target
        except NotFound:
            target = FAILURE
        headers = [(b"location", target.encode()), (b"cache-control", b"no-store"), ALLOW_ORIGIN]
        await reply.whole(307 if call.request.is_read else 303, headers)

    async def _count(self, call: Call, fields: Mapping[str, Any]) -> None:
        if call.collection and (identity := identity_in(fields, shape_of(call))):
            await self._attempts.identified(call.collection.name, call.request.route.after[-1], identity)


async def passed_on(answer: UpstreamAnswer, reply: Reply) -> None:
    headers = [*instead_of_pocketbases(inbound(answer.headers)), ALLOW_ORIGIN]
    await reply.stream(answer.status, headers, answer.chunks())


def shape_of(call: Call) -> Mapping[str, Shape]:
    route = call.request.route
    return FILE_TOKEN_BODY if route.kind == "file-token" else AUTH_BODIES[route.after[-1]]


def document_of(call: Call, fields: Mapping[str, Any]) -> UpstreamBody | None:
    return struct_document(fields) if call.media.kind != "none" else None
