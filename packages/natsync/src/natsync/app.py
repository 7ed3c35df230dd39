"""Where natsync is put together; nothing else names a concrete adapter.

pocketbase_rows.read | rows.sift (a bad row is set aside) | desired.of | nats_system_account.observed | drift.plan
| reconcile: record, publish, verify, show
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

from fastapi import FastAPI

from common.adapters.issuers import open_verifier
from common.adapters.nats_bus import open_bus
from common.adapters.nats_leases import Leases
from common.adapters.pocketbase import open_pocketbase
from common.serving.background import running
from common.serving.health import operations_app
from common.serving.http_errors import install_error_handler
from common.serving.server import operations
from common.serving.tracing import tracing
from natsync.adapters.keyring import Keyring
from natsync.adapters.nats_audit import NatsAudit
from natsync.adapters.nats_servers import open_servers
from natsync.adapters.pocketbase_names import named
from natsync.adapters.pocketbase_rows import FOLLOWED
from natsync.assemble import creds_of, issuers, lead_of, reconciler_of
from natsync.core.collections.enrolment import Gateway
from natsync.core.deciding.hints import IMAGE_FIELDS
from natsync.core.state.built_in import CALLOUT
from natsync.follow import Follow, Pace
from natsync.open_logins import LoginTerms, Means, open_logins
from natsync.publish_records import RecordFeed
from natsync.routes import Natsync, router
from natsync.settings import Settings


@asynccontextmanager
async def open_natsync(settings: Settings) -> AsyncGenerator[Natsync]:
    password, names = settings.pocketbase_password.get_secret_value(), settings.collection_names
    async with (
        tracing("natsync", settings.otlp_endpoint),
        open_pocketbase(settings.pocketbase_url, email=settings.pocketbase_email, password=password) as plain,
        open_servers(
            settings.nats_servers, creds_of(settings, "sys"), settings.connection_terms, settings.timeouts
        ) as servers,
        open_bus(settings.nats_url, name="natsync", creds=creds_of(settings, "natsync")) as bus,
        open_verifier(issuers(settings)) as verifier,
        open_logins(
            Means(named(plain, names), servers, bus, verifier, Keyring(settings.key)), login_terms(settings)
        ) as logins,
    ):
        pocketbase = named(plain, names)
        lead = lead_of(settings, pocketbase, bus)
        reconciler = reconciler_of(settings, pocketbase, servers, lead)
        follow = Follow(
            reconciler,
            lead,
            pocketbase.follow(FOLLOWED, fields=IMAGE_FIELDS),
            Pace(settings.debounce_ms / 1000, settings.sweep_seconds, settings.event_filter),
        )
        servers.changed = follow.hint
        feed = RecordFeed(plain, bus, Leases(bus, holder="natsync"), names)
        probes = {
            "pocketbase": pocketbase.healthy,
            "nats": servers.connection.answers,
            "reconcile": follow.progress.finished,
            **logins.probes,
        }
        audit = NatsAudit(bus)
        async with (
            audit.listening(),
            operations(operations_app(probes), settings.operations_port),
            running(lead.run, follow.listen, follow.work, feed.run, audit.run),
        ):
            yield Natsync(verifier, follow.progress, logins.issue, logins.source, logins.report, reconciler)


def login_terms(settings: Settings) -> LoginTerms:
    return LoginTerms(
        gateway=Gateway(settings.issuer, settings.user_collection_name),
        defaults=settings.defaults,
        nats_url=settings.nats_url,
        creds=creds_of(settings, CALLOUT) if settings.auth_callout else None,
    )


Opener: TypeAlias = Callable[[Settings], AbstractAsyncContextManager[Natsync]]


def create_app(settings: Settings, opener: Opener = open_natsync) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[dict[str, Natsync]]:
        async with opener(settings) as natsync:
            yield {"natsync": natsync}

    app = FastAPI(title="natsync", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url="/nats/openapi.json")
    app.include_router(router)
    install_error_handler(app)
    return app
