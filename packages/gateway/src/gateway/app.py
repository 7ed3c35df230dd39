"""Where the gateway is put together; nothing else names a concrete adapter.

request: admit | pocketbase_route.find | media_type | collections.admitted | query | identify | pass_on or a write
write:   take_in | record_body | settled_body | inspect | rules before | upstream_body | upstream.exchange
         | account_changes | change sink | rules after | reply
route:   admit | route_set.find | identify | take_in | run_route (beside the loop) | database | admit again | reply
sign-in: take_in | struct_fields | upstream.exchange | read_pocketbase_token | records.signed_in
         | sessions.begin or succeed | claims_of | reply
stream:  serve_stream | hub | reach_clients | audience_of | groups or shared_streams; images.> | watch_images | hub.take
upload:  serve_socket or serve_tus | transfer | part_store; at the end forwarding.write
ending:  end_sessions | sessions.end | revocations of every process | identify forgets
"""

import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypedDict

import httpx
from fastapi import APIRouter, FastAPI
from redis.asyncio import Redis

from common.adapters.pocketbase import PocketBase, open_pocketbase
from common.adapters.valkey_connections import open_valkey, valkey_answers
from common.core.client_address import TrustedProxies
from common.core.tokens import SigningKey, TrustedIssuer
from common.serving.background import Loop, running
from common.serving.health import Probe, operations_app, own_metrics
from common.serving.server import operations
from common.serving.settings import key_bytes
from common.serving.tracing import tracing
from common.serving.worker_metrics import metrics_of_all
from common.serving.workers import Place
from gateway.adapters.bus_revocations import BusRevocations
from gateway.adapters.health_parts import part_probes
from gateway.adapters.pocketbase_control import PocketBaseCollections, PocketBaseRecords, superuser_answers
from gateway.adapters.pocketbase_http import PocketBaseHttp, open_pocketbase_http
from gateway.adapters.valkey_revocations import ValkeyRevocations
from gateway.adapters.valkey_sessions import ValkeySessions
from gateway.admit import Admission
from gateway.core.sessions.notices import Hearer
from gateway.core.sessions.sealed_session import SessionSeal
from gateway.core.sessions.session_token import OWN_AUDIENCE, Terms
from gateway.forward import Forwarding
from gateway.limit import Limits
from gateway.observe import Sampling
from gateway.open_forwarding import RuleParts, build_forwarding, build_intake, open_rules
from gateway.open_reads import ReadGround, open_read_ground, terms_of
from gateway.open_realtime import RealtimeParts, build_realtime
from gateway.open_routes import RouteParts, build_routes, open_provider, open_route_files
from gateway.open_uploads import build_sweeping, build_uploads
from gateway.operator_routes import (
    OperatorGate,
    operator_file_routes,
    operator_rules,
    operator_sessions,
    operator_sign_ins,
)
from gateway.reads.aim import Aims
from gateway.reads.answer import Reads
from gateway.reads.explain import Explaining
from gateway.reads.load import Loading
from gateway.reads.routes import operator_cache
from gateway.realtime.passed_streams import PassedStreams
from gateway.realtime.serve_stream import Streams
from gateway.report_health import HealthReport
from gateway.routes import Gateway, install_refusals, router
from gateway.routing.answer_route import FileRoutes
from gateway.sessions.ask_pocketbase import TokenQuestions
from gateway.sessions.end import Endings, Nobody
from gateway.sessions.hear_revocations import Obedience
from gateway.sessions.identify import Callers, Confirming, TokenCheck
from gateway.sessions.impersonate import Impersonations
from gateway.sessions.note_use import Uses
from gateway.sessions.recheck import Rechecks
from gateway.sessions.routes import Sessions
from gateway.sessions.routes import router as session_router
from gateway.sessions.sign_in import SignIns
from gateway.settings import Settings
from gateway.sign_in_by_provider.routes import ByProvider
from gateway.sign_in_by_provider.routes import router as provider_router
from gateway.sign_in_by_provider.sign_in import ProviderSignIns, ProviderTerms
from gateway.uploads.uploads import Uploads


class State(TypedDict):
    gateway: Gateway
    forwarding: Forwarding
    file_routes: FileRoutes
    sessions: Sessions
    reads: Reads
    limits: Limits
    streams: Streams | None
    uploads: Uploads
    by_provider: ByProvider


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What keeps, ends and recognises sessions, and the loops that must run beside it."""

    store: ValkeySessions
    endings: Endings
    callers: Callers
    loops: tuple[Loop, ...]


@asynccontextmanager
async def open_gateway(settings: Settings, place: Place | None = None) -> AsyncGenerator[State]:
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
        open_rules(settings, control) as ruled,
        open_route_files(settings) as routed,
        AsyncExitStack() as opened,
    ):
        own = own_probes(control, valkey)
        health = HealthReport(own | part_probes(parts, settings.health_parts))
        key = SigningKey(key_bytes(settings.signing_key))
        collections = PocketBaseCollections(control)
        ground = await opened.enter_async_context(open_read_ground(settings, valkey, collections))
        records = PocketBaseRecords(control)
        store = build_store(settings, valkey)
        realtime = build_realtime(
            settings, ground, records, upstream, store, rules=ruled.judge.rules, collections=collections
        )
        passed = PassedStreams(upstream, ruled.judge.rules, realtime.images if realtime else None)
        parts_of_uploads, sweeping = build_sweeping(settings)
        sessions = build_sessions(
            settings, key, valkey, upstream, ground, store=store, realtime=realtime, others=(sweeping, passed)
        )
        sign_ins = build_sign_ins(settings, key, control, sessions)
        aims = Aims(ground.watch, ruled.judge.rules, ground.limits)
        loading = Loading(ground.cache, upstream, records, terms_of(settings))
        proxies = TrustedProxies.parse(settings.trusted_proxies)
        operator = operations_app(own, partial(metrics_of_all, place.directory) if place else own_metrics)
        operator.include_router(operator_router(settings, collections, sessions))
        operator.include_router(impersonation_router(settings, collections, control, sign_ins))
        operator.include_router(rules_router(settings, ruled, collections))
        operator.include_router(routes_router(settings, routed))
        operator.include_router(explain_router(settings, ground, aims, loading))
        install_refusals(operator)
        intake = build_intake(settings)
        provider = await opened.enter_async_context(
            open_provider(settings, control, sign_ins, collections=collections, limits=ground.limits)
        )
        forwarding = build_forwarding(
            settings,
            upstream,
            collections=collections,
            records=records,
            endings=sessions.endings,
            sign_ins=sign_ins,
            judge=ruled.judge,
            changes=ground.changes,
            limits=ground.limits,
            intake=intake,
            reach=realtime.reach if realtime else None,
            passed=passed,
        )
        loops = (*sessions.loops, *ruled.loops, *routed.loops, *ground_loops(ground, collections))
        loops = (*loops, sweeping.run, passed.run)
        async with operations_of(settings, operator, place), running(*loops):
            yield State(
                reads=build_reads(
                    settings, ground, sessions, sign_ins=sign_ins, collections=collections, aims=aims, loading=loading
                ),
                limits=ground.limits,
                gateway=Gateway(settings.issuer, key.public_jwk, health, routed.routes),
                streams=realtime.streams if realtime else None,
                forwarding=forwarding,
                file_routes=build_routes(
                    settings,
                    routed,
                    control,
                    collections=collections,
                    endings=sessions.endings,
                    changes=ground.changes,
                    intake=intake,
                    provider=provider,
                    rolled=sign_ins.rolled,
                ),
                uploads=build_uploads(settings, parts_of_uploads, forwarding, ground.limits, sessions.callers),
                by_provider=ByProvider(
                    provider_sign_ins(
                        settings,
                        realtime,
                        upstream,
                        collections=collections,
                        forwarding=forwarding,
                        limits=ground.limits,
                        callers=sessions.callers,
                    ),
                    proxies,
                ),
                sessions=Sessions(sessions.callers, sessions.store, sessions.endings, proxies),
            )


def provider_sign_ins(
    settings: Settings,
    realtime: RealtimeParts | None,
    upstream: PocketBaseHttp,
    *,
    collections: PocketBaseCollections,
    forwarding: Forwarding,
    limits: Limits,
    callers: Callers,
) -> ProviderSignIns | None:
    if realtime is None:
        return None
    return ProviderSignIns(
        realtime.flows,
        ProviderTerms(settings.issuer, frozenset(settings.oauth2_targets)),
        upstream,
        collections,
        forwarding=forwarding,
        limits=limits,
        identifying=callers,
    )


def operator_router(settings: Settings, collections: PocketBaseCollections, sessions: SessionParts) -> APIRouter:
    key = settings.operator_key.get_secret_value() if settings.operator_key else None
    return operator_sessions(OperatorGate(key), collections, sessions.store, sessions.endings)


def impersonation_router(
    settings: Settings, collections: PocketBaseCollections, control: PocketBase, sign_ins: SignIns
) -> APIRouter:
    key = settings.operator_key.get_secret_value() if settings.operator_key else None
    impersonations = Impersonations(PocketBaseRecords(control), sign_ins)
    return operator_sign_ins(OperatorGate(key), collections, sign_ins, impersonations)


def rules_router(settings: Settings, ruled: RuleParts, collections: PocketBaseCollections) -> APIRouter:
    key = settings.operator_key.get_secret_value() if settings.operator_key else None
    return operator_rules(OperatorGate(key), ruled.judge.rules, ruled.journal, collections)


def routes_router(settings: Settings, routed: RouteParts) -> APIRouter:
    key = settings.operator_key.get_secret_value() if settings.operator_key else None
    return operator_file_routes(OperatorGate(key), routed.routes, routed.journal, frozenset(settings.service_routes))


def explain_router(settings: Settings, ground: ReadGround, aims: Aims, loading: Loading) -> APIRouter:
    key = settings.operator_key.get_secret_value() if settings.operator_key else None
    return operator_cache(OperatorGate(key), Explaining(ground.cache, aims, loading))


def own_probes(control: PocketBase, valkey: Redis) -> dict[str, Probe]:
    async def pocketbase() -> None:
        await superuser_answers(control)

    async def sessions() -> None:
        await valkey_answers(valkey)

    return {"pocketbase": pocketbase, "valkey": sessions}


def build_store(settings: Settings, valkey: Redis) -> ValkeySessions:
    seal = SessionSeal(key_bytes(settings.session_key))
    return ValkeySessions(
        valkey, seal, grace_seconds=settings.session_grace_seconds, max_sessions=settings.max_sessions
    )


def build_sessions(
    settings: Settings,
    key: SigningKey,
    valkey: Redis,
    upstream: PocketBaseHttp,
    ground: ReadGround,
    *,
    store: ValkeySessions,
    realtime: RealtimeParts | None,
    others: Sequence[Hearer],
) -> SessionParts:
    revocations, uses = ValkeyRevocations(valkey), Uses(store)
    outward = BusRevocations(ground.bus) if ground.bus else None
    asking = TokenQuestions(upstream)
    endings = Endings(store, asking, outward or Nobody())
    trusted = TrustedIssuer(settings.issuer, OWN_AUDIENCE, ("ES256",), leeway_seconds=0)
    callers = Callers(
        TokenCheck(key.verification_key, trusted),
        store,
        endings,
        revocations,
        uses,
        confirming=Confirming(asking, ground.watch),
        max_known=settings.known_sessions,
        grace_seconds=settings.session_grace_seconds,
        is_strict=settings.strict_tokens,
    )
    others = (ground.watch, *others, *((realtime.hub,) if realtime else ()))
    for hearer in (callers, *others):
        endings.also_tell(hearer)
    ground.watch.also_tell(callers)
    obedience = Obedience(endings)
    listen = partial(revocations.listen, callers, obedience, *others)
    loops = (listen, obedience.run, endings.run, uses.run)
    if ground.bus and outward:
        rechecks = Rechecks(ground.bus, store, endings, asking, ground.watch)
        ground.watch.also_tell(rechecks)
        loops = (
            *loops,
            *(realtime.loops(revocations) if realtime else ()),
            partial(outward.listen, callers, obedience),
            rechecks.listen,
            rechecks.sweep,
        )
    return SessionParts(store, endings, callers, loops)


def ground_loops(ground: ReadGround, collections: PocketBaseCollections) -> tuple[Loop, ...]:
    return (ground.watch.listen, ground.watch.learn) if ground.bus else (collections.keep_current,)


def build_reads(
    settings: Settings,
    ground: ReadGround,
    sessions: SessionParts,
    *,
    sign_ins: SignIns,
    collections: PocketBaseCollections,
    aims: Aims,
    loading: Loading,
) -> Reads:
    return Reads(
        ground.cache,
        aims,
        loading,
        sessions.callers,
        ground.limits,
        catalogue=collections,
        rolled=sign_ins.rolled,
        proxies=TrustedProxies.parse(settings.trusted_proxies),
        terms=terms_of(settings),
    )


def build_sign_ins(settings: Settings, key: SigningKey, control: PocketBase, sessions: SessionParts) -> SignIns:
    terms = Terms(
        settings.issuer,
        settings.audiences,
        settings.roles_field,
        frozenset(settings.roles_collections),
        settings.tenant_field,
        settings.clearance_field,
    )
    return SignIns(
        PocketBaseRecords(control),
        sessions.store,
        sessions.endings,
        key=key,
        terms=terms,
        client_ids=settings.client_ids,
        default_client_id=settings.default_client_id,
        roll_every_seconds=settings.roll_every_seconds,
    )


@asynccontextmanager
async def operations_of(settings: Settings, operator: FastAPI, place: Place | None) -> AsyncGenerator[None]:
    """One of several processes shares the port with the others, and has a socket of its own for their questions."""
    if place is None:
        async with operations(operator, settings.operations_port):
            yield
        return
    shared = socket.socket(fileno=place.operations) if place.operations >= 0 else 0
    async with operations(operations_app({}), place.own_socket), operations(operator, shared):
        yield


def create_app(settings: Settings, place: Place | None = None) -> Admission:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[State]:
        async with open_gateway(settings, place) as state:
            admission.open(state["streams"])
            yield state

    app = FastAPI(
        title="gateway", lifespan=lifespan, redirect_slashes=False, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.include_router(router)
    app.include_router(session_router)
    app.include_router(provider_router)
    install_refusals(app)
    admission = Admission(app, Sampling(settings.log_every_read))
    return admission
