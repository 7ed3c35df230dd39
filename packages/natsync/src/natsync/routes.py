"""natsync's HTTP API."""

import time
from dataclasses import asdict, dataclass
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.requests import HTTPConnection

from common.adapters.issuers import TokenVerifier
from common.core.errors import NotFound
from common.core.identity import Identity
from common.serving.authentication import BearerIdentity, role
from natsync.adapters.nats_connection_report import NatsConnectionReport
from natsync.adapters.pocketbase_enrolment import PocketBaseEnrolment
from natsync.core.servers.connection_report import Connected
from natsync.core.showing.api import (
    AccountStatus,
    Connection,
    Connections,
    Creds,
    Expiring,
    ExpiringUser,
    LastPass,
    Plan,
    Refusal,
    Status,
)
from natsync.core.showing.difference import Difference
from natsync.core.showing.pass_report import counts
from natsync.follow import Progress
from natsync.issue_creds import IssueCreds, Issued
from natsync.reconcile import Reconciler

ADMIN = "admin"
MOST_EXPIRING = 1000
A_DAY = 24 * 3600
TEN_YEARS = 3650 * A_DAY


@dataclass(frozen=True, slots=True)
class Natsync:
    """What the routes need, by role."""

    verifier: TokenVerifier
    progress: Progress
    issue: IssueCreds
    enrolment: PocketBaseEnrolment
    connections: NatsConnectionReport
    reconciler: Reconciler


def natsync_of(connection: HTTPConnection) -> Natsync:
    return cast(Natsync, connection.state.natsync)


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Refusal} for status in statuses}


bearer = BearerIdentity(lambda connection: natsync_of(connection).verifier)
admin = role(ADMIN, bearer)

router = APIRouter(prefix="/nats", responses=refusals(401, 503))
Caller = Annotated[Identity, Depends(bearer)]
Wanted = Annotated[
    str, Query(alias="user", max_length=255, description="Which of several NATS users: its `nats_username` or id.")
]
RecordId = Annotated[str, Path(alias="id", max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


@router.get("/creds", tags=["credentials"], responses=refusals(403, 404, 409))
async def own_creds(request: Request, response: Response, caller: Caller, user: Wanted = "") -> Creds:
    """The caller's own credentials: of the NATS user it is, or that it is linked to."""
    return shown(await natsync_of(request).issue.own(caller, user), response)


@router.post("/creds/renew", tags=["credentials"], responses=refusals(403, 404, 409))
async def renew_creds(request: Request, response: Response, caller: Caller, user: Wanted = "") -> Creds:
    """Issue the caller's credentials anew, with the same key. Asked again within seconds, it answers the same."""
    return shown(await natsync_of(request).issue.own(caller, user, renew=True), response)


@router.get("/creds/expiring", tags=["credentials"], dependencies=[Depends(admin)], responses=refusals(403))
async def expiring_creds(
    request: Request, within_seconds: Annotated[int, Query(ge=0, le=TEN_YEARS)] = 7 * A_DAY
) -> Expiring:
    """Whose credentials end within a time, or have ended. For admins."""
    entries = await natsync_of(request).enrolment.expiring(int(time.time()) + within_seconds, MOST_EXPIRING)
    return Expiring(
        items=[
            ExpiringUser(
                id=entry.record, nats_username=entry.name, account_id=entry.account, expires_at=entry.expires_at
            )
            for entry in entries
        ]
    )


@router.get("/status", tags=["operation"], dependencies=[Depends(admin)], responses=refusals(403))
async def status(request: Request) -> Status:
    """How far every account has come. For admins."""
    progress = natsync_of(request).progress
    return Status(
        last_pass=LastPass(
            finished_at=progress.finished_at,
            seconds=round(progress.seconds, 4),
            error=progress.error,
            passes=progress.passes,
            **counts(progress.done),
        ),
        accounts=accounts(progress, natsync_of(request).reconciler),
        foreign_accounts=progress.done.foreign,
    )


@router.get("/plan", tags=["operation"], dependencies=[Depends(admin)], responses=refusals(403))
async def plan(request: Request) -> Plan:
    """What the next pass would do. Nothing is written, neither to PocketBase nor to NATS. For admins."""
    return to_plan(await natsync_of(request).reconciler.difference())


@router.get(
    "/accounts/{id}/connections", tags=["operation"], dependencies=[Depends(admin)], responses=refusals(403, 404)
)
async def connections(request: Request, account: RecordId) -> Connections:
    """Who is connected under an account, on every server of the cluster. For admins."""
    natsync = natsync_of(request)
    entry = (await natsync.enrolment.keys(account)).get("account", account)
    if entry is None:
        raise NotFound("There is no such account.")
    found = await natsync.connections.of(entry.public_key)
    users = await natsync.enrolment.users_of(account)
    return Connections(account_id=account, connections=[to_connection(one, users.get(one.user, "")) for one in found])


def shown(issued: Issued, response: Response) -> Creds:
    response.headers["Cache-Control"] = "no-store"
    return Creds(
        id=issued.id,
        nats_username=issued.name,
        account_id=issued.account,
        role_id=issued.role,
        public_key=issued.public_key,
        issued_at=issued.issued_at,
        expires_at=issued.expires_at or None,
        expires_soon=issued.expires_soon(time.time()),
        creds_file=issued.creds_file,
    )


def accounts(progress: Progress, reconciler: Reconciler) -> list[AccountStatus]:
    return [
        AccountStatus(
            id=account.id,
            name=account.name,
            sync_status=account.status.state,
            sync_error=account.status.remark,
            verified_at=progress.verified.get(account.id, 0),
            users=account.users,
            suspended_users=account.suspended,
            **standing(account.id, reconciler),
        )
        for account in progress.done.accounts
    ]


def standing(account: str, reconciler: Reconciler) -> dict[str, Any]:
    said = reconciler.standing(account)
    return {name: said[name] for name in ("desired", "published", "servers", "attempts", "next_try_at", "failed_at")}


def to_plan(found: Difference) -> Plan:
    said = found.to_dict()
    return Plan.model_validate(
        {
            **said,
            "forget": [f"{kind}/{record}" for kind, record in found.forget],
            "refused": [
                {"collection": collection, "id": id, "reason": reason} for collection, id, reason in found.refused
            ],
            "is_empty": found.is_empty,
        }
    )


def to_connection(one: Connected, user_id: str) -> Connection:
    said = asdict(one)
    return Connection(
        server=said.pop("server_name"),
        server_id=said.pop("server"),
        user_id=user_id,
        **{name: said[name] for name in Connection.model_fields if name in said},
    )
