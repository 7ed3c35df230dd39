"""Where chathub is put together; nothing else names a concrete adapter.

inward:  /ws | serve_sockets | doorkeeper.recognise | hub.register | doorkeeper.admit | converse | client_frames.parse
         | session.handle | vouch | nats_log.append | ack
outward: nats_log.following | room_feed.accept (next, duplicate, gap: read the hole) | hub.deliver | fanout
back:    resume=<epoch>.<cacheID> | catch_up.missed (the log's stretch, or why not) | hub.enter
cached:  hub.recent | mirror_recent | valkey_recent | recent_history, for nodes that begin
kept:    nats_log.backlog | persist | postgres_messages.store | acknowledged
beside:  nats_presence | roster | hub.announce      nats_notices | keep_current      nats_bans | hub.banish
        nats_notices (common) | heed | hub.end_session, doorkeeper (whose tokens count no more)
         nats_signals | hub.signal
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from redis.asyncio import Redis
from starlette.types import Receive, Scope, Send

from chathub import activity_routes, channel_routes, message_routes, moderation_routes, routes
from chathub.adapters.nats_bans import NatsBans
from chathub.adapters.nats_log import NatsLog
from chathub.adapters.nats_notices import NatsNotices
from chathub.adapters.nats_presence import NatsPresence
from chathub.adapters.nats_signals import NatsSignals
from chathub.adapters.postgres import migrated
from chathub.adapters.postgres_activity import PostgresActivity
from chathub.adapters.postgres_bans import PostgresBans
from chathub.adapters.postgres_channels import PostgresChannels
from chathub.adapters.postgres_extent import PostgresExtent
from chathub.adapters.postgres_ledger import PostgresLedger
from chathub.adapters.postgres_limits import PostgresLimits
from chathub.adapters.postgres_members import PostgresMembers
from chathub.adapters.postgres_messages import PostgresMessages
from chathub.adapters.postgres_moderation import PostgresModeration
from chathub.adapters.postgres_people import PostgresPeople, server_id
from chathub.adapters.postgres_purges import PostgresPurges
from chathub.adapters.postgres_search import PostgresSearch
from chathub.adapters.valkey_recent import ValkeyRecent
from chathub.adapters.valkey_tickets import ValkeyTickets
from chathub.adapters.websocket import Sockets
from chathub.admit import Doorkeeper
from chathub.attend import Attendance
from chathub.banish import Banishment
from chathub.catch_up import CatchUp
from chathub.converse import Surroundings
from chathub.core.channels import ChannelBook
from chathub.core.hub import Hub
from chathub.core.lifetime import Patience
from chathub.core.occupancy import Capacity, Occupancy
from chathub.core.presence import Roster
from chathub.core.recent import Recent
from chathub.core.reconciliation import Findings
from chathub.core.reply_shapes import Failure
from chathub.core.resume import LogBounds
from chathub.curate import Announcing, Curator, Membership
from chathub.deliver import Delivery
from chathub.export import Exporting
from chathub.heed import Heeding
from chathub.issue_tickets import Tickets
from chathub.keep_current import KeepingCurrent
from chathub.limit import MessageLimits, rules
from chathub.look_back import LookBack, Proof
from chathub.look_up import LookUp, Unsaved
from chathub.measure import Measuring
from chathub.mirror_recent import MirrorRecent, RecentHistory
from chathub.moderate import Deleting, Moderation
from chathub.persist import Persistence
from chathub.purge import Purging
from chathub.reconcile import Reconciling
from chathub.record import Alive, Recorder
from chathub.refresh import ChannelRefresh
from chathub.renew import Renewing
from chathub.routes import Chathub, to_invalid_request
from chathub.search import Searching
from chathub.serve_sockets import Reception, ServeSockets, SocketTerms
from chathub.settings import DatabaseSettings, Settings
from chathub.tell_signals import TellSignals
from chathub.vouch import VouchedLog
from common.adapters.issuers import IssuerKeys, TokenVerifier, open_verifier
from common.adapters.nats_bus import Bus, open_bus
from common.adapters.nats_notices import NoticeStream
from common.adapters.postgres_connections import open_postgres
from common.adapters.valkey_connections import open_valkey
from common.adapters.valkey_rate_limit import ValkeyCounters
from common.core.client_address import TrustedProxies
from common.core.errors import UpstreamUnavailable
from common.core.tokens import TrustedIssuer
from common.limiter import RateLimiter, open_limiter
from common.serving.background import running
from common.serving.bounded_bodies import BoundedBodies
from common.serving.health import Probe, operations_app
from common.serving.http_errors import install_error_handler
from common.serving.server import operations
from common.serving.tracing import tracing

ALGORITHMS = ("ES256", "RS256")
OIDC_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure, "description": description}
    for status, description in (
        (400, "The request makes no sense."),
        (401, "No token, one that is not acceptable, or that of a banned user."),
        (403, "The role `admin` is missing."),
        (404, "There is no such thing."),
        (409, "It cannot be so beside what there is."),
        (413, "The body is larger than 64 KiB."),
        (429, "Too many requests within a minute."),
        (503, "Something that is needed is away; try again."),
    )
}

REMEMBERED_TOKENS = 1000
"""A socket shows its token once; what is remembered of one is kilobytes, and serves who asks over HTTP again."""
MAX_BODY_BYTES = 64 * 1024
"""Five hundred ids are a sixth of it."""
CONNECT_SECONDS = 10.0
DEAD_SECONDS = 9.0
"""Silence after which a node counts as dead: three of its signs of life."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """What chathub talks to; each may be away."""

    pool: asyncpg.Pool
    bus: Bus
    tokens: TokenVerifier
    valkey: Redis
    limiter: RateLimiter


@asynccontextmanager
async def open_chathub(settings: Settings) -> AsyncGenerator[Chathub]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(tracing("chathub", settings.otlp_endpoint))
        pool = await stack.enter_async_context(open_postgres(settings.database_url.get_secret_value()))
        bus = await stack.enter_async_context(open_bus(settings.nats_url, name="chathub", creds=settings.nats_creds))
        valkey: Redis = await stack.enter_async_context(open_valkey(settings.valkey_url.get_secret_value()))
        counters, known = ValkeyCounters(valkey, prefix="chathub:limit:"), rules(settings.requests_per_minute)
        limiter = await stack.enter_async_context(open_limiter(known, counters, nodes=settings.nodes))
        tokens = await stack.enter_async_context(open_verifier(issuers(settings), remember_tokens=REMEMBERED_TOKENS))
        yield await stack.enter_async_context(assembled(settings, Upstream(pool, bus, tokens, valkey, limiter)))


@asynccontextmanager
async def assembled(settings: Settings, upstream: Upstream) -> AsyncGenerator[Chathub]:
    pool, bus, entries = upstream.pool, upstream.bus, PostgresModeration(upstream.pool)
    messages = PostgresMessages(pool, recent=settings.recent_messages)
    people, bans = PostgresPeople(pool), PostgresBans(pool)
    channels, notices, activity = PostgresChannels(pool), NatsNotices(bus), PostgresActivity(pool)
    log = NatsLog(bus, days=settings.log_days, size=settings.log_bytes)
    roster = Roster(uuid4().hex, dead_seconds=DEAD_SECONDS, grace_seconds=settings.presence_grace_seconds)
    sockets = Sockets()
    hub = Hub(Recent(settings.recent_messages), ChannelBook(), roster, sockets)
    vouched = VouchedLog(log, PostgresExtent(pool), hub.recent)
    refresh, recorder, alive = ChannelRefresh(channels, hub), Recorder(activity), Alive(activity, roster.node)
    mirror = ValkeyRecent(upstream.valkey, messages=settings.recent_messages)
    history, mirroring = RecentHistory(mirror, messages), MirrorRecent(hub, mirror)
    delivery, persistence = Delivery(vouched, history, hub, refresh), Persistence(log, messages)
    limits = MessageLimits(
        upstream.limiter, PostgresLimits(pool), notices, requests_per_minute=settings.requests_per_minute
    )
    deleting, unsaved = Deleting(vouched, hub.channels), Unsaved(log, hub.recent)
    announcing, purging = Announcing(notices, refresh), Purging(log, PostgresPurges(pool), deleting)
    banishment, attendance = Banishment(bans, NatsBans(bus), hub, purging), Attendance(hub, NatsPresence(bus))
    measuring = Measuring(activity, hub, interval_seconds=settings.analytics_seconds)
    current = KeepingCurrent(
        notices, {"channels": refresh.refresh, "limits": limits.refresh, "bans": banishment.refresh}
    )
    heeding = Heeding(NoticeStream(bus, "chathub"), hub)
    signals, tickets = TellSignals(hub, NatsSignals(bus)), Tickets(ValkeyTickets(upstream.valkey))
    loops = (
        *(delivery.run, persistence.run, recorder.run, alive.run, signals.listen, signals.run),
        *(measuring.run, purging.run, mirroring.run, heeding.run, vouched.run, refresh.run),
        *(current.listen, current.run, attendance.listen, attendance.run, banishment.listen, banishment.run),
    )
    async with (
        running(*loops),
        operations(
            operations_app(probes(upstream, vouched, delivery, heeding, hub.channels)), settings.operations_port
        ),
    ):
        doorkeeper = Doorkeeper(
            tokens=upstream.tokens,
            tickets=tickets,
            people=people,
            bans=bans,
            standing=heeding,
            whispers=messages,
            log=vouched,
            delivery=delivery,
        )
        look_up = LookUp(log, messages, hub.recent)
        around = Surroundings(vouched, people, look_up, limits, doorkeeper, signals)
        occupancy, catch_up = Occupancy(capacity(settings)), CatchUp(log, hub)
        reception = Reception(hub, sockets, doorkeeper, occupancy, catch_up, around, recorder)
        yield Chathub(
            hub=hub,
            doorkeeper=doorkeeper,
            tickets=tickets,
            sockets=ServeSockets(reception, socket_terms(settings)),
            searching=Searching(PostgresSearch(pool), unsaved, hub.channels),
            moderation=Moderation(deleting, messages, look_up, hub.recent),
            look_back=LookBack(entries),
            curator=Curator(channels, log, announcing),
            membership=Membership(PostgresMembers(pool), hub.channels, announcing),
            exporting=Exporting(messages, channels, unsaved, entries),
            people=people,
            banishment=banishment,
            message_limits=limits,
            measuring=measuring,
            dead_letters=messages,
            discovery=discovery(settings, pool),
        )


def probes(
    upstream: Upstream, log: VouchedLog, delivery: Delivery, heeding: Heeding, channels: ChannelBook
) -> dict[str, Probe]:
    async def following() -> None:
        log.intact()
        if not delivery.caught_up():
            raise UpstreamUnavailable("The chat log is not read yet.")

    async def channels_read() -> None:
        if not channels.is_read:
            raise UpstreamUnavailable("The channels are not read yet.")

    return {
        "nats": upstream.bus.answers,
        "postgres": lambda: migrated(upstream.pool),
        "issuer": upstream.tokens.ready,
        "log": following,
        "channels": channels_read,
        "notices": heeding.ready,
    }


@asynccontextmanager
async def log_and_rows(settings: Settings) -> AsyncGenerator[tuple[NatsLog, asyncpg.Pool]]:
    """Raises UpstreamUnavailable when NATS is away."""
    async with (
        open_postgres(settings.database_url.get_secret_value()) as pool,
        open_bus(settings.nats_url, name="chathub", creds=settings.nats_creds) as bus,
    ):
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await bus.ready()
        except TimeoutError:
            raise UpstreamUnavailable("NATS does not answer.") from None
        yield NatsLog(bus, days=settings.log_days, size=settings.log_bytes), pool


async def reconciled(settings: Settings) -> Findings:
    """Raises UpstreamUnavailable when the log or PostgreSQL is away."""
    async with log_and_rows(settings) as (log, pool):
        return await Reconciling(log, PostgresLedger(pool)).run()


async def renewed(settings: Settings) -> LogBounds:
    """What the log was. Raises Conflict, UpstreamUnavailable."""
    async with log_and_rows(settings) as (log, pool):
        return await Renewing(log, PostgresExtent(pool)).run()


async def proved(settings: DatabaseSettings) -> Proof:
    """Of the moderation log. Raises UpstreamUnavailable."""
    async with open_postgres(settings.database_url.get_secret_value()) as pool:
        return await LookBack(PostgresModeration(pool)).prove()


def issuers(settings: Settings) -> list[IssuerKeys]:
    """The platform's own, whose keys may be read at an internal address, and others by discovery."""
    clients = frozenset(settings.client_ids)
    own = TrustedIssuer(settings.issuer, settings.audience, ALGORITHMS, clients)
    others = [
        IssuerKeys(TrustedIssuer(issuer, settings.oidc_audience, OIDC_ALGORITHMS, clients))
        for issuer in settings.oidc_issuers
        if issuer != settings.issuer
    ]
    return [IssuerKeys(own, settings.jwks_url), *others]


def socket_terms(settings: Settings) -> SocketTerms:
    return SocketTerms(
        max_message_length=settings.max_message_length,
        outbox_bytes=settings.outbox_bytes,
        frames_per_second=settings.frames_per_second,
        frames_burst=settings.frames_burst,
        patience=Patience(settings.expiry_warning_seconds, settings.expiry_grace_seconds, settings.idle_seconds),
        origins=frozenset(settings.origins),
        proxies=TrustedProxies.parse(settings.trusted_proxies),
        drain_seconds=settings.drain_seconds,
    )


def capacity(settings: Settings) -> Capacity:
    return Capacity(
        sockets=settings.max_sockets,
        sockets_a_user=settings.max_sockets_per_user,
        connects_a_second=settings.connects_per_second,
        connects_a_minute_a_user=settings.connects_per_minute_per_user,
        refusals_a_minute_a_network=settings.refusals_per_minute,
    )


def discovery(settings: Settings, pool: asyncpg.Pool) -> Callable[[], Awaitable[dict[str, str]]]:
    """What clients need to find their way: where to sign in, where to chat."""
    sign_in = f"{settings.public_url}/api/collections/users"
    document = {
        "auth_url": settings.auth_url or f"{sign_in}/auth-methods",
        "token_url": settings.token_url or f"{sign_in}/auth-with-password",
        "chat_client": settings.client_ids[0] if settings.client_ids else "",
        "chat_url": f"ws{settings.public_url.removeprefix('http')}/ws",
        "health_url": f"{settings.public_url}/healthz",
        "server_name": settings.server_name,
    }
    known: dict[str, str] = {}

    async def discover() -> dict[str, str]:
        if not known:
            known["server_id"] = str(await server_id(pool))
        return {**document, **known}

    return discover


class Service:
    """Sockets as plain ASGI, all else as routes."""

    def __init__(self, settings: Settings) -> None:
        self._http = create_http(settings, self._opened)
        self._running: Chathub | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and scope["path"] == "/ws" and self._running:
            await self._running.sockets(scope, receive, send)
        else:
            await self._http(scope, receive, send)

    async def drain(self) -> None:
        """Before the server stops listening."""
        if self._running:
            await self._running.sockets.drain()

    def _opened(self, chathub: Chathub) -> None:
        self._running = chathub


def create_http(settings: Settings, opened: Callable[[Chathub], None]) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[dict[str, Chathub]]:
        async with open_chathub(settings) as chathub:
            opened(chathub)
            yield {"chathub": chathub}

    app = FastAPI(title="chathub", lifespan=lifespan, openapi_url="/chat/openapi.json", docs_url=None, redoc_url=None)
    for module in (routes, activity_routes, channel_routes, message_routes, moderation_routes):
        app.include_router(module.router, responses=REFUSALS)
    install_error_handler(app)
    app.add_exception_handler(RequestValidationError, to_invalid_request)
    app.add_middleware(BoundedBodies, max_bytes=MAX_BODY_BYTES)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
        )
    return app
