"""Where natsync is put together; nothing else names a concrete adapter.

pocketbase_rows.read | rows.sift (a bad row is set aside) | desired.of | nats_system_account.observed | drift.plan
| reconcile: record, publish, verify, show
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from fastapi import FastAPI

from common.adapters.issuers import IssuerKeys, open_verifier
from common.adapters.nats_bus import open_bus
from common.adapters.nats_leases import Leases
from common.adapters.pocketbase import open_pocketbase
from common.core.tokens import TrustedIssuer
from common.serving.background import running
from common.serving.health import operations_app
from common.serving.http_errors import install_error_handler
from common.serving.server import operations
from common.serving.tracing import tracing
from natsync.adapters.credentials_directory import CredentialsDirectory
from natsync.adapters.keyring import Keyring
from natsync.adapters.nats_live_connections import NatsLiveConnections
from natsync.adapters.nats_servers import NatsServers, open_servers
from natsync.adapters.nats_system_account import NatsSystemAccount
from natsync.adapters.pocketbase_queue import PocketBaseQueue
from natsync.adapters.pocketbase_rows import FOLLOWED, PocketBaseRows
from natsync.bootstrap import Bootstrap, Place, Say, answering, write_files
from natsync.core.server_configuration import Ports
from natsync.cut_connections import CutConnections
from natsync.follow import Follow
from natsync.publish_accounts import PublishAccounts
from natsync.publish_records import RecordFeed
from natsync.reconcile import Reconciler
from natsync.routes import Natsync, router
from natsync.settings import Settings


@asynccontextmanager
async def open_natsync(settings: Settings) -> AsyncGenerator[Natsync]:
    def creds(service: str) -> Path:
        return CredentialsDirectory(settings.directory).path(f"creds/{service}.creds")

    password = settings.pocketbase_password.get_secret_value()
    async with (
        tracing("natsync", settings.otlp_endpoint),
        open_pocketbase(settings.pocketbase_url, email=settings.pocketbase_email, password=password) as pocketbase,
        open_servers(settings.nats_servers, creds("sys"), settings.connection_terms, settings.timeouts) as servers,
        open_bus(settings.nats_url, name="natsync", creds=creds("natsync")) as bus,
        open_verifier(issuers(settings)) as verifier,
    ):
        publisher = publishing(servers, PocketBaseQueue(pocketbase), settings)
        reconciler = Reconciler(PocketBaseRows(pocketbase), publisher, Keyring(settings.key))
        follow = Follow(
            reconciler,
            pocketbase.follow(FOLLOWED),
            debounce_seconds=settings.debounce_ms / 1000,
            sweep_seconds=settings.sweep_seconds,
        )
        servers.changed = follow.hint
        feed = RecordFeed(pocketbase, bus, Leases(bus, holder="natsync"))
        probes = {
            "pocketbase": pocketbase.healthy,
            "nats": servers.connection.answers,
            "reconcile": follow.progress.finished,
        }
        async with (
            operations(operations_app(probes), settings.operations_port),
            running(follow.listen, follow.work, feed.run),
        ):
            yield Natsync(verifier, follow.progress)


def publishing(servers: NatsServers, queue: PocketBaseQueue, settings: Settings) -> PublishAccounts:
    cutting = CutConnections(NatsLiveConnections(servers), patience_seconds=settings.cut_timeout_seconds)
    return PublishAccounts(NatsSystemAccount(servers), cutting, queue, settings.queue_terms)


def issuers(settings: Settings) -> list[IssuerKeys]:
    """None where none is set: then the HTTP API accepts no token."""
    if not settings.issuer:
        return []
    return [IssuerKeys(TrustedIssuer(settings.issuer, settings.audience, ("ES256", "RS256")), settings.jwks_url)]


Opener: TypeAlias = Callable[[Settings], AbstractAsyncContextManager[Natsync]]


def create_app(settings: Settings, opener: Opener = open_natsync) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[dict[str, Natsync]]:
        async with opener(settings) as natsync:
            yield {"natsync": natsync}

    app = FastAPI(title="natsync", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router)
    install_error_handler(app)
    return app


async def bootstrap(settings: Settings, say: Say) -> None:
    """Raises ServiceError, CollectionUnfit, SealBroken or OSError."""
    keyring, directory = Keyring(settings.key), CredentialsDirectory(settings.directory)
    ports = Ports(settings.nats_port, settings.nats_websocket_port, settings.nats_monitor_port)
    password = settings.pocketbase_password.get_secret_value()
    async with open_pocketbase(
        settings.pocketbase_url, email=settings.pocketbase_email, password=password
    ) as pocketbase:
        await answering(pocketbase, seconds=settings.wait_seconds)
        entries = await Bootstrap(pocketbase, keyring, operator_name=settings.operator_name, say=say).run()
    write_files(directory, entries, keyring, Place(settings.store, ports), say)
