"""What is answered over HTTP, as OnRabble's clients read it; what is not known is left out."""

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from chathub.core.moderation import Detail


class Reply(BaseModel):
    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True, populate_by_name=True)


Payload = TypeVar("Payload", bound=Reply)


class Envelope(Reply, Generic[Payload]):
    """Results come in the same envelope as frames."""

    type: str
    sender: str
    payload: Payload


class Failure(Reply):
    """Every refusal."""

    code: str
    message: str


class Discovery(Reply):
    auth_url: str
    token_url: str
    chat_client: str
    chat_url: str
    health_url: str
    server_name: str
    server_id: str


class TicketReply(Reply):
    ticket: str
    expires_in: int


class ChannelReply(Reply):
    id: int
    name: str
    description: str | None = None
    sort_order: int
    private: Literal[True] | None = None


class Channels(Reply):
    channels: list[ChannelReply]


class ChannelCreated(Reply):
    message: str
    name: str


class Done(Reply):
    message: str


class MemberReply(Reply):
    id: str
    username: str


class Members(Reply):
    members: list[MemberReply]
    has_more: bool


class FoundMessage(Reply):
    id: int
    """Negative while the message is not stored yet."""
    cache_id: Annotated[int, Field(serialization_alias="cacheID")]
    owner_id: str
    username: str
    channel: str
    message: str
    authored_at: datetime


class FoundMessages(Reply):
    messages: list[FoundMessage]
    has_more: bool


class UnstorableMessage(Reply):
    cache_id: int
    subject: str
    payload: str
    reason: str
    created_at: datetime


class UnstorableMessages(Reply):
    messages: list[UnstorableMessage]
    has_more: bool


class FoundUser(Reply):
    id: str
    username: str
    is_banned: bool


class FoundUsers(Reply):
    users: list[FoundUser]
    has_more: bool


class Banned(Reply):
    message: str
    id: int
    banished: str
    reason: str
    duration: str


class Pardoned(Reply):
    message: str
    ban_id: str


class BanReply(Reply):
    id: str
    owner_id: str
    banished_id: str
    banished_username: str
    reason: str | None = None
    start: datetime
    end: datetime | None = None
    duration: str
    pardoned: bool
    pardoned_by: str | None = None


class BanRecords(Reply):
    records: list[BanReply]
    has_more: bool


class LimitReply(Reply):
    id: int
    owner_id: str
    message_limit: int
    window_seconds: int


class Limiter(Reply):
    rate_limiter: LimitReply


class DayReply(Reply):
    session_date: str
    session_count: int
    total_duration: str


class SessionActivity(Reply):
    session_activity: list[DayReply]


class CountReply(Reply):
    channel: str
    message_count: int


class MessageCounts(Reply):
    channels: list[CountReply]


class ModerationReply(Reply):
    id: str
    at: datetime
    actor_id: str
    actor_username: str
    action: str
    subject: str
    details: dict[str, Detail]


class ModerationRecords(Reply):
    records: list[ModerationReply]
    has_more: bool
