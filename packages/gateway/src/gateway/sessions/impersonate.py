"""Signs an operator in as somebody else: PocketBase's `impersonate`, with a token of ours as after every sign-in."""

from typing import Protocol

import structlog

from gateway.core.collections.catalogue import Collection
from gateway.sessions.sign_in import Origin, SignIns

audit = structlog.get_logger("gateway.audit")


class Superuser(Protocol):
    async def impersonated(self, collection: str, id: str, seconds: int) -> bytes:
        """PocketBase's answer. Raises NotFound, UpstreamUnavailable."""
        ...


class Impersonations:
    def __init__(self, superuser: Superuser, sign_ins: SignIns) -> None:
        self._superuser = superuser
        self._sign_ins = sign_ins

    async def impersonate(self, collection: Collection, record_id: str, origin: Origin, *, seconds: int) -> bytes:
        """PocketBase's answer with our token. The session lasts so long, or by default what the collection's tokens do,
        and no refresh makes it longer. Raises NotFound, Banned, UpstreamUnavailable.
        """
        told = await self._superuser.impersonated(collection.name, record_id, seconds)
        swapped = await self._sign_ins.swap(told, collection, origin, None)
        audit.warning(
            "user impersonated",
            collection_id=collection.id,
            record_id=record_id,
            seconds=seconds,
            client=origin.address,
        )
        return swapped
