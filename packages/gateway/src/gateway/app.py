"""Where the gateway is put together; nothing else names a concrete adapter.

request: admit | pocketbase_route.find | collections.admitted | identify | headers.outbound | upstream.exchange
         | headers.inbound | reply
sign-in: ... | upstream.exchange | read_pocketbase_token | records.signed_in | sessions.keep | claims_of | reply
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypedDict

import httpx
from fastapi import FastAPI
from redis.asyncio import Redis

from common.adapters.connections import open_valkey, valkey_answers
from common.adapters.pocketbase import PocketBase, open_pocketbase
from common.core.tokens import SigningKey, TrustedIssuer
from common.serving.health import Probe, operations_app
from common.serving.server import operations
from common.serving.settings import key_bytes
from common.serving.tracing import tracing
from gateway.adapters.health_parts import part_probes
from gateway.adapters.pocketbase_control import PocketBaseCollections, PocketBaseRecords, superuser_answers
from gateway.adapters.pocketbase_http import PocketBaseHttp, open_pocketbase_http
from gateway.adapters.valkey_sessions import ValkeySessions
from gateway.admit import Admission
from gateway.core.client_address import TrustedProxies
from gateway.core.sealed_session import SessionSeal
from gateway.core.session_token import OWN_AUDIENCE, Terms
from gateway.forward import Forwarding
from gateway.identify import Callers
from gateway.report_health import HealthReport
from gateway.routes import Gateway, install_refusals, router
from gateway.settings import Settings
from gateway.sign_in import SignIns


class State(TypedDict):
    gateway: Gateway
    forwarding: Forwarding


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncGenerator[State]:
    password = settings.pocketbase_password.get_secret_value()
    async with (
        tracing("gateway", settings.otlp_endpoint),
        open_pocketbase(settings.pocketbase_url, email=settings.pocketbase_email, password=password) as control,
        open_valkey(settings.valkey_url.get_secret_value()) as valkey,
        open_pocketbase_http(
            settings.pocketbase_url,
            connections=settings.upstream_connections,
            realtime_connections=settings.realtime_connections,
        ) as upstream,
        httpx.AsyncClient(timeout=2, trust_env=False) as parts,
    ):
        own = own_probes(control, valkey)
        health = HealthReport(own | part_probes(parts, settings.health_parts))
        key = SigningKey(key_bytes(settings.signing_key))
        async with operations(operations_app(own), settings.operations_port):
            yield State(
                gateway=Gateway(settings.issuer, key.public_jwk, health),
                forwarding=build_forwarding(settings, key, control, valkey, upstream),
            )


def own_probes(control: PocketBase, valkey: Redis) -> dict[str, Probe]:
    async def pocketbase() -> None:
        await superuser_answers(control)

    async def sessions() -> None:
        await valkey_answers(valkey)

    return {"pocketbase": pocketbase, "valkey": sessions}


def build_forwarding(
    settings: Settings, key: SigningKey, control: PocketBase, valkey: Redis, upstream: PocketBaseHttp
) -> Forwarding:
    sessions = ValkeySessions(valkey, SessionSeal(key_bytes(settings.session_key)))
    terms = Terms(settings.issuer, settings.audiences, settings.roles_field, frozenset(settings.roles_collections))
    sign_ins = SignIns(
        PocketBaseRecords(control),
        sessions,
        key=key,
        terms=terms,
        client_ids=settings.client_ids,
        default_client_id=settings.default_client_id,
    )
    trusted = TrustedIssuer(settings.issuer, OWN_AUDIENCE, ("ES256",), leeway_seconds=0)
    return Forwarding(
        upstream,
        PocketBaseCollections(control),
        Callers(key.verification_key, trusted, sessions),
        sign_ins,
        proxies=TrustedProxies.parse(settings.trusted_proxies),
        max_body_bytes=settings.max_body_bytes,
    )


def create_app(settings: Settings) -> Admission:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[State]:
        async with open_gateway(settings) as state:
            yield state

    app = FastAPI(
        title="gateway", lifespan=lifespan, redirect_slashes=False, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.include_router(router)
    install_refusals(app)
    return Admission(app)
