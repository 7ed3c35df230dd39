"""Users, bans, the limit on messages, and the record of who moderated what."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from chathub.core import reply_shapes as replies
from chathub.core.ban import Ban, BanRecord, duration_text
from chathub.core.request_shapes import AskModeration, BanUser, ChangeLimit, FindUsers, Page, RowId
from chathub.find_people import find_people
from chathub.limit import LimitChange
from chathub.look_back import Asked, Shown
from chathub.routes import Caller, chathub_of

router = APIRouter(tags=["moderation"])


@router.get("/users")
async def list_users(
    request: Request, caller: Caller, asked: Annotated[FindUsers, Query()]
) -> replies.Envelope[replies.FoundUsers]:
    """Who has ever connected; `username` in whatever letter case."""
    people = chathub_of(request).people
    found, has_more = await find_people(caller, asked.username or None, people, limit=asked.limit, offset=asked.offset)
    payload = replies.FoundUsers(users=[replies.FoundUser.model_validate(known) for known in found], has_more=has_more)
    return replies.Envelope(type="user_search_result", sender="server", payload=payload)


@router.post("/users/ban")
async def ban_user(request: Request, caller: Caller, body: BanUser) -> replies.Banned:
    """All sockets of the user close within a second, on all nodes."""
    ban = Ban(caller.subject, body.banished_id, body.reason or None, body.duration or None, purge=body.purge)
    record = await chathub_of(request).banishment.ban(caller, ban)
    return replies.Banned(
        message="User banned successfully",
        id=record.id,
        banished=record.banished_id,
        reason=record.reason or "",
        duration=duration_text(ban.hours),
    )


@router.delete("/users/ban")
async def pardon_user(request: Request, caller: Caller, ban_id: RowId) -> replies.Pardoned:
    """Ends all bans that stand of the same user."""
    await chathub_of(request).banishment.pardon(caller, ban_id)
    return replies.Pardoned(message="User pardoned", ban_id=str(ban_id))


@router.get("/users/bans", response_model_exclude_none=True)
async def list_bans(
    request: Request, caller: Caller, page: Annotated[Page, Query()]
) -> replies.Envelope[replies.BanRecords]:
    records, has_more = await chathub_of(request).banishment.records(caller, page.limit, page.offset)
    payload = replies.BanRecords(records=[ban_reply(record) for record in records], has_more=has_more)
    return replies.Envelope(type="ban_records_result", sender="server", payload=payload)


@router.get("/ratelimits")
async def read_limit(request: Request, caller: Caller) -> replies.Limiter:
    limit = await chathub_of(request).message_limits.read(caller)
    return replies.Limiter(rate_limiter=replies.LimitReply.model_validate(limit))


@router.patch("/ratelimits")
async def change_limit(request: Request, caller: Caller, body: ChangeLimit) -> replies.Limiter:
    """In force on all nodes within a second."""
    change = LimitChange(body.id, body.message_limit, body.window_seconds)
    limit = await chathub_of(request).message_limits.change(caller, change)
    return replies.Limiter(rate_limiter=replies.LimitReply.model_validate(limit))


@router.get("/moderation/log")
async def list_moderation(
    request: Request, caller: Caller, asked: Annotated[AskModeration, Query()]
) -> replies.Envelope[replies.ModerationRecords]:
    """Newest first."""
    wanted = Asked(
        actor_id=asked.actor_id or None,
        subject=asked.subject or None,
        action=asked.action or None,
        limit=asked.limit,
        offset=asked.offset,
    )
    found, has_more = await chathub_of(request).look_back.page(caller, wanted)
    payload = replies.ModerationRecords(records=[moderation_reply(shown) for shown in found], has_more=has_more)
    return replies.Envelope(type="moderation_log_result", sender="server", payload=payload)


def ban_reply(record: BanRecord) -> replies.BanReply:
    return replies.BanReply(
        id=str(record.id),
        owner_id=record.owner_id,
        banished_id=record.banished_id,
        banished_username=record.banished_username,
        reason=record.reason,
        start=record.start_time,
        end=record.end_time,
        duration=duration_text(record.hours),
        pardoned=record.pardoned,
        pardoned_by=record.pardoned_by,
    )


def moderation_reply(shown: Shown) -> replies.ModerationReply:
    deed = shown.entry.deed
    return replies.ModerationReply(
        id=str(shown.entry.id),
        at=shown.entry.at,
        actor_id=deed.actor_id,
        actor_username=shown.actor_username,
        action=deed.action,
        subject=deed.subject,
        details=dict(deed.details),
    )
