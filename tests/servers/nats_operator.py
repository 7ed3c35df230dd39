"""An operator of the tests' own: what trusts it is a nats-server, what it says needs no PocketBase."""

import os
import time
from dataclasses import dataclass, field
from typing import Any

from natsync.core.claims import (
    AccountClaims,
    AccountLimits,
    Permissions,
    UserClaims,
    account_body,
    deletion_body,
    encode,
    operator_body,
    user_body,
)
from natsync.core.claims.creds_file import render
from natsync.core.claims.keys import KeyKind, KeyPair
from natsync.core.servers.platform import PERMISSIONS

EVERYTHING = Permissions(publish=(">",), subscribe=(">",))


def new_key(kind: KeyKind) -> KeyPair:
    return KeyPair(kind, os.urandom(32))


@dataclass(slots=True)
class Tenant:
    """An account and the keys to speak for it."""

    name: str
    identity: KeyPair = field(default_factory=lambda: new_key(KeyKind.ACCOUNT))
    signer: KeyPair = field(default_factory=lambda: new_key(KeyKind.ACCOUNT))

    @property
    def public_key(self) -> str:
        return self.identity.public_key

    def user(self, key: KeyPair, *, issued_at: int | None = None, permissions: Permissions = EVERYTHING) -> str:
        """The text of a creds file."""
        body = user_body(UserClaims(permissions=permissions), account=self.public_key)
        now = int(time.time()) if issued_at is None else issued_at
        return render(encode(body, subject=key.public_key, name="user", issuer=self.signer, issued_at=now), key.seed)


@dataclass(slots=True)
class Operator:
    identity: KeyPair = field(default_factory=lambda: new_key(KeyKind.OPERATOR))
    signer: KeyPair = field(default_factory=lambda: new_key(KeyKind.OPERATOR))
    system: Tenant = field(default_factory=lambda: Tenant("SYS"))

    @property
    def token(self) -> str:
        body = operator_body(signing_keys=[self.signer.public_key], system_account=self.system.public_key)
        now = int(time.time())
        return encode(body, subject=self.identity.public_key, name="tests", issuer=self.identity, issued_at=now)

    def account(self, tenant: Tenant, *, issued_at: int | None = None, **changed: Any) -> str:
        """An account's token; `changed` replaces parts of what it says."""
        storage = 0 if tenant is self.system else -1
        limits = AccountLimits(disk_storage=storage, memory_storage=storage)
        body = account_body(AccountClaims(signing_keys=[tenant.signer.public_key], limits=limits))
        now = int(time.time()) if issued_at is None else issued_at
        return encode(
            {**body, **changed}, subject=tenant.public_key, name=tenant.name, issuer=self.signer, issued_at=now
        )

    def deletion(self, *accounts: str) -> str:
        key = self.signer
        body = deletion_body(accounts)
        return encode(body, subject=key.public_key, name="tests", issuer=key, issued_at=int(time.time()))

    def system_creds(self) -> str:
        """A login of natsync's own service user: what it may not do shows in these tests too."""
        return self.system.user(new_key(KeyKind.USER), permissions=PERMISSIONS["sys"])
