"""Where the gateway is put together; nothing else names a concrete adapter.

request: admit | pocketbase_route.find | collections.admitted | identify | headers.outbound | upstream.exchange
         | account_changes | headers.inbound | reply
sign-in: ... | upstream.exchange | read_pocketbase_token | records.signed_in | sessions.begin or succeed | claims_of
         | reply
ending:  end_sessions | sessions.end | revocations of every process | identify forgets
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypedDict

import httpx
from fastapi import APIRouter, FastAPI
from redis.asyncio import Redis

from common.adapters.connections import open_valkey, valkey_answers
from common.adapters.pocketbase import PocketBase, open_pocketbase
from common.core.tokens import SigningKey, TrustedIssuer
from common.serving.background import Loop, running
from common.serving.health import Probe, operations_app
from common.serving.server import operations
from common.serving.settings import key_bytes
from common.serving.tracing import tracing
from gateway.adapters.health_parts import part_probes
from gateway.adapters.pocketbase_control import PocketBaseCollections, PocketBaseRecords, superuser_answers
from gateway.adapters.pocketbase_http import PocketBaseHttp, open_pocketbase_http
from gateway.adapters.valkey_revocations import ValkeyRevocations
from gateway.adapters.valkey_sessions import ValkeySessions
from gateway.admit import Admission
from gateway.core.client_address import TrustedProxies
from gateway.core.sealed_session import SessionSeal
from gateway.core.session_token import OWN_AUDIENCE, Terms
from gateway.end_sessions import Endings, Nobody
from gateway.forward import Forwarding
from gateway.hear_revocations import Obedience
from gateway.identify import Callers, TokenCheck
from gateway.note_use import Uses
from gateway.operator_routes import OperatorGate, operator_sessions
from gateway.report_health import HealthReport
from gateway.routes import Gateway, install_refusals, router
from gateway.session_routes import Sessions
from gateway.session_routes import router as session_router
from gateway.settings import Settings
from gateway.sign_in import SignIns


class State(TypedDict):
    gateway: Gateway
    forwarding: Forwarding
    sessions: Sessions


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What keeps, ends and recognises sessions, and the loops that must run beside it."""

    store: ValkeySessions
    endings: Endings
    callers: Callers
    loops: tuple[Loop, ...]


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
        collections = PocketBaseCollections(control)
        sessions = build_sessions(settings, key, valkey, upstream)
        proxies = TrustedProxies.parse(settings.trusted_proxies)
        operator = operations_app(own)
        operator.include_router(operator_router(settings, collections, sessions))
        install_refusals(operator)
        async with operations(operator, settings.operations_port), running(*sessions.loops):
            yield State(
                gateway=Gateway(settings.issuer, key.public_jwk, health),
                forwarding=build_forwarding(
                    settings, key=key, control=control, collections=collections, sessions=sessions, upstream=upstream
                ),
                sessions=Sessions(sessions.callers, sessions.store, sessions.endings, proxies),
            )


def operator_router(settings: Settings, collections: PocketBaseCollections, sessions: SessionParts) -> APIRouter:
    key = settings.operator_key.get_secret_value() if settings.operator_key else None
    return operator_sessions(OperatorGate(key), collections, sessions.store, sessions.endings)


def own_probes(control: PocketBase, valkey: Redis) -> dict[str, Probe]:
    async def pocketbase() -> None:
        await superuser_answers(control)

    async def sessions() -> None:
        await valkey_answers(valkey)

    return {"pocketbase": pocketbase, "valkey": sessions}


def build_sessions(settings: Settings, key: SigningKey, valkey: Redis, upstream: PocketBaseHttp) -> SessionParts:
    grace_seconds = settings.session_grace_seconds
    seal = SessionSeal(key_bytes(settings.session_key))
    store = ValkeySessions(valkey, seal, grace_seconds=grace_seconds, max_sessions=settings.max_sessions)
    revocations, uses = ValkeyRevocations(valkey), Uses(store)
    endings = Endings(store, upstream, Nobody())
    trusted = TrustedIssuer(settings.issuer, OWN_AUDIENCE, ("ES256",), leeway_seconds=0)
    callers = Callers(
        TokenCheck(key.verification_key, trusted),
        store,
        endings,
        revocations,
        uses,
        max_known=settings.known_sessions,
        grace_seconds=grace_seconds,
        is_strict=settings.strict_tokens,
    )
    endings.also_tell(callers)
    obedience = Obedience(endings)
    listen = partial(revocations.listen, callers, obedience)
    return SessionParts(store, endings, callers, (listen, obedience.run, endings.run, uses.run))


def build_forwarding(
    settings: Settings,
    *,
    key: SigningKey,
    control: PocketBase,
    collections: PocketBaseCollections,
    sessions: SessionParts,
    upstream: PocketBaseHttp,
) -> Forwarding:
    terms = Terms(settings.issuer, settings.audiences, settings.roles_field, frozenset(settings.roles_collections))
    sign_ins = SignIns(
        PocketBaseRecords(control),
        sessions.store,
        sessions.endings,
        key=key,
        terms=terms,
        client_ids=settings.client_ids,
        default_client_id=settings.default_client_id,
        roll_every_seconds=settings.roll_every_seconds,
    )
    return Forwarding(
        upstream,
        collections,
        sessions.callers,
        sign_ins,
        sessions.endings,
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
    app.include_router(session_router)
    install_refusals(app)
    return Admission(app)
