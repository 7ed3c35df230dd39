"""Passes on all that is no write of a record: reads, files, realtime, and every step of signing in."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from gateway.carry_write import check_size, collected, taken_in, upstream_request
from gateway.core.account_change import (
    CHANGED_THOUGH_REFUSED,
    TAKES_OVER,
    account_changes,
    changes_record,
)
from gateway.core.catalogue import Collection
from gateway.core.cross_origin import ALLOW_ORIGIN
from gateway.core.exchange import Upstream, UpstreamAnswer, UpstreamRequest
from gateway.core.field_values import settled
from gateway.core.headers import inbound, replaced_body
from gateway.core.json_body import is_object, written
from gateway.core.operation import Write
from gateway.core.record_body import ReceivedBody, UpstreamBody
from gateway.core.refusals import UnreadableAnswer
from gateway.core.request import Call
from gateway.core.struct_bodies import (
    AUTH_BODIES,
    FILE_TOKEN_BODY,
    REALTIME_BODY,
    Shape,
    oauth2_redirect_form,
    struct_fields,
)
from gateway.core.upload_checks import PLAIN_BODY_BYTES
from gateway.end_sessions import Endings
from gateway.follow_write import Effects, Writing
from gateway.judge import Judge
from gateway.open_hearing import hearing_of
from gateway.receive import Incoming, watched
from gateway.reply import Reply
from gateway.sign_in import Origin, SignIns
from gateway.take_in import Intake

MAX_SIGN_IN_BYTES = 1024 * 1024


class Passing:
    def __init__(
        self,
        upstream: Upstream,
        writing: Writing,
        *,
        intake: Intake,
        judge: Judge,
        sign_ins: SignIns,
        endings: Endings,
    ) -> None:
        self._upstream = upstream
        self._writing = writing
        self._intake = intake
        self._judge = judge
        self._sign_ins = sign_ins
        self._endings = endings

    async def pass_on(self, call: Call, incoming: Incoming, reply: Reply) -> None:
        """Answers, or raises a ServiceError. Gives up a read for which nobody waits: raises ClientGone, or Closing when
        an endless answer was cut short.
        """
        if call.request.is_read:
            async with watched(incoming, is_endless=call.request.is_endless):
                await self._read(call, reply)
        else:
            await self._posted(call, incoming, reply)

    async def _read(self, call: Call, reply: Reply) -> None:
        request = UpstreamRequest(
            call.request.method,
            call.target(call.query),
            call.outbound(),
            None,
            is_endless=call.request.is_endless,
        )
        async with self._upstream.exchange(request) as answer:
            headers = [*inbound(answer.headers), ALLOW_ORIGIN]
            if call.request.is_endless:
                headers = [item for item in headers if item[0] != b"x-accel-buffering"]
                headers.append((b"x-accel-buffering", b"no"))
            if call.request.route.kind == "records":
                headers += await self._sign_ins.rolled(call.principal, call.request.headers)
            await reply.stream(answer.status, headers, answer.chunks())

    async def _posted(self, call: Call, incoming: Incoming, reply: Reply) -> None:
        check_size(call, incoming, PLAIN_BODY_BYTES)
        origin = self._origin(call)
        async with taken_in(self._intake, call, incoming) as received:
            fields = await self._fields(call, received)
            document = document_of(call, received, fields)
            async with self._exchange(upstream_request(call, document), call, fields) as answer:
                await self._answered(call, origin, answer, reply)

    async def _fields(self, call: Call, received: ReceivedBody) -> dict[str, Any]:
        """The body in its one spelling, as the rules let it through."""
        fields = struct_fields(received, shape_of(call)) if call.request.route.kind != "oauth2-redirect" else {}
        created = fields.get("createData")
        if call.collection is None or call.request.route.after != (TAKES_OVER,) or not is_object(created):
            return fields
        write = Write("create", call.collection.name, None, settled(created, call.collection.fields))
        write = await hearing_of(self._judge, call).before_write(write)
        return {**fields, "createData": dict(write.fields)}

    def _origin(self, call: Call) -> Origin | None:
        route = call.request.route
        if route.kind != "sign-in":
            return None
        return self._sign_ins.origin(call.request.headers, call.address, route.after[-1])

    @asynccontextmanager
    async def _exchange(
        self, request: UpstreamRequest, call: Call, fields: Mapping[str, Any]
    ) -> AsyncGenerator[UpstreamAnswer]:
        """What PocketBase has ended, ends here before anybody is told that it was done."""
        route, principal = call.request.route, call.principal
        async with self._writing.exchange(request, effects_of(call, fields), principal) as answer:
            if answer.status == 401 and principal and route.after == ("auth-refresh",):
                await self._endings.end(principal.session_id, "refused by PocketBase", principal.owner)
            yield answer

    async def _answered(self, call: Call, origin: Origin | None, answer: UpstreamAnswer, reply: Reply) -> None:
        if origin and call.collection and answer.status == 200:
            await self._answer_sign_in(call, call.collection, origin, answer, reply)
        else:
            await reply.stream(answer.status, [*inbound(answer.headers), ALLOW_ORIGIN], answer.chunks())

    async def _answer_sign_in(
        self, call: Call, collection: Collection, origin: Origin, answer: UpstreamAnswer, reply: Reply
    ) -> None:
        overlong = UnreadableAnswer("PocketBase's answer is overlong.")
        body = await collected(answer.chunks(), MAX_SIGN_IN_BYTES, overlong)
        is_refresh = call.request.route.after == ("auth-refresh",)
        if is_refresh and call.principal is None:
            raise UnreadableAnswer("PocketBase refreshed a guest.")
        refreshed = call.principal if is_refresh else None
        swapped = await self._sign_ins.swap(body, collection, origin, refreshed)
        headers = [*replaced_body(inbound(answer.headers), swapped), (b"cache-control", b"no-store"), ALLOW_ORIGIN]
        await reply.whole(200, headers, swapped)


def shape_of(call: Call) -> Mapping[str, Shape]:
    route = call.request.route
    if route.kind == "realtime":
        return REALTIME_BODY
    return FILE_TOKEN_BODY if route.kind == "file-token" else AUTH_BODIES[route.after[-1]]


def document_of(call: Call, received: ReceivedBody, fields: Mapping[str, Any]) -> UpstreamBody | None:
    if call.request.route.kind == "oauth2-redirect":
        return oauth2_redirect_form(received)
    if call.media.kind == "none":
        return None
    document = written(fields)
    return UpstreamBody("application/json", len(document), (document,))


def effects_of(call: Call, fields: Mapping[str, Any]) -> Effects:
    route, collection = call.request.route, call.collection
    if collection is None:
        return Effects()
    changed = frozenset({collection.id}) if changes_record(route) else frozenset[str]()
    changes = account_changes(call.request.method, route, collection, fields)
    return Effects(changed, [(collection, changes)], CHANGED_THOUGH_REFUSED)
