"""Where chathub is put together; nothing else names a concrete adapter.

inward:  /ws | doorkeeper.identify | hub.register | doorkeeper.admit | client_frames.parse -> inbox
         | session.handle | nats_log.append | ack
outward: nats_log.following | room_feed.accept (next, duplicate, gap: read the hole) | hub.deliver | outbox | websocket
kept:    nats_log.backlog | persist | postgres_messages.store | acknowledged
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from nats.aio.client import Client

from chathub.adapters.nats_log import NatsLog
from chathub.adapters.nats_notices import NatsNotices
from chathub.adapters.postgres import migrated
from chathub.adapters.postgres_channels import PostgresChannels
from chathub.adapters.postgres_messages import PostgresMessages
from chathub.adapters.postgres_people import PostgresPeople, server_id
from chathub.admit import Doorkeeper
from chathub.core.channels import ChannelBook
from chathub.core.hub import Hub
from chathub.core.recent import Recent
from chathub.curate import Curator
from chathub.deliver import Delivery
from chathub.persist import Persistence
from chathub.record import Recorder
from chathub.refresh import ChannelRefresh
from chathub.routes import Chathub, Limits, router, to_invalid_request
from chathub.settings import Settings
from common.adapters.issuers import IssuerKeys, TokenVerifier, open_verifier
from common.adapters.nats_connections import connected, open_nats
from common.adapters.postgres_connections import open_postgres
from common.core.errors import UpstreamUnavailable
from common.core.tokens import TrustedIssuer
from common.serving.background import running
from common.serving.health import operations_app
from common.serving.http_errors import install_error_handler
from common.serving.server import operations
from common.serving.tracing import tracing

ALGORITHMS = ("ES256", "RS256")


@asynccontextmanager
async def open_chathub(settings: Settings) -> AsyncGenerator[Chathub]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(tracing("chathub", settings.otlp_endpoint))
        pool = await stack.enter_async_context(open_postgres(settings.database_url.get_secret_value()))
        nats = await stack.enter_async_context(open_nats(settings.nats_url, name="chathub", creds=settings.nats_creds))
        tokens = await stack.enter_async_context(open_verifier([issuer_keys(settings)]))
        yield await stack.enter_async_context(assembled(settings, pool, nats, tokens))


@asynccontextmanager
async def assembled(
    settings: Settings, pool: asyncpg.Pool, nats: Client, tokens: TokenVerifier
) -> AsyncGenerator[Chathub]:
    messages, people, channels = PostgresMessages(pool), PostgresPeople(pool), PostgresChannels(pool)
    log = NatsLog(nats, days=settings.log_days, size=settings.log_bytes)
    notices = NatsNotices(nats)
    hub = Hub(Recent(), ChannelBook())
    delivery, persistence = Delivery(log, messages, hub), Persistence(log, messages)
    refresh, recorder = ChannelRefresh(channels, notices, hub), Recorder(people)
    doorkeeper = Doorkeeper(tokens=tokens, people=people, whispers=messages, log=log, delivery=delivery)

    async def following() -> None:
        if not delivery.caught_up():
            raise UpstreamUnavailable("The chat log is not read yet.")

    probes = {
        "nats": lambda: connected(nats),
        "postgres": lambda: migrated(pool),
        "issuer": tokens.ready,
        "log": following,
    }
    async with (
        running(delivery.run, persistence.run, refresh.run, recorder.run),
        operations(operations_app(probes), settings.operations_port),
    ):
        yield Chathub(
            hub=hub,
            doorkeeper=doorkeeper,
            log=log,
            people=people,
            messages=messages,
            curator=Curator(channels, log, notices, refresh),
            recorder=recorder,
            discovery=discovery(settings, pool),
            limits=limits(settings),
        )


def issuer_keys(settings: Settings) -> IssuerKeys:
    trusted = TrustedIssuer(settings.issuer, settings.audience, ALGORITHMS, frozenset(settings.client_ids))
    return IssuerKeys(trusted, settings.jwks_url)


def limits(settings: Settings) -> Limits:
    return Limits(
        max_message_length=settings.max_message_length,
        outbox_bytes=settings.outbox_bytes,
        expiry_grace_seconds=settings.expiry_grace_seconds,
        origins=frozenset(settings.origins),
    )


def discovery(settings: Settings, pool: asyncpg.Pool) -> Callable[[], Awaitable[dict[str, str]]]:
    """What clients need to find their way: where to sign in, where to chat."""
    sign_in = f"{settings.public_url}/api/collections/users"
    document = {
        "auth_url": f"{sign_in}/auth-methods",
        "token_url": f"{sign_in}/auth-with-password",
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


def create_app(settings: Settings) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[dict[str, Chathub]]:
        async with open_chathub(settings) as chathub:
            yield {"chathub": chathub}

    app = FastAPI(title="chathub", lifespan=lifespan)
    app.include_router(router)
    install_error_handler(app)
    app.add_exception_handler(RequestValidationError, to_invalid_request)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
        )
    return app
