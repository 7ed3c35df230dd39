"""File routes: what reads, runs and serves them, put together apart from the rest."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

from common.adapters.pocketbase import PocketBase
from common.serving.background import Loop
from gateway.adapters.openid_issuer import open_openid_issuer
from gateway.adapters.pocketbase_control import PocketBaseCollections, PocketBaseRecords
from gateway.adapters.pocketbase_links import PocketBaseLinks
from gateway.adapters.route_folder import RouteFolder
from gateway.bodies.take_in import Intake
from gateway.core.route_files.refusals import FaultyFolder
from gateway.core.rule_files.journal import Journal
from gateway.core.sessions.grants import ClaimNames
from gateway.follow_write import ChangeSink, Writing
from gateway.isolate.lanes import Lanes, open_lanes
from gateway.limit import Limits
from gateway.routing.answer_route import FileRoutes, NoRoutes, Rolled, Routes, RouteTerms
from gateway.routing.ask_as_service import AsSuperuser, ServiceCalls
from gateway.routing.by_issuer import ByIssuer
from gateway.routing.run_route import RouteRunner
from gateway.routing.services import ByPocketBase, Provider
from gateway.sessions.end import Endings
from gateway.sessions.enter import Entries
from gateway.sessions.sign_in import SignIns
from gateway.settings import Settings

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RouteParts:
    """The routes in force, what went wrong in them lately, and the loops that must run beside them."""

    routes: Routes = field(default_factory=NoRoutes)
    lanes: Lanes = field(default_factory=Lanes)
    journal: Journal = field(default_factory=Journal)
    loops: tuple[Loop, ...] = ()


@asynccontextmanager
async def open_route_files(settings: Settings) -> AsyncGenerator[RouteParts]:
    """In lanes of their own: a route that blocks must not keep rules from their verdicts. Raises FaultyFolder."""
    with open_lanes() as lanes:
        if settings.routes_folder is None:
            yield RouteParts(lanes=lanes)
            return
        schemas = settings.schemas_folder or settings.routes_folder.parent / "schemas"
        folder = RouteFolder(settings.routes_folder, schemas, lanes)
        await folder.load()
        if folder.current.faults:
            raise FaultyFolder(folder.current.faults)
        check_grants(settings, folder)
        yield RouteParts(folder, lanes, loops=(folder.watch,) if settings.watches_files else ())


@asynccontextmanager
async def open_provider(
    settings: Settings,
    control: PocketBase,
    sign_ins: SignIns,
    *,
    collections: PocketBaseCollections,
    limits: Limits,
) -> AsyncGenerator[Provider]:
    """PocketBase, or the issuer that is configured in its place: by its address and by who the gateway is there."""
    if not settings.identity_server_url or not settings.identity_tenant_id:
        if settings.identity_server_url:
            logger.warning("no issuer is asked: GATEWAY_IDENTITY_TENANT_ID is not set")
        yield ByPocketBase()
        return
    entries = Entries(
        PocketBaseRecords(control),
        PocketBaseLinks(control),
        sign_ins,
        makes_users=settings.identity_makes_users,
    )
    names = ClaimNames(settings.identity_roles_claim, settings.identity_tenant_claim, settings.identity_clearance_claim)
    async with open_openid_issuer(
        settings.identity_server_url,
        client_id=settings.identity_tenant_id,
        secret=settings.identity_secret.get_secret_value(),
    ) as issuer:
        yield ByIssuer(
            issuer,
            entries,
            sign_ins,
            collections=collections,
            attempts=limits,
            names=names,
            collection=settings.identity_collection,
            scopes=settings.identity_scopes,
        )


def check_grants(settings: Settings, folder: RouteFolder) -> None:
    """Tells of grants that no route answers to: misspelt, or of a route that is gone."""
    known = {route.pattern.template for route in folder.current.routes}
    for path in sorted(set(settings.service_routes) - known):
        logger.warning("no route stands at a path that is granted the service's database", path=path)


def build_routes(
    settings: Settings,
    parts: RouteParts,
    control: PocketBase,
    *,
    collections: PocketBaseCollections,
    endings: Endings,
    changes: ChangeSink,
    intake: Intake,
    provider: Provider,
    rolled: Rolled,
) -> FileRoutes:
    runner = RouteRunner(
        parts.lanes.loops,
        parts.journal,
        deadline_seconds=settings.route_deadline_seconds,
        tells_messages=settings.tells_messages,
    )
    terms = RouteTerms(frozenset(settings.service_routes), settings.max_route_body_bytes, settings.max_batch_requests)
    service = ServiceCalls(control, Writing(AsSuperuser(control), endings, changes), collections)
    return FileRoutes(parts.routes, runner, intake, service=service, provider=provider, rolled=rolled, terms=terms)
