"""A sign-in that PocketBase granted: its token is kept here, and the client gets one of ours instead."""

import secrets
import time
from collections.abc import Collection as AnyOf
from collections.abc import Mapping
from typing import Any, Protocol, cast

import orjson

from common.core.errors import InvalidRequest, Unauthenticated
from common.core.tokens import SigningKey
from gateway.core.catalogue import Collection
from gateway.core.headers import RawHeaders, first
from gateway.core.refusals import UnreadableAnswer
from gateway.core.session_token import PocketBaseToken, SessionIds, Terms, claims_of, read_pocketbase_token
from gateway.identify import Caller

SESSION_ENDED = "The request requires valid record authorization token."


class AuthRecords(Protocol):
    async def signed_in(self, collection: str, id: str) -> Mapping[str, Any]: ...


class Sessions(Protocol):
    async def keep(self, session_id: str, token: str, seconds: int) -> None: ...
    async def replace(self, session_id: str, token: str, seconds: int) -> bool: ...


class SignIns:
    def __init__(
        self,
        records: AuthRecords,
        sessions: Sessions,
        *,
        key: SigningKey,
        terms: Terms,
        client_ids: AnyOf[str],
        default_client_id: str,
    ) -> None:
        self._records = records
        self._sessions = sessions
        self._key = key
        self._terms = terms
        self._client_ids = client_ids
        self._default_client_id = default_client_id

    def client_id(self, headers: RawHeaders) -> str:
        """Ask before anything is forwarded. Raises InvalidRequest for a client that is not on the list."""
        named = first(headers, b"x-client-id")
        if named is None:
            return self._default_client_id
        if named not in self._client_ids:
            raise InvalidRequest("X-Client-Id names an unknown client.")
        return named

    async def swap(self, body: bytes, collection: Collection, client_id: str, refreshed: Caller | None) -> bytes:
        """PocketBase's answer with our token in place of its own; `refreshed` is the session that is carried on.

        Raises UnreadableAnswer rather than let a token of PocketBase's pass, Unauthenticated when the session ended
        in the meantime, UpstreamUnavailable when it cannot be kept.
        """
        if (text := token_in(body)) is None:
            return body
        token = read_pocketbase_token(text)
        if token.collection_id != collection.id:
            raise UnreadableAnswer("PocketBase signed in a record of another collection.")
        ids = self._ids(token, client_id, refreshed)
        record = await self._records.signed_in(collection.name, token.record_id)
        now = int(time.time())
        await self._keep(ids.session_id, token, now, refreshed)
        signed = self._key.sign(claims_of(token, record, collection.name, ids, terms=self._terms, now=now))
        return body.replace(text.encode(), signed.encode())

    def _ids(self, token: PocketBaseToken, client_id: str, refreshed: Caller | None) -> SessionIds:
        token_id = secrets.token_urlsafe(16)
        if refreshed is None:
            return SessionIds(secrets.token_urlsafe(24), token_id, client_id)
        if refreshed.identity.subject != token.record_id:
            raise UnreadableAnswer("PocketBase refreshed another record's token.")
        return SessionIds(refreshed.session_id, token_id, refreshed.identity.client_id)

    async def _keep(self, session_id: str, token: PocketBaseToken, now: int, refreshed: Caller | None) -> None:
        seconds = max(token.expires_at - now, 1)
        if refreshed is None:
            await self._sessions.keep(session_id, token.text, seconds)
        elif not await self._sessions.replace(session_id, token.text, seconds):
            raise Unauthenticated(SESSION_ENDED)


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
