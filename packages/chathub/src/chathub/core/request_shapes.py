"""What is asked over HTTP, as OnRabble's clients write it, and within which bounds."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

MAX_PAGE = 200
MAX_OFFSET = 100_000
MAX_AT_ONCE = 500


def plain_text(value: object) -> object:
    """PostgreSQL stores neither NUL nor half a surrogate pair."""
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= character <= "\udfff" for character in value)):
        raise ValueError("holds characters that cannot be stored")
    return value


Plain = BeforeValidator(plain_text)
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=24), Plain]
Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=256), Plain]
Text = Annotated[str, StringConstraints(max_length=256), Plain]
UserId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
RowId = Annotated[int, Field(ge=1, le=2**63 - 1)]
MessageId = Annotated[int, Field(ge=-(2**63) + 1, le=2**63 - 1)]


class Body(BaseModel):
    """Fields that are not known are passed over."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)


class Page(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 50
    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET)] = 0


class CreateChannel(Body):
    name: Name
    description: Description | None = None
    private: bool = False
    """There for its members alone; that cannot be changed later."""


class ChangeChannel(Body):
    """A field that is absent stays as it is; `before_id: null` moves the channel to the end."""

    id: RowId
    name: Name | None = None
    description: Description | None = None
    before_id: RowId | None = None


class Search(Page):
    channel: Annotated[list[Text], Field(max_length=50)] = []
    keyword: Text | None = None
    user_id: Text | None = None


class DeleteMessages(Body):
    ids: Annotated[list[MessageId], Field(min_length=1, max_length=MAX_AT_ONCE)]
    """Ids as a search gives them; negative ones belong to messages that are not stored yet."""


class FindUsers(Page):
    username: Text | None = None


class BanUser(Body):
    banished_id: UserId
    reason: Description | None = None
    duration: Annotated[int, Field(ge=0, le=100 * 365 * 24)] | None = None
    """Hours; without, or 0, the ban lasts until the pardon."""
    purge: bool = False
    """Delete all that the user said."""


class ChangeLimit(Body):
    id: RowId
    message_limit: Annotated[int, Field(ge=1, le=1_000_000)]
    window_seconds: Annotated[int, Field(ge=1, le=31 * 86_400)]


class AskModeration(Page):
    actor_id: Text | None = None
    subject: Text | None = None
    action: Text | None = None
