"""Carries what a realtime client wants to hear, unless rules have a say in who sees that and how.

Events reach clients past the rules. What these would refuse or redact in a read must not be subscribed to.
"""

from collections.abc import Iterable
from typing import Protocol

from gateway.bodies.receive import Incoming
from gateway.bodies.take_in import Intake
from gateway.carry_write import check_size, taken_in, upstream_request
from gateway.core.bodies.json_body import as_list
from gateway.core.bodies.struct_bodies import REALTIME_BODY, struct_document, struct_fields
from gateway.core.front_door.cross_origin import ALLOW_ORIGIN
from gateway.core.front_door.exchange import Upstream
from gateway.core.realtime.caller import Caller, caller_of
from gateway.core.request import Call
from gateway.core.uploads.upload_checks import PLAIN_BODY_BYTES
from gateway.pass_on import passed_on
from gateway.realtime.check_topics import TopicCheck
from gateway.realtime.passed_streams import PassedStreams
from gateway.reply import Reply


class Fanning(Protocol):
    """The clients that the gateway tells of changes itself, wherever they are connected."""

    def is_ours(self, client_id: str) -> bool: ...

    async def set_subscriptions(self, client_id: str, address: str, caller: Caller | None, topics: list[str]) -> None:
        """Raises NotFound, InvalidRequest, Forbidden, Unauthenticated, UpstreamUnavailable."""
        ...


class Subscriptions:
    """Without `fanning` every client is PocketBase's."""

    def __init__(
        self,
        upstream: Upstream,
        intake: Intake,
        topics: TopicCheck,
        passed: PassedStreams,
        fanning: Fanning | None = None,
    ) -> None:
        self._upstream = upstream
        self._intake = intake
        self._topics = topics
        self._passed = passed
        self._fanning = fanning

    async def carry(self, call: Call, incoming: Incoming, reply: Reply) -> None:
        """Answers, or raises a ServiceError."""
        check_size(call, incoming, PLAIN_BODY_BYTES)
        async with taken_in(self._intake, call, incoming) as received:
            fields = struct_fields(received, REALTIME_BODY)
            texts = as_list(fields.get("subscriptions"))
            self.check(texts)
            client_id: object = fields.get("clientId")
            if self._fanning and isinstance(client_id, str) and self._fanning.is_ours(client_id):
                caller = caller_of(call.principal)
                await self._fanning.set_subscriptions(client_id, call.request.address, caller, texts)
                await reply.whole(204, [ALLOW_ORIGIN])
                return
            document = struct_document(fields) if call.media.kind != "none" else None
            async with self._upstream.exchange(upstream_request(call, document)) as answer:
                if answer.status == 204 and isinstance(client_id, str):
                    self._passed.carried(client_id, call.principal, call.request.address)
                await passed_on(answer, reply)

    def check(self, texts: Iterable[object]) -> None:
        """Raises InvalidRequest, Forbidden, RulesNotLoaded for topics that may not be subscribed to."""
        self._topics.check(texts)
