"""Messages searched, deleted, and those that could not be stored."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from chathub import search
from chathub.core import reply_shapes as replies
from chathub.core.request_shapes import DeleteMessages, Page, Search
from chathub.persist import unstorable
from chathub.routes import Caller, chathub_of

router = APIRouter(tags=["messages"])


@router.get("/messages")
async def search_messages(
    request: Request, caller: Caller, asked: Annotated[Search, Query()]
) -> replies.Envelope[replies.FoundMessages]:
    """Newest first. Whoever is no admin names one channel and nothing else."""
    query = search.Query(asked.channel, asked.keyword or None, asked.user_id or None, asked.limit, asked.offset)
    found, has_more = await chathub_of(request).searching.search(caller, query)
    messages = [replies.FoundMessage.model_validate(message) for message in found]
    payload = replies.FoundMessages(messages=messages, has_more=has_more)
    return replies.Envelope(type="message_search_result", sender="server", payload=payload)


@router.delete("/messages", status_code=204)
async def delete_messages(request: Request, caller: Caller, body: DeleteMessages) -> None:
    """Everywhere: stored, cached, waiting to be stored, and on screens."""
    await chathub_of(request).moderation.delete(caller, body.ids)


@router.get("/messages/unstorable")
async def list_unstorable(
    request: Request, caller: Caller, page: Annotated[Page, Query()]
) -> replies.UnstorableMessages:
    """What could not be stored in PostgreSQL, newest first, and why."""
    found, has_more = await unstorable(caller, page.limit, page.offset, chathub_of(request).dead_letters)
    messages = [replies.UnstorableMessage.model_validate(letter) for letter in found]
    return replies.UnstorableMessages(messages=messages, has_more=has_more)
