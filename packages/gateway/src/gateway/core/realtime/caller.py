"""Who subscribes, as far as it matters for what he is told."""

import msgspec

from gateway.core.sessions.principal import Principal
from gateway.core.sessions.session import Owner


class Caller(msgspec.Struct, frozen=True):
    """An auth record by way of one session; `expires_at` is in Unix seconds."""

    collection_id: str
    record_id: str
    session_id: str
    generation: int
    expires_at: int

    @property
    def owner(self) -> Owner:
        return Owner(self.collection_id, self.record_id)


def caller_of(principal: Principal | None) -> Caller | None:
    if principal is None:
        return None
    return Caller(
        principal.collection_id,
        principal.record_id,
        principal.session_id,
        principal.generation,
        principal.expires_at,
    )
