"""The claims protocol of nats-server's system account.

Every server answers for itself, and "jwt updated" says little: what counts is what each of them shows afterwards.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from common.core import subjects
from common.core.errors import UpstreamUnavailable

ANSWER_SECONDS = 5.0


class NotVerified(UpstreamUnavailable):
    """The servers do not show what they were asked to take."""


class NatsSystemAccount:
    """All methods raise UpstreamUnavailable when NATS is away or does not answer in time."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def servers(self) -> int:
        """How many servers there are, as the first to answer sees it."""
        answer = json.loads((await self._gather(subjects.SYSTEM_PING, b"", 1))[0])
        return max(1, int(answer["statsz"].get("active_servers", 1)))

    async def observed(self) -> dict[str, str]:
        """Every account's token by public key, from one server."""
        accounts: dict[str, str] = {}
        async with self._asked(subjects.CLAIMS_PACK, b"") as answers:
            async for answer in answers:
                if not answer:
                    return accounts
                account, _, token = answer.decode().partition("|")
                accounts[account] = token
        raise UpstreamUnavailable("NATS ended its list of accounts early.")

    async def publish(self, account: str, token: str, *, servers: int) -> None:
        """Returns when every server shows this very token. A server that is slow to say so is asked, not trusted."""
        try:
            for answer in await self._gather(subjects.CLAIMS_UPDATE, token.encode(), servers):
                refuse_error(json.loads(answer))
        except TimeoutError:
            pass
        shown = await self._gather(subjects.claims_lookup(account), b"", servers)
        if any(answer.decode() != token for answer in shown):
            raise NotVerified("A NATS server shows another token than the one it was given.")

    async def remove(self, account: str, request: str, *, servers: int) -> None:
        """Returns when no server shows the account any more."""
        for answer in await self._gather(subjects.CLAIMS_DELETE, request.encode(), servers):
            refuse_error(json.loads(answer))
        if any(await self._gather(subjects.claims_lookup(account), b"", servers)):
            raise NotVerified("A NATS server still has an account that was removed.")

    async def _gather(self, subject: str, payload: bytes, count: int) -> list[bytes]:
        found: list[bytes] = []
        async with self._asked(subject, payload) as answers:
            async for answer in answers:
                found.append(answer)
                if len(found) == count:
                    break
        return found

    @asynccontextmanager
    async def _asked(self, subject: str, payload: bytes) -> AsyncGenerator[AsyncIterator[bytes]]:
        if not self._client.is_connected:
            raise UpstreamUnavailable("NATS is not connected.")
        inbox = self._client.new_inbox()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                subscription = await self._client.subscribe(inbox)
                try:
                    await self._client.publish(subject, payload, reply=inbox)
                    yield answers_of(subscription)
                finally:
                    await subscription.unsubscribe()
        except (TimeoutError, NatsError, OSError) as error:
            raise UpstreamUnavailable(f"NATS does not answer {subject}.") from error


async def answers_of(subscription: Subscription) -> AsyncIterator[bytes]:
    while True:
        yield (await subscription.next_msg(timeout=ANSWER_SECONDS)).data


def refuse_error(answer: dict[str, Any]) -> None:
    if error := answer.get("error"):
        raise UpstreamUnavailable(f"NATS refuses: {error.get('description', 'no reason given')}.")
