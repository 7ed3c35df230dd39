"""Reads records from PocketBase for one caller, between the rules that come before and those that come after."""

from gateway.bodies.receive import Incoming, watched
from gateway.carry_write import MAX_ANSWER_BYTES, OVERLONG, KnownCollections, collected
from gateway.core.collections.catalogue import Collection
from gateway.core.collections.expand_paths import expands_of
from gateway.core.front_door.cross_origin import ALLOW_ORIGIN
from gateway.core.front_door.exchange import Upstream, UpstreamAnswer, UpstreamRequest
from gateway.core.front_door.headers import inbound, read_here, replaced_body
from gateway.core.operation import Read
from gateway.core.refusals import UnreadableAnswer
from gateway.core.request import Call
from gateway.judging.judge import Hearing, Judge
from gateway.open_hearing import hearing_of
from gateway.reply import Reply, with_successor
from gateway.sessions.sign_in import SignIns


class RecordReads:
    def __init__(self, upstream: Upstream, judge: Judge, collections: KnownCollections, sign_ins: SignIns) -> None:
        self._upstream = upstream
        self._judge = judge
        self._collections = collections
        self._sign_ins = sign_ins

    async def carry(self, call: Call, collection: Collection, incoming: Incoming, reply: Reply) -> None:
        """Answers, or raises a ServiceError. Raises ClientGone, and gives the read up, once nobody waits for it."""
        hearing = hearing_of(self._judge, call)
        read = meant(call, collection, self._collections)
        async with watched(incoming):
            await hearing.before_read(read)
            async with self._upstream.exchange(asked(call, hearing)) as answer:
                await self._answered(call, read, hearing, answer, reply)

    async def _answered(self, call: Call, read: Read, hearing: Hearing, answer: UpstreamAnswer, reply: Reply) -> None:
        successor = await self._sign_ins.rolled(call.principal, call.request.headers)
        headers = with_successor([*inbound(answer.headers), ALLOW_ORIGIN], successor)
        if answer.status >= 300 or not hearing.rules.after_answers:
            await reply.stream(answer.status, headers, answer.chunks())
            return
        body = await collected(answer.chunks(), MAX_ANSWER_BYTES, UnreadableAnswer(OVERLONG))
        told = await hearing.after(read, body)
        await reply.whole(answer.status, replaced_body(headers, told), told)


def meant(call: Call, collection: Collection, collections: KnownCollections) -> Read:
    record_id = next(iter(call.request.route.after[1:]), None)
    expands = expands_of(collection, call.query.get("expand"), collections.known)
    query = dict(call.query.pairs)
    return Read("list" if record_id is None else "view", collection.name, record_id, query, expands)


def asked(call: Call, hearing: Hearing) -> UpstreamRequest:
    headers = call.outbound()
    if hearing.rules.after_answers:
        headers = read_here(headers)
    return UpstreamRequest(call.request.method, call.target(call.query), headers, None)
