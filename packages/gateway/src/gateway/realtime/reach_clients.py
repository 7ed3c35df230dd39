"""Brings what concerns a client to the process that holds it, which is named in the client's id."""

import asyncio
import secrets
from contextlib import AsyncExitStack
from typing import Protocol, TypeVar

import structlog

from common.adapters.nats_bus import Bus
from common.core import subjects
from common.core.errors import Forbidden, InvalidRequest, NoResponders, NotFound, UpstreamUnavailable
from common.core.messages import Done, Message
from gateway.core.bodies.json_body import written
from gateway.core.realtime.caller import Caller
from gateway.core.realtime.client_id import read_client_id
from gateway.core.realtime.subscription import MAX_SUBSCRIPTIONS, TOO_MANY
from gateway.core.realtime.worker_messages import CameBack, Landing, MoreTopics, SetSubscriptions, pages_of
from gateway.core.sessions.provider_sign_in import Returned
from gateway.realtime.hub import UNKNOWN, Hub

logger = structlog.get_logger(__name__)
M = TypeVar("M", bound=Message)

REFUSED_SECONDS = 5.0
SUBSCRIBE, MORE, BACK = "subscribe", "more", "back"
OAUTH2 = "@oauth2"
MOST_TICKETS = 16


class Flows(Protocol):
    """Those who have no stream but for their sign-in."""

    def is_waiting(self, state: str) -> bool: ...

    def come_back(self, state: str, address: str, returned: Returned) -> str:
        """Where the browser is to go. Raises NotFound."""
        ...


class Reach:
    """`answer` must run beside the server."""

    def __init__(self, hub: Hub, flows: Flows, bus: Bus) -> None:
        self._hub = hub
        self._flows = flows
        self._bus = bus
        self._ahead: dict[str, list[str]] = {}

    def is_ours(self, client_id: str) -> bool:
        return read_client_id(client_id) is not None

    async def set_subscriptions(self, client_id: str, address: str, caller: Caller | None, topics: list[str]) -> None:
        """Raises NotFound, InvalidRequest, Forbidden, UpstreamUnavailable."""
        if self._is_here(client_id):
            await self._hub.set_subscriptions(client_id, address, caller, topics)
            return
        *ahead, last = pages_of(topics)
        ticket = secrets.token_hex(16) if ahead else ""
        for page in ahead:
            await self._ask(client_id, MORE, MoreTopics(ticket=ticket, topics=page), Done)
        wanted = SetSubscriptions(client_id=client_id, address=address, caller=caller, topics=last, ticket=ticket)
        await self._ask(client_id, SUBSCRIBE, wanted, Done)

    async def come_back(self, state: str, address: str, returned: Returned) -> str:
        """Tell whoever waits for what a provider has sent; where the browser is to go, if anywhere else than by itself.

        Raises NotFound unless somebody at that address waits for that state, UpstreamUnavailable.
        """
        if self._is_here(state):
            return await self._came_back(state, address, returned)
        back = CameBack(state=state, address=address, code=returned.code, error=returned.error)
        return (await self._ask(state, BACK, back, Landing)).target

    async def answer(self) -> None:
        """Loop: what the other processes ask."""
        while True:
            try:
                async with AsyncExitStack() as stack:
                    await self._answer(stack)
            except* Forbidden as refusals:
                logger.error("the other workers are not heard", error=str(refusals.exceptions[0]))
            await asyncio.sleep(REFUSED_SECONDS)

    async def _answer(self, stack: AsyncExitStack) -> None:
        worker = self._hub.terms.worker
        subscribe, more, back = (subjects.worker(worker, question) for question in (SUBSCRIBE, MORE, BACK))
        await stack.enter_async_context(self._bus.answering(subscribe, SetSubscriptions, self._subscribed))
        await stack.enter_async_context(self._bus.answering(more, MoreTopics, self._more))
        await stack.enter_async_context(self._bus.answering(back, CameBack, self._back))
        await asyncio.Event().wait()

    def _is_here(self, client_id: str) -> bool:
        found = read_client_id(client_id)
        return found is not None and found.worker == self._hub.terms.worker

    async def _ask(self, client_id: str, question: str, message: Message, reply_kind: type[M]) -> M:
        found = read_client_id(client_id)
        if found is None:
            raise NotFound(UNKNOWN)
        subject = subjects.worker(found.worker, question)
        try:
            return await self._bus.request(subject, message, reply_kind, deadline_seconds=10)
        except NoResponders:
            raise NotFound(UNKNOWN) from None

    async def _more(self, page: MoreTopics) -> None:
        if page.ticket not in self._ahead and len(self._ahead) >= MOST_TICKETS:
            del self._ahead[next(iter(self._ahead))]
        topics = self._ahead.setdefault(page.ticket, [])
        if len(topics) + len(page.topics) > MAX_SUBSCRIPTIONS:
            raise InvalidRequest(TOO_MANY)
        topics += page.topics

    async def _subscribed(self, wanted: SetSubscriptions) -> None:
        ahead = self._ahead.pop(wanted.ticket, None) if wanted.ticket else []
        if ahead is None:
            raise UpstreamUnavailable("Some of the topics did not arrive; please retry.")
        topics = [*ahead, *wanted.topics]
        await self._hub.set_subscriptions(wanted.client_id, wanted.address, wanted.caller, topics)

    async def _back(self, back: CameBack) -> Landing:
        return Landing(target=await self._came_back(back.state, back.address, Returned(back.code, back.error)))

    async def _came_back(self, state: str, address: str, returned: Returned) -> str:
        if self._flows.is_waiting(state):
            return self._flows.come_back(state, address, returned)
        told = {"state": state, "code": returned.code, **({"error": returned.error} if returned.error else {})}
        await self._hub.tell_client(state, address, OAUTH2, written(told))
        return ""
