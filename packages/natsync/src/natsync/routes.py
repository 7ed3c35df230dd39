"""natsync's HTTP API."""

from dataclasses import dataclass
from typing import Any, cast

from fastapi import APIRouter, Depends, Request
from starlette.requests import HTTPConnection

from common.adapters.issuers import TokenVerifier
from common.serving.authentication import BearerIdentity, role
from natsync.follow import Progress, counts

router = APIRouter(prefix="/nats")

ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Natsync:
    """What the routes need, by role."""

    verifier: TokenVerifier
    progress: Progress


def natsync_of(connection: HTTPConnection) -> Natsync:
    return cast(Natsync, connection.state.natsync)


admin = role(ADMIN, BearerIdentity(lambda connection: natsync_of(connection).verifier))


@router.get("/status", dependencies=[Depends(admin)])
async def status(request: Request) -> dict[str, Any]:
    """How far every account has come. For admins."""
    progress = natsync_of(request).progress
    return {
        "last_pass": {
            "finished_at": progress.finished_at,
            "seconds": round(progress.seconds, 4),
            "error": progress.error,
            "passes": progress.passes,
            **counts(progress.done),
        },
        "accounts": accounts(progress),
        "foreign_accounts": progress.done.foreign,
    }


def accounts(progress: Progress) -> list[dict[str, Any]]:
    return [
        {
            "id": account.id,
            "name": account.name,
            "sync_status": account.status.state,
            "sync_error": account.status.remark,
            "verified_at": progress.verified.get(account.id, 0),
            "users": account.users,
            "suspended_users": account.suspended,
        }
        for account in progress.done.accounts
    ]
