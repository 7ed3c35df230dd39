"""What a client is told besides what happens from now on: what it missed since a cursor, and what there is already.

A snapshot is read from PocketBase as the caller; what happened while it was read is told behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast
from urllib.parse import urlencode

import orjson

from common.core.errors import InvalidRequest, UpstreamUnavailable
from common.core.record_feed import RecordImage
from gateway.core.front_door.exchange import Upstream, UpstreamRequest
from gateway.core.realtime.audience import View
from gateway.core.realtime.caller import Caller
from gateway.core.realtime.groups import Group
from gateway.core.realtime.projection import event_data
from gateway.core.realtime.recent_images import Cursor, RecentImages, read_cursor
from gateway.core.realtime.subscription import EVERY, Subscription
from gateway.core.sessions.session import Owner
from gateway.realtime.clients import Client, Members
from gateway.realtime.shared_streams import Tokens

MOST_RECORDS = 500
MOST_SNAPSHOT_BYTES = 4 * 1024 * 1024
"""Of all that one call asks for."""
SNAPSHOT, SYNCED, LOST = "snapshot", "synced", "lost"
TOO_MUCH = "The snapshots are more than 4 MB; ask for fewer records or fields."
UNREAD = "PocketBase does not give what there is to begin with; please retry."


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Records as PocketBase shows them to the caller, and where the feed stood before they were read."""

    topic: str
    records: Sequence[dict[str, Any]]
    is_whole: bool
    at: Cursor


class Counting(Protocol):
    async def require_read(self, action: str, collection: str, owner: Owner | None, address: str) -> None:
        """Raises LimitReached."""
        ...


class CatchUp:
    """A snapshot counts as the list or the view that it is."""

    def __init__(self, recent: RecentImages, upstream: Upstream, tokens: Tokens, counting: Counting) -> None:
        self._counting = counting
        self._recent = recent
        self._upstream = upstream
        self._tokens = tokens

    async def snapshots(
        self, caller: Caller | None, address: str, wanted: Sequence[tuple[Subscription, View]]
    ) -> dict[str, Snapshot]:
        """By topic. Raises InvalidRequest, LimitReached, SessionEnded, UpstreamUnavailable."""
        listed = [(subscription, view) for subscription, view in wanted if subscription.wants_snapshot]
        if not listed:
            return {}
        for one, view in listed:
            action = "list" if one.target == EVERY else "view"
            await self._counting.require_read(action, view.collection.name, caller.owner if caller else None, address)
        token = await self._tokens.pocketbase_token(caller) if caller else ""
        found, left_bytes = dict[str, Snapshot](), MOST_SNAPSHOT_BYTES
        for one, view in listed:
            found[one.text], size_bytes = await self._snapshot(one, view, token, left_bytes)
            left_bytes -= size_bytes
        return found

    def tell(self, client: Client, group: Group[Members], snapshot: Snapshot | None) -> None:
        """To be called in the step in which the client joins the group: nothing comes in between, or twice."""
        view, since = group.view, None
        if snapshot is not None:
            self._tell_snapshot(client, group, snapshot)
            since = snapshot.at
        elif view.since:
            since = read_cursor(view.since) or Cursor("", -1)
        if since is not None:
            self._tell_since(client, group, since)

    def _tell_snapshot(self, client: Client, group: Group[Members], snapshot: Snapshot) -> None:
        for record in snapshot.records:
            group.note(str(record.get("id")))
            say(client, group.topic, event_data(SNAPSHOT, record))
        newest = str(self._recent.newest) if group.view.since is not None else ""
        say(client, group.topic, event_data(SYNCED, {"isWhole": snapshot.is_whole}, newest))

    def _tell_since(self, client: Client, group: Group[Members], since: Cursor) -> None:
        images = self._recent.since(since, group.view.collection.id)
        if images is None:
            say(client, group.topic, event_data(LOST, {}, str(self._recent.newest)))
            return
        for image in images:
            if (data := told(image, group)) is not None:
                say(client, group.topic, data)

    async def _snapshot(
        self, subscription: Subscription, view: View, token: str, most_bytes: int
    ) -> tuple[Snapshot, int]:
        """With the bytes that it took."""
        at = self._recent.newest
        headers = [("Accept-Encoding", "identity"), *([("Authorization", token)] if token else [])]
        body = bytearray()
        async with self._upstream.exchange(
            UpstreamRequest("GET", path_of(subscription, view), headers, None)
        ) as answer:
            async for chunk in answer.chunks():
                body += chunk
                if len(body) > most_bytes:
                    raise InvalidRequest(TOO_MUCH)
            if answer.status == 404 and subscription.target != EVERY:
                return Snapshot(subscription.text, [], True, at), 0
            if answer.status != 200:
                raise UpstreamUnavailable(UNREAD)
        return snapshot_of(subscription, orjson.loads(body), at), len(body)


def path_of(subscription: Subscription, view: View) -> str:
    base = f"/api/collections/{view.collection.name}/records"
    query = {"fields": subscription.fields} if subscription.fields else {}
    if subscription.target != EVERY:
        return f"{base}/{subscription.target}?{urlencode(query)}"
    query |= {"perPage": str(MOST_RECORDS), "skipTotal": "1"}
    if subscription.filter:
        query["filter"] = subscription.filter
    if subscription.fields:  # in a list, fields are those of the items
        query["fields"] = subscription.fields
    return f"{base}?{urlencode(query)}"


def snapshot_of(subscription: Subscription, answer: dict[str, Any], at: Cursor) -> Snapshot:
    if subscription.target != EVERY:
        return Snapshot(subscription.text, [answer], True, at)
    records = cast(list[dict[str, Any]], answer["items"])
    return Snapshot(subscription.text, records, len(records) < MOST_RECORDS, at)


def told(image: RecordImage, group: Group[Members]) -> bytes | None:
    """What a group is told of an image; None: nothing."""
    if image.record is None or group.view.target not in (EVERY, image.id):
        return None
    if (found := group.data(image.action, image.record)) is None:
        return None
    cursor = str(Cursor(image.epoch, image.sequence)) if group.view.since is not None else ""
    return event_data(*found, cursor)


def say(client: Client, topic: str, data: bytes) -> None:
    if client.outlet.is_open:
        client.outlet.transport.write(client.framing.event(topic, data))
