"""HTTP: what all routes share, and how sockets get their tickets."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection

from chathub.admit import Doorkeeper
from chathub.banish import Banishment
from chathub.core.credentials import bearer
from chathub.core.hub import Hub
from chathub.core.reply_shapes import TicketReply
from chathub.curate import Curator, Membership
from chathub.export import Exporting
from chathub.find_people import People
from chathub.issue_tickets import TICKET_SECONDS, Tickets
from chathub.limit import MessageLimits
from chathub.look_back import LookBack
from chathub.measure import Measuring
from chathub.moderate import Moderation
from chathub.persist import DeadLetters
from chathub.search import Searching
from chathub.serve_sockets import ServeSockets
from common.core.identity import Identity


@dataclass(frozen=True, slots=True)
class Chathub:
    """What the routes need, by role."""

    hub: Hub
    doorkeeper: Doorkeeper
    tickets: Tickets
    sockets: ServeSockets
    searching: Searching
    moderation: Moderation
    look_back: LookBack
    curator: Curator
    membership: Membership
    exporting: Exporting
    people: People
    banishment: Banishment
    message_limits: MessageLimits
    measuring: Measuring
    dead_letters: DeadLetters
    discovery: Callable[[], Awaitable[dict[str, str]]]


router = APIRouter()


def chathub_of(connection: HTTPConnection) -> Chathub:
    return connection.state.chathub


async def caller(request: Request) -> Identity:
    """Raises Unauthenticated, also for one who is banned; RateLimited."""
    chathub = chathub_of(request)
    identity = await chathub.doorkeeper.identify(bearer(request.headers.get("authorization")))
    await chathub.message_limits.require_request(identity.subject)
    await chathub.banishment.refuse(identity)
    return identity


Caller = Annotated[Identity, Depends(caller)]


@router.post("/ws/ticket", status_code=201, tags=["sockets"])
async def issue_ticket(request: Request, caller: Caller) -> TicketReply:
    """For one connect within half a minute, as `/ws?ticket=`."""
    ticket = await chathub_of(request).tickets.issue(caller)
    return TicketReply(ticket=ticket, expires_in=TICKET_SECONDS)


def to_invalid_request(_request: Request, error: Any) -> JSONResponse:
    """FastAPI's own findings in the shape of every other error."""
    faults = [
        {"field": ".".join(str(part) for part in fault["loc"]), "message": fault["msg"]} for fault in error.errors()
    ]
    body = {"code": "invalid_request", "message": "The request is not valid.", "errors": faults}
    return JSONResponse(body, 400)
