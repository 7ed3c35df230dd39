"""What tells clients of changes: put together apart from the rest, for it stands or falls with NATS.

Without NATS, or while it is away, every client is connected to PocketBase itself.
"""

import secrets
from dataclasses import dataclass

from common.serving.background import Loop
from gateway.adapters.pocketbase_control import PocketBaseRecords
from gateway.core.front_door.exchange import Upstream
from gateway.core.realtime.caller import Caller
from gateway.core.refusals import SessionEnded
from gateway.open_reads import ReadGround
from gateway.realtime.check_topics import KnownCollections, Rules, TopicCheck
from gateway.realtime.hub import Hub, HubTerms
from gateway.realtime.keep_streams import Hearing, Keeping, SpreadEndings
from gateway.realtime.reach_clients import Reach
from gateway.realtime.serve_stream import Streams
from gateway.realtime.watch_images import ImageWatch
from gateway.sessions.identify import PresentingStore
from gateway.settings import Settings
from gateway.sign_in_by_provider.flows import Flows


@dataclass(frozen=True, slots=True)
class RealtimeParts:
    streams: Streams
    reach: Reach
    hub: Hub
    images: ImageWatch
    flows: Flows
    rules: Rules

    def loops(self, hearing: Hearing) -> tuple[Loop, ...]:
        """`hearing` is what hears of ended sessions, and is to tell the hub."""
        keeping = Keeping(self.hub, hearing, self.images, self.rules)
        return self.images.listen, self.hub.streams.run, self.reach.answer, keeping.tick, keeping.beat


class SessionTokens:
    """PocketBase's token of a session that lives."""

    def __init__(self, sessions: PresentingStore) -> None:
        self._sessions = sessions

    async def pocketbase_token(self, caller: Caller) -> str:
        """Raises SessionEnded, UpstreamUnavailable."""
        told = await self._sessions.present(caller.session_id, caller.generation)
        if told.standing in ("ended", "replayed"):
            raise SessionEnded
        return told.pocketbase_token


def build_realtime(
    settings: Settings,
    ground: ReadGround,
    records: PocketBaseRecords,
    upstream: Upstream,
    sessions: PresentingStore,
    *,
    rules: Rules,
    collections: KnownCollections,
) -> RealtimeParts | None:
    if (bus := ground.bus) is None:
        return None
    watch = ground.watch
    terms = HubTerms(secrets.token_hex(8), settings.realtime_clients, settings.realtime_client_bytes)
    topics = TopicCheck(rules, collections)
    hub = Hub(
        watch,
        records,
        SpreadEndings(),
        terms,
        upstream=upstream,
        tokens=SessionTokens(sessions),
        topics=topics,
        counting=ground.limits,
    )
    images = ImageWatch(bus, records, hub, watch)
    flows = Flows(terms.worker)
    return RealtimeParts(Streams(hub, images, flows), Reach(hub, flows, bus), hub, images, flows, rules)
