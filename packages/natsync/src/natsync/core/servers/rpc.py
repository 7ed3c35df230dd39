"""What other services of the platform may ask natsync over the bus."""

from common.core.messages import Message


class CredsRequest(Message, frozen=True):
    """`natsync.rpc.creds.issue`. `user` is a row of `nats_users`, or else the platform user that one is linked to.

    With `renew` they are issued anew first.
    """

    user: str
    renew: bool = False


class CredsAnswer(Message, frozen=True):
    """`expires_at` is in Unix seconds, 0 when they do not expire."""

    user: str
    account: str
    public_key: str
    issued_at: int
    expires_at: int
    creds_file: str


class AccountStatusRequest(Message, frozen=True):
    """`natsync.rpc.account.status`; `account` is a row of `nats_accounts`."""

    account: str


class AccountStatusAnswer(Message, frozen=True):
    account: str
    name: str
    public_key: str
    sync_status: str
    sync_error: str
    synced_at: str
    active: bool
    users: int
