"""Writes of whoever reconciles: some requests at once, all or none, and none once another natsync has taken over."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import structlog

from common.adapters.pocketbase import BatchRefused, PocketBase
from common.core.errors import Conflict, Forbidden, InvalidRequest, NotFound, StaleLease
from common.core.pocketbase_answers import Record

logger = structlog.get_logger(__name__)

MOST_AT_ONCE = 49
"""PocketBase takes 50 in a batch unless told otherwise, and the fence is one."""

Request: TypeAlias = dict[str, Any]


class Fence(Protocol):
    async def confirm(self) -> None:
        """Raises StaleLease when another has taken over."""

    def request(self) -> Request:
        """Fails in PocketBase when another has taken over. Raises StaleLease."""
        ...


class PocketBaseWriting:
    """Without a fence it is nobody else's business: a command that runs while natsync stands still."""

    def __init__(self, pocketbase: PocketBase, fence: Fence | None = None) -> None:
        self._pocketbase = pocketbase
        self._fence = fence
        self._in_transaction = True

    async def confirm(self) -> None:
        """To be awaited before anything is done outside of PocketBase. Raises ServiceError; StaleLease is one."""
        if self._fence is not None:
            await self._fence.confirm()

    async def all_or_none(self, requests: Sequence[Request]) -> list[Record]:
        """The records they answered with. Raises BatchRefused, StaleLease or another ServiceError.

        Where batches are switched off they are made one by one.
        """
        if self._in_transaction:
            try:
                return await self._batch(requests)
            except Forbidden:
                logger.warning("PocketBase's batch API is switched off: an edit made while natsync writes may be lost")
                self._in_transaction = False
        return [row for index, request in enumerate(requests) for row in [await self._alone(index, request)]]

    async def _batch(self, requests: Sequence[Request]) -> list[Record]:
        if self._fence is None:
            return await self._pocketbase.batch(requests)
        try:
            return (await self._pocketbase.batch([*requests, self._fence.request()]))[:-1]
        except BatchRefused as refused:
            if refused.index < len(requests):
                raise
            raise StaleLease("Another natsync has taken over.") from refused

    async def _alone(self, index: int, request: Request) -> Record:
        await self.confirm()
        try:
            return await self._pocketbase.request(request["method"], request["url"], request.get("body")) or {}
        except (InvalidRequest, NotFound, Conflict) as error:
            raise BatchRefused(index, error) from error
