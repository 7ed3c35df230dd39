"""Channels, who may be in them, and all that was said in one."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import StreamingResponse

from chathub.core import reply_shapes as replies
from chathub.core.client_frames import channel_payload
from chathub.core.request_shapes import ChangeChannel, CreateChannel, Page, RowId, UserId
from chathub.curate import Change, NewChannel, channels_for
from chathub.routes import Caller, chathub_of

router = APIRouter(tags=["channels"])

ChannelId = Annotated[RowId, Path()]
MemberId = Annotated[UserId, Path()]


@router.get("/channels", response_model_exclude_none=True)
async def list_channels(request: Request, caller: Caller) -> replies.Channels:
    """Those open to the caller; for admins all."""
    found = channels_for(caller, chathub_of(request).hub.channels)
    return replies.Channels.model_validate({"channels": [channel_payload(channel) for channel in found]})


@router.post("/channels", status_code=201)
async def create_channel(request: Request, caller: Caller, body: CreateChannel) -> replies.ChannelCreated:
    new = NewChannel(body.name, body.description or None, is_private=body.private)
    await chathub_of(request).curator.create(caller, new)
    return replies.ChannelCreated(message="Channel created", name=body.name)


@router.patch("/channels")
async def change_channel(request: Request, caller: Caller, body: ChangeChannel) -> replies.Done:
    moves = "before_id" in body.model_fields_set
    change = Change(
        id=body.id,
        name=body.name,
        description=body.description or None,
        describes="description" in body.model_fields_set,
        before_id=body.before_id,
        moves=moves,
    )
    await chathub_of(request).curator.change(caller, change)
    return replies.Done(message="Channel reordered" if moves else "Channel updated")


@router.delete("/channels")
async def delete_channel(request: Request, caller: Caller, id: RowId, purge: bool = False) -> replies.Done:
    await chathub_of(request).curator.delete(caller, id, purge=purge)
    return replies.Done(message="Channel deleted")


@router.get("/channels/{id}/members")
async def list_members(
    request: Request, caller: Caller, id: ChannelId, page: Annotated[Page, Query()]
) -> replies.Members:
    """Of a private channel; for admins and its members."""
    found, has_more = await chathub_of(request).membership.of(caller, id, page.limit, page.offset)
    members = [replies.MemberReply.model_validate(member) for member in found]
    return replies.Members(members=members, has_more=has_more)


@router.put("/channels/{id}/members/{user_id}", status_code=204)
async def add_member(request: Request, caller: Caller, id: ChannelId, user_id: MemberId) -> None:
    await chathub_of(request).membership.add(caller, id, user_id)


@router.delete("/channels/{id}/members/{user_id}", status_code=204)
async def remove_member(request: Request, caller: Caller, id: ChannelId, user_id: MemberId) -> None:
    await chathub_of(request).membership.remove(caller, id, user_id)


@router.get(
    "/channels/{id}/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {}}, "description": "One message a line, oldest first."}},
)
async def export_channel(request: Request, caller: Caller, id: ChannelId) -> StreamingResponse:
    lines = await chathub_of(request).exporting.export(caller, id)
    named = {"Content-Disposition": f'attachment; filename="channel-{id}.jsonl"'}
    return StreamingResponse(lines, media_type="application/x-ndjson", headers=named)
