"""What operators may do, on the loopback listener alone and with the operator key alone."""

from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Body, Depends, Request, Response

from common.core.errors import NotFound
from gateway.core.collections.catalogue import Collection
from gateway.core.front_door.headers import bearer_token
from gateway.core.front_door.pocketbase_route import NOT_FOUND
from gateway.core.route_files.report import report as route_report
from gateway.core.route_files.route_set import RouteSet
from gateway.core.rule_files.journal import Journal
from gateway.core.rule_files.report import report
from gateway.core.rule_files.rule_set import RuleSet
from gateway.core.sessions.operator_key import check_operator_key
from gateway.core.sessions.session import Owner, SessionList, shown
from gateway.sessions.end import Endings
from gateway.sessions.impersonate import Impersonations
from gateway.sessions.sign_in import SignIns


class AdmittedCollections(Protocol):
    async def admitted(self, spelling: str) -> Collection: ...


class KnownCollections(Protocol):
    @property
    def known(self) -> tuple[Collection, ...]: ...


class Rules(Protocol):
    @property
    def current(self) -> RuleSet: ...


class Routes(Protocol):
    @property
    def current(self) -> RouteSet: ...


class OperatorGate:
    """A dependency: lets nobody through but the bearer of the key, `Authorization: Bearer <key>`; without a key nobody.

    Raises Forbidden, Unauthenticated.
    """

    def __init__(self, key: str | None) -> None:
        self._key = key

    async def __call__(self, request: Request) -> None:
        check_operator_key(self._key, bearer_token(request.scope["headers"]))


def operator_rules(gate: OperatorGate, rules: Rules, journal: Journal, collections: KnownCollections) -> APIRouter:
    """The rules in force, what does not load of them, and what went wrong lately; as `rule_report.report` shapes it."""
    router = APIRouter(prefix="/operator", dependencies=[Depends(gate)])

    @router.get("/rules")
    async def told() -> dict[str, Any]:
        names = [collection.name for collection in collections.known]
        return report(rules.current, journal.failures, names or None)

    return router


def operator_file_routes(gate: OperatorGate, routes: Routes, journal: Journal, granted: frozenset[str]) -> APIRouter:
    """The file routes, as `route_files.report.report` shapes them."""
    router = APIRouter(prefix="/operator", dependencies=[Depends(gate)])

    @router.get("/routes")
    async def told() -> dict[str, Any]:
        return route_report(routes.current, journal.failures, granted)

    return router


def operator_sessions(
    gate: OperatorGate, collections: AdmittedCollections, store: SessionList, endings: Endings
) -> APIRouter:
    """Sessions of any user, who is named by collection (name or id) and record id."""
    router = APIRouter(prefix="/operator", dependencies=[Depends(gate)])

    @router.get("/users/{collection}/{record}/sessions")
    async def listed(collection: str, record: str) -> dict[str, list[dict[str, Any]]]:
        found = await store.of(await owner(collection, record))
        return {"items": [shown(session) for session in found]}

    @router.delete("/users/{collection}/{record}/sessions")
    async def end_all(collection: str, record: str) -> dict[str, int]:
        return {"ended": await endings.end_sessions_of(await owner(collection, record), "operator")}

    @router.delete("/sessions/{id}", status_code=204)
    async def end_one(id: str) -> Response:
        if not await endings.end(id, "operator"):
            raise NotFound(NOT_FOUND)
        return Response(status_code=204)

    async def owner(collection: str, record: str) -> Owner:
        return Owner((await collections.admitted(collection)).id, record)

    return router


def operator_sign_ins(
    gate: OperatorGate, collections: AdmittedCollections, sign_ins: SignIns, impersonations: Impersonations
) -> APIRouter:
    """What the public listener refuses to everybody, superusers included."""
    router = APIRouter(prefix="/operator", dependencies=[Depends(gate)])

    @router.post("/users/{collection}/{record}/impersonate")
    async def impersonate(
        request: Request, collection: str, record: str, duration: Annotated[int, Body(embed=True, ge=0)] = 0
    ) -> Response:
        found, address = await collections.admitted(collection), request.client.host if request.client else ""
        origin = sign_ins.origin(request.scope["headers"], address, "impersonate")
        told = await impersonations.impersonate(found, record, origin, seconds=duration)
        return Response(told, headers={"cache-control": "no-store"}, media_type="application/json")

    return router
