"""Posts: well formed, moderated, signed by who writes them, and drafts for their owners' eyes.

Expects a collection `posts` with the fields `title`, `body`, `draft` and `owner`, a relation to `users`.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from gateway.rules import Context, after, before, moderate, refuse, validate

Title = Annotated[str, Field(min_length=3, max_length=120)]


class Post(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: Title
    body: Annotated[str, Field(max_length=20_000)] = ""
    draft: bool = False

    @field_validator("title")
    @classmethod
    def does_not_shout(cls, title: str) -> str:
        if title.isupper():
            raise ValueError("Must not shout.")
        return title.strip()


validate("posts", Post)
moderate("posts", "title", "body")


@before("posts", "create")
def signed_by_who_writes_it(ctx: Context) -> None:
    if not ctx.principal.is_record("users", ctx.principal.id):
        refuse(status=401)
    ctx.record["owner"] = ctx.principal.id


@before("posts", "update", "delete")
async def owners_only(ctx: Context) -> None:
    stored = await ctx.stored
    if stored is None or not ctx.principal.is_record("users", stored["owner"]):
        refuse(status=404)


@after("posts", "*")
def drafts_are_for_their_owners(ctx: Context) -> None:
    for record in ctx.records:
        if record.get("draft", True) and not ctx.principal.is_record("users", record.get("owner")):
            record["body"] = ""  # also where `fields` has left out what would tell
