"""Who is asking, once the session is known to live."""

from dataclasses import dataclass, field

from gateway.core.sessions.session import Owner


@dataclass(frozen=True, slots=True)
class Principal:
    """An auth record of PocketBase, by way of one of its sessions; times are Unix seconds.

    `pocketbase_token` is what PocketBase is asked with; it must not leave the server. `provider` is the issuer that
    vouched for roles, tenant and clearance; empty where PocketBase did.
    """

    record_id: str
    collection_id: str
    collection_name: str
    username: str
    roles: frozenset[str]
    client_id: str
    session_id: str
    generation: int
    issued_at: int
    expires_at: int
    pocketbase_token: str = field(default="", repr=False)
    tenant: str = ""
    clearance: int = 0
    provider: str = ""

    @property
    def owner(self) -> Owner:
        return Owner(self.collection_id, self.record_id)
