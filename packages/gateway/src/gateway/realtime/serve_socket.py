"""The same events over a WebSocket: one JSON message each, and what is wanted said on the socket itself.

server: {"event": TOPIC, "data": {...}}    first PB_CONNECT, as in the stream; PB_SUBSCRIPTIONS and PB_ERROR in answer
client: {"subscriptions": [...], "token": "..."}    all that is wanted from now on; without a token, as a guest
"""

from typing import Any, Protocol, cast

import msgspec
import orjson
from starlette.types import Receive, Scope, Send

from common.core.errors import ServiceError, UpstreamUnavailable
from common.serving.direct_writes import outlet_of
from gateway.core.realtime.caller import Caller
from gateway.core.refusal_answer import body_of
from gateway.realtime.clients import WEBSOCKET, Client
from gateway.realtime.hub import Hub

TRY_AGAIN_LATER = 1013
MALFORMED = b'{"data":{},"message":"A message is one JSON object with subscriptions.","status":400}'


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    subscriptions: list[str]
    token: str = ""


_wishes = msgspec.json.Decoder(Wish)


class Wishing(Protocol):
    async def caller(self, token: str, address: str) -> Caller | None:
        """Who brings the token; counted against his limits. Raises a ServiceError."""
        ...

    def check(self, topics: list[str]) -> None:
        """Raises a ServiceError for what may not be subscribed to."""
        ...


class Sockets:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def serve(self, scope: Scope, receive: Receive, send: Send, *, address: str, wishing: Wishing) -> None:
        """Until the connection is gone."""
        await receive()
        try:
            id = self._hub.new_id()
        except UpstreamUnavailable:
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})
            return
        await send({"type": "websocket.accept"})
        client = self._hub.open(id, outlet_of(scope), WEBSOCKET, address)
        self._hub.say(client, "PB_CONNECT", orjson.dumps({"clientId": id}))
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                await self._heed(client, cast(dict[str, Any], message), wishing)
        finally:
            self._hub.close(client)

    async def _heed(self, client: Client, message: dict[str, Any], wishing: Wishing) -> None:
        try:
            wish = _wishes.decode(message.get("text") or message.get("bytes") or b"")
        except (msgspec.MsgspecError, UnicodeError):
            self._hub.say(client, "PB_ERROR", MALFORMED)
            return
        try:
            caller = await wishing.caller(wish.token, client.address)
            wishing.check(wish.subscriptions)
            await self._hub.set_subscriptions(client.id, client.address, caller, wish.subscriptions)
        except ServiceError as error:
            self._hub.say(client, "PB_ERROR", body_of(error))
        else:
            self._hub.say(client, "PB_SUBSCRIPTIONS", orjson.dumps({"count": len(set(wish.subscriptions))}))
