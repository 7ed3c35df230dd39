"""A user's own sessions: which there are, and ending one or all of them."""

from dataclasses import dataclass
from typing import cast

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from common.core.client_address import TrustedProxies
from common.core.errors import InvalidRequest, NotFound
from gateway.core.front_door.pocketbase_route import NOT_FOUND
from gateway.core.refusals import SessionEnded
from gateway.core.sessions.principal import Principal
from gateway.core.sessions.session import SessionList, shown
from gateway.sessions.end import Endings
from gateway.sessions.identify import Callers

NOT_STORED = {"cache-control": "no-store"}

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Sessions:
    """What the routes need, by role."""

    callers: Callers
    store: SessionList
    endings: Endings
    proxies: TrustedProxies


def sessions_of(request: Request) -> Sessions:
    return cast(Sessions, request.state.sessions)


async def signed_in(request: Request) -> Principal:
    """Raises SessionEnded for a guest, as PocketBase answers where it wants a user."""
    sessions, headers = sessions_of(request), request.scope["headers"]
    peer = request.client.host if request.client else "127.0.0.1"
    principal = await sessions.callers.identify(headers, address=sessions.proxies.client_address(peer, headers))
    if principal is None:
        raise SessionEnded
    return principal


@router.get("/sessions")
async def listed(request: Request) -> JSONResponse:
    principal = await signed_in(request)
    found = await sessions_of(request).store.of(principal.owner)
    items = [{"current": session.id == principal.session_id, **shown(session)} for session in found]
    return JSONResponse({"items": items}, headers=NOT_STORED)


@router.delete("/sessions/{id}", status_code=204)
async def end_one(request: Request, id: str) -> Response:
    principal = await signed_in(request)
    if not await sessions_of(request).endings.end(id, "signed out", principal.owner):
        raise NotFound(NOT_FOUND)
    return Response(status_code=204)


@router.delete("/sessions", status_code=204)
async def end_all(request: Request) -> Response:
    keep = request.query_params.get("keep")
    if keep not in (None, "current"):
        raise InvalidRequest("keep: may be left out, or `current`.")
    principal = await signed_in(request)
    kept = principal.session_id if keep else ""
    await sessions_of(request).endings.end_sessions_of(principal.owner, "signed out everywhere", keep=kept)
    return Response(status_code=204)
