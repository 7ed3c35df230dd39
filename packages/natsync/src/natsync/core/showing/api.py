"""What the HTTP API answers. Times are Unix seconds."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SyncStatus = Annotated[
    str,
    Field(description="`synced`, `pending`, `inactive` or `error`; empty before the first pass.", examples=["synced"]),
]


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Refusal(Answer):
    """Any error: a code for programs and a text for people."""

    code: Annotated[str, Field(examples=["not_found"])]
    message: str


class Creds(Answer):
    """Credentials of one NATS user, and how long they last."""

    id: Annotated[str, Field(description="The row's id in `nats_users`.")]
    nats_username: str
    account_id: str
    role_id: str
    public_key: Annotated[str, Field(description="The user's own key; NATS knows the user by it.")]
    issued_at: float
    expires_at: Annotated[float | None, Field(description="`null` when they do not expire.")]
    expires_soon: Annotated[bool, Field(description="Whether it is time to renew them.")]
    creds_file: Annotated[str, Field(description="The text of a .creds file, which NATS clients take as it is.")]


class ExpiringUser(Answer):
    id: str
    nats_username: str
    account_id: str
    expires_at: float


class Expiring(Answer):
    """Users whose credentials end soon, the next first; at most 1,000."""

    items: list[ExpiringUser]


class LastPass(Answer):
    """What the last look at everything came to."""

    finished_at: float
    seconds: float
    error: Annotated[str, Field(description="Empty when it went through.")]
    passes: Annotated[int, Field(description="Since this process started.")]
    published: int
    removed: int
    issued: int
    written: int
    orders: Annotated[int, Field(description="Actions and triggers that were carried out.")]
    pending: int


class AccountStatus(Answer):
    id: str
    name: str
    sync_status: SyncStatus
    sync_error: str
    verified_at: Annotated[float, Field(description="When every server was last seen to agree; 0 is never.")]
    users: int
    suspended_users: int
    desired: Annotated[str, Field(description="The id (`jti`) of the token that is to be on the servers.")]
    published: Annotated[str, Field(description="The id of the one that all of them show; empty when they differ.")]
    servers: Annotated[
        dict[str, str],
        Field(
            description="How far each is: `verified`, `accepted`, `shows another token`, `no answer`, `silent`, or why "
            "it refuses.",
            examples=[{"nats-1": "verified"}],
        ),
    ]
    attempts: Annotated[int, Field(description="Tries that have failed; 0 when nothing waits.")]
    next_try_at: float
    failed_at: Annotated[float, Field(description="Since when it counts as failed; 0 while it does not.")]


class Status(Answer):
    """How far every account has come."""

    last_pass: LastPass
    accounts: list[AccountStatus]
    foreign_accounts: Annotated[int, Field(description="Accounts on the servers that are not ours; left alone.")]


class AccountChange(Answer):
    """An account that would be published or removed."""

    account: Annotated[str, Field(description="The row's id in `nats_accounts`.")]
    name: str
    public_key: str
    why: Annotated[list[str], Field(description="What would be different, one line each.")]
    revoked: Annotated[list[str], Field(description="Public keys of users who would be cut off by it.")]


class UserChange(Answer):
    """A user who would be issued another token."""

    user: Annotated[str, Field(description="The row's id in `nats_users`.")]
    name: str
    account: str
    why: str


class RowChange(Answer):
    """A row that would be written, and which of its fields."""

    collection: str
    id: str
    fields: list[str]


class RefusedRow(Answer):
    """A row that is set aside, and why."""

    collection: str
    id: str
    reason: str


class Plan(Answer):
    """Exactly what the next pass would do. Nothing was written to find out."""

    publish: list[AccountChange]
    remove: list[AccountChange]
    issue: list[UserChange]
    orders: Annotated[list[str], Field(description="Actions and triggers that would be carried out.")]
    forget: Annotated[list[str], Field(description="Entries of the ledger, as `kind/record`.")]
    rows: list[RowChange]
    refused: list[RefusedRow]
    foreign: Annotated[list[str], Field(description="Public keys of accounts that are not ours; left alone.")]
    halted: Annotated[str, Field(description="Why nothing would be removed; empty when removals may go on.")]
    is_empty: Annotated[bool, Field(description="Whether there is nothing to be done.")]


class Connection(Answer):
    """One live connection. Login tokens are never shown."""

    server: Annotated[str, Field(description="The server's name.")]
    server_id: str
    id: Annotated[int, Field(description="The connection's number at that server.")]
    user: Annotated[str, Field(description="The user's public key; its name where it logged in by access token.")]
    user_id: Annotated[str, Field(description="The id of its row in `nats_users`, where it is known.")]
    login: Literal["credentials", "token"]
    name: Annotated[str, Field(description="What the client calls itself.")]
    kind: Annotated[str, Field(examples=["nats", "websocket", "mqtt"])]
    address: str
    language: str
    version: str
    started_at: float
    subscriptions: int
    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    pending_bytes: int


class Connections(Answer):
    """Who is connected under an account, on all servers."""

    account_id: str
    connections: list[Connection]
