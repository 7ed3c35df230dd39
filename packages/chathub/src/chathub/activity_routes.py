"""Where clients find their way, and what dashboards show."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from chathub.core import reply_shapes as replies
from chathub.core.request_shapes import Text
from chathub.routes import Caller, chathub_of

router = APIRouter()


@router.get("/discovery", tags=["discovery"])
async def discover(request: Request) -> replies.Discovery:
    return replies.Discovery.model_validate(await chathub_of(request).discovery())


@router.get("/activity/sessions", tags=["activity"])
async def session_activity(
    request: Request, caller: Caller, user_id: Annotated[Text | None, Query()] = None
) -> replies.Envelope[replies.SessionActivity]:
    """Sessions by the day (UTC) of their beginning, of the last seven days; those that go on count up to now."""
    days = await chathub_of(request).measuring.sessions(caller, user_id or None)
    payload = replies.SessionActivity(session_activity=[replies.DayReply.model_validate(day) for day in days])
    return replies.Envelope(type="session_activity", sender="Server", payload=payload)


@router.get("/activity/channels", tags=["activity"])
async def channel_activity(request: Request, caller: Caller) -> replies.Envelope[replies.MessageCounts]:
    """How many messages there are in which channel."""
    counts = await chathub_of(request).measuring.counts(caller)
    payload = replies.MessageCounts(channels=[replies.CountReply.model_validate(count) for count in counts])
    return replies.Envelope(type="message_count_by_channel", sender="Server", payload=payload)
