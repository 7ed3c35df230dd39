"""Signs in, or carries a sign-in on: a body of one spelling to PocketBase, and a token of ours back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import orjson

from common.core.errors import ServiceError
from gateway.bodies.receive import Incoming
from gateway.bodies.take_in import Intake
from gateway.carry_write import OVERLONG, KnownCollections, check_size, collected, taken_in, upstream_request
from gateway.core.bodies.json_body import is_object
from gateway.core.bodies.record_body import ReceivedBody
from gateway.core.bodies.struct_bodies import AUTH_BODIES, identity_in, struct_document, struct_fields
from gateway.core.collections.catalogue import Collection
from gateway.core.collections.expand_paths import expands_of
from gateway.core.collections.field_values import settled
from gateway.core.front_door.cross_origin import ALLOW_ORIGIN
from gateway.core.front_door.exchange import UpstreamAnswer
from gateway.core.front_door.headers import inbound, replaced_body
from gateway.core.operation import Read, Write
from gateway.core.refusals import UnreadableAnswer
from gateway.core.request import Call
from gateway.core.sessions.account_change import TAKES_OVER
from gateway.core.sessions.refused_sign_up import unmade, was_tried
from gateway.core.uploads.upload_checks import PLAIN_BODY_BYTES
from gateway.follow_write import Writing, effects_of_auth
from gateway.judging.judge import Hearing, Judge
from gateway.open_hearing import hearing_of
from gateway.reply import Reply
from gateway.sessions.end import Endings
from gateway.sessions.sign_in import Origin, SignIns

REFRESH = "auth-refresh"
MAX_SIGN_IN_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One call that may sign in."""

    call: Call
    collection: Collection
    origin: Origin
    hearing: Hearing

    @property
    def endpoint(self) -> str:
        return self.call.request.route.after[-1]


@dataclass(frozen=True, slots=True)
class Checked:
    """The body as it goes to PocketBase, and why no record may be made of it, if none may."""

    fields: Mapping[str, Any]
    refusal: ServiceError | None = None


class Attempts(Protocol):
    async def identified(self, collection: str, endpoint: str, identity: str) -> None:
        """Count an attempt to come in as `identity`. Raises RateLimited."""
        ...


class SignInCalls:
    def __init__(
        self,
        writing: Writing,
        *,
        intake: Intake,
        judge: Judge,
        sign_ins: SignIns,
        endings: Endings,
        attempts: Attempts,
        collections: KnownCollections,
    ) -> None:
        self._writing = writing
        self._intake = intake
        self._judge = judge
        self._sign_ins = sign_ins
        self._endings = endings
        self._attempts = attempts
        self._collections = collections

    async def carry(self, call: Call, collection: Collection, incoming: Incoming, reply: Reply) -> None:
        """Answers, or raises a ServiceError."""
        check_size(call, incoming, PLAIN_BODY_BYTES)
        origin = self._sign_ins.origin(call.request.headers, call.request.address, call.request.route.after[-1])
        entry = Entry(call, collection, origin, hearing_of(self._judge, call))
        entry.hearing.rules.check_loaded()
        async with taken_in(self._intake, call, incoming) as received:
            checked = await self._checked(entry, received)
            document = struct_document(checked.fields) if call.media.kind != "none" else None
            request, effects = upstream_request(call, document), effects_of_auth(call, checked.fields)
            async with self._writing.exchange(request, effects, call.principal) as answer:
                if checked.refusal and answer.status == 400:
                    await refused_sign_up(checked.refusal, answer, reply)
                else:
                    await self._answered(entry, answer, reply)

    async def _checked(self, entry: Entry, received: ReceivedBody) -> Checked:
        known = AUTH_BODIES[entry.endpoint]
        fields = struct_fields(received, known)
        if identity := identity_in(fields, known):
            await self._attempts.identified(entry.collection.name, entry.endpoint, identity)
        return await with_ruled_record(fields, entry) if entry.endpoint == TAKES_OVER else Checked(fields)

    async def _answered(self, entry: Entry, answer: UpstreamAnswer, reply: Reply) -> None:
        principal = entry.call.principal
        if answer.status == 200:
            await self._answer(entry, answer, reply)
            return
        if answer.status == 401 and principal and entry.endpoint == REFRESH:
            await self._endings.end(principal.session_id, "refused by PocketBase", principal.owner)
        await reply.stream(answer.status, [*inbound(answer.headers), ALLOW_ORIGIN], answer.chunks())

    async def _answer(self, entry: Entry, answer: UpstreamAnswer, reply: Reply) -> None:
        call, collection = entry.call, entry.collection
        body = await collected(answer.chunks(), MAX_SIGN_IN_BYTES, UnreadableAnswer(OVERLONG))
        if entry.endpoint == REFRESH and call.principal is None:
            raise UnreadableAnswer("PocketBase refreshed a guest.")
        expands = expands_of(collection, call.query.get("expand"), self._collections.known)
        read = Read("view", collection.name, None, dict(call.query.pairs), expands)
        body = await with_ruled_answer(body, read, entry.hearing)
        refreshed = call.principal if entry.endpoint == REFRESH else None
        swapped = await self._sign_ins.swap(body, collection, entry.origin, refreshed)
        headers = [*replaced_body(inbound(answer.headers), swapped), (b"cache-control", b"no-store"), ALLOW_ORIGIN]
        await reply.whole(200, headers, swapped)


async def with_ruled_record(fields: Mapping[str, Any], entry: Entry) -> Checked:
    """The body with the record that it asks PocketBase to make, should the provider's user be new: judged even where
    the client says nothing of it."""
    created, collection = fields.get("createData"), entry.collection
    if created is not None and not is_object(created):
        return Checked(fields)
    query = dict(entry.call.query.pairs)
    write = Write("create", collection.name, None, settled(created or {}, collection.fields), query=query)
    try:
        write = await entry.hearing.before_write(write)
    except ServiceError as error:
        return Checked(unmade(fields), error)
    return Checked({**fields, "createData": dict(write.fields)} if created or write.fields else fields)


async def refused_sign_up(refusal: ServiceError, answer: UpstreamAnswer, reply: Reply) -> None:
    """Raises the refusal, unless PocketBase has refused for a reason of its own."""
    body = await collected(answer.chunks(), MAX_SIGN_IN_BYTES, UnreadableAnswer(OVERLONG))
    if was_tried(body):
        raise refusal
    await reply.whole(answer.status, [*replaced_body(inbound(answer.headers), body), ALLOW_ORIGIN], body)


async def with_ruled_answer(body: bytes, read: Read, hearing: Hearing) -> bytes:
    """PocketBase's answer with the record in it as a view of it would show it, expanded records included."""
    if not hearing.rules.after_answers:
        return body
    try:
        answer: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UnreadableAnswer("PocketBase's answer is not JSON.") from error
    told = cast(dict[str, Any], answer) if isinstance(answer, dict) else {}
    record = told.get("record")
    if not is_object(record):
        return body
    id: object = record.get("id")
    meant = Read("view", read.collection, id if isinstance(id, str) else None, read.query, read.expands)
    told["record"] = orjson.loads(await hearing.after(meant, orjson.dumps(record)))
    return orjson.dumps(told)
