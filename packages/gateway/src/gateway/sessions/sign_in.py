"""A sign-in that PocketBase granted: its token is kept here, and the client gets one of ours instead."""

import secrets
import time
from collections.abc import Collection as AnyOf
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import orjson
import structlog

from common.core.errors import InvalidRequest, UpstreamUnavailable
from common.core.tokens import SigningKey
from gateway.core.collections.catalogue import Collection
from gateway.core.front_door.headers import RawHeaders, bearer_token, first
from gateway.core.refusals import SessionEnded, UnreadableAnswer
from gateway.core.sessions.account_change import TAKES_OVER, Doubtful
from gateway.core.sessions.device import device_name
from gateway.core.sessions.grants import Grants
from gateway.core.sessions.principal import Principal
from gateway.core.sessions.session import NewSession, Owner
from gateway.core.sessions.session_token import (
    PocketBaseToken,
    SessionIds,
    Terms,
    claims_of,
    read_pocketbase_token,
    successor_claims,
)
from gateway.sessions.end import Endings

audit = structlog.get_logger("gateway.audit")

SUCCESSOR = b"x-gateway-token"


class AuthRecords(Protocol):
    async def signed_in(self, collection: str, id: str) -> Mapping[str, Any]: ...


class RollingStore(Protocol):
    """Every method raises UpstreamUnavailable when the store is away."""

    async def begin(self, session: NewSession) -> list[str]: ...
    async def succeed(self, session_id: str, generation: int, token: str | None, expires_at: int) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a sign-in comes from."""

    client_id: str
    device: str
    address: str
    may_end_others: bool = False


class SignIns:
    def __init__(
        self,
        records: AuthRecords,
        sessions: RollingStore,
        endings: Endings,
        *,
        key: SigningKey,
        terms: Terms,
        client_ids: AnyOf[str],
        default_client_id: str,
        roll_every_seconds: int = 0,
    ) -> None:
        self._records = records
        self._sessions = sessions
        self._endings = endings
        self._key = key
        self._terms = terms
        self._client_ids = client_ids
        self._default_client_id = default_client_id
        self._roll_every_seconds = roll_every_seconds

    def origin(self, headers: RawHeaders, address: str, action: str) -> Origin:
        """`action` is the route's, as in `auth-with-password`. Ask before anything is forwarded.

        Raises InvalidRequest for a client that is not on the list.
        """
        named = first(headers, b"x-client-id")
        if named is not None and named not in self._client_ids:
            raise InvalidRequest("X-Client-Id names an unknown client.")
        return Origin(named or self._default_client_id, device_name(headers), address, action == TAKES_OVER)

    async def swap(
        self,
        body: bytes,
        collection: Collection,
        origin: Origin,
        refreshed: Principal | None,
        *,
        vouched: Grants | None = None,
    ) -> bytes:
        """PocketBase's answer with our token in place of its own; `refreshed` is the session that is carried on, with
        whatever an issuer has vouched for at its beginning; `vouched` is that of one that begins.

        Raises UnreadableAnswer rather than let a token of PocketBase's pass, SessionEnded when the session ended in
        the meantime, Banned, UpstreamUnavailable when it cannot be kept.
        """
        if (text := token_in(body)) is None:
            return body
        token = read_pocketbase_token(text)
        if token.collection_id != collection.id:
            raise UnreadableAnswer("PocketBase signed in a record of another collection.")
        if refreshed and refreshed.record_id != token.record_id:
            raise UnreadableAnswer("PocketBase refreshed another record's token.")
        record = await self._records.signed_in(collection.name, token.record_id)
        ids = await (self._carried_on(refreshed, token) if refreshed else self._begun(token, origin))
        if origin.may_end_others:
            owner = Owner(token.collection_id, token.record_id)
            await self._endings.follow([Doubtful(owner)], keep=ids.session_id)
        if refreshed and refreshed.provider:
            vouched = Grants(tuple(sorted(refreshed.roles)), refreshed.tenant, refreshed.clearance, refreshed.provider)
        now = int(time.time())
        claims = claims_of(token, record, collection.name, ids, terms=self._terms, now=now, vouched=vouched)
        return body.replace(text.encode(), self._key.sign(claims).encode())

    async def _begun(self, token: PocketBaseToken, origin: Origin) -> SessionIds:
        ids = SessionIds(secrets.token_urlsafe(24), new_token_id(), origin.client_id)
        owner = Owner(token.collection_id, token.record_id)
        shown = {"device": origin.device, "address": origin.address}
        ended = await self._sessions.begin(NewSession(ids.session_id, owner, token.text, token.expires_at, **shown))
        audit.info(
            "session begun",
            session_id=ids.session_id,
            collection_id=owner.collection_id,
            record_id=owner.record_id,
            client=origin.address,
        )
        await self._endings.tell(ended, owner, "too many sessions")
        return ids

    async def _carried_on(self, refreshed: Principal, token: PocketBaseToken) -> SessionIds:
        session_id = refreshed.session_id
        generation = await self._sessions.succeed(session_id, refreshed.generation, token.text, token.expires_at)
        if generation is None:
            raise SessionEnded
        return SessionIds(session_id, new_token_id(), refreshed.client_id, generation)

    async def rolled(self, principal: Principal | None, headers: RawHeaders) -> list[tuple[bytes, bytes]]:
        """Headers for an answer to an ordinary call that bear a successor, once the token is old enough.

        Empty while rolling by header is off, or nothing is due. Nobody but the client may store such an answer.
        """
        if not self._roll_every_seconds or principal is None:
            return []
        now, token = int(time.time()), bearer_token(headers)
        if token is None or now - principal.issued_at < self._roll_every_seconds:
            return []
        try:
            generation = await self._sessions.succeed(principal.session_id, principal.generation, None, 0)
        except UpstreamUnavailable:  # the call itself needs no successor
            return []
        if generation is None:
            return []
        claims = successor_claims(token, generation=generation, token_id=new_token_id(), now=now)
        return [
            (SUCCESSOR, self._key.sign(claims).encode()),
            (b"access-control-expose-headers", SUCCESSOR),
            (b"cache-control", b"no-store"),
        ]


def new_token_id() -> str:
    return secrets.token_urlsafe(16)


def token_in(body: bytes) -> str | None:
    """The token of a sign-in's answer; None where the client asked for other fields only."""
    try:
        answer: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UnreadableAnswer("PocketBase's answer is not JSON.") from error
    token = cast(dict[str, object], answer).get("token") if isinstance(answer, dict) else None
    if token is None:
        return None
    if not isinstance(token, str):
        raise UnreadableAnswer("PocketBase's token is no text.")
    return token
