"""A store as nsc keeps it, made from scratch: tokens in nested folders, seeds in a folder of their own."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from natsync.core.claims.account_claims import AccountClaims, ScopedKey, account_body
from natsync.core.claims.creds_file import render
from natsync.core.claims.keys import KeyKind, KeyPair
from natsync.core.claims.operator_claims import operator_body
from natsync.core.claims.token_codec import encode
from natsync.core.claims.user_claims import UserClaims, scoped_user_body, user_body
from natsync.core.moving.nsc_store import Found, FoundAccount


def key(kind: KeyKind) -> KeyPair:
    return KeyPair(kind, os.urandom(32))


@dataclass(slots=True)
class NscAccount:
    name: str
    claims: Mapping[str, Any] = field(default_factory=dict[str, Any])
    identity: KeyPair = field(default_factory=lambda: key(KeyKind.ACCOUNT))
    signer: KeyPair = field(default_factory=lambda: key(KeyKind.ACCOUNT))
    scoped: KeyPair = field(default_factory=lambda: key(KeyKind.ACCOUNT))
    template: UserClaims | None = None
    users: dict[str, tuple[KeyPair, str]] = field(default_factory=dict[str, tuple[KeyPair, str]])

    def user(self, name: str, claims: UserClaims | None = None, *, signer: KeyPair | None = None, **more: Any) -> str:
        """The text of the user's creds; without claims it is a user of the scoped key."""
        pair = key(KeyKind.USER)
        body = user_body(claims, account=self.identity.public_key) if claims else {}
        body = body or scoped_user_body(account=self.identity.public_key)
        issuer = signer or (self.signer if claims else self.scoped)
        token = encode(
            {**body, **more}, subject=pair.public_key, name=name, issuer=issuer, issued_at=int(time.time()) - 60
        )
        self.users[name] = (pair, token)
        return render(token, pair.seed)


@dataclass(slots=True)
class NscFolder:
    name: str = "acme"
    identity: KeyPair = field(default_factory=lambda: key(KeyKind.OPERATOR))
    signer: KeyPair = field(default_factory=lambda: key(KeyKind.OPERATOR))
    system: NscAccount = field(default_factory=lambda: NscAccount("SYS"))
    accounts: list[NscAccount] = field(default_factory=list[NscAccount])
    lost: set[str] = field(default_factory=set[str])
    """Public keys whose seeds are not there."""

    @property
    def operator(self) -> str:
        body = operator_body(signing_keys=[self.signer.public_key], system_account=self.system.identity.public_key)
        return encode(
            body,
            subject=self.identity.public_key,
            name=self.name,
            issuer=self.identity,
            issued_at=int(time.time()) - 60,
        )

    def token(self, account: NscAccount) -> str:
        scoped = [ScopedKey(account.scoped.public_key, "team", account.template)] if account.template else []
        claims = replace(AccountClaims(signing_keys=[account.signer.public_key, *scoped]), **account.claims)
        return encode(
            account_body(claims),
            subject=account.identity.public_key,
            name=account.name,
            issuer=self.signer,
            issued_at=int(time.time()) - 60,
        )

    @property
    def seeds(self) -> dict[str, str]:
        everybody = [self.system, *self.accounts]
        pairs = [self.identity, self.signer]
        pairs += [pair for one in everybody for pair in (one.identity, one.signer, one.scoped)]
        pairs += [pair for one in everybody for pair, _ in one.users.values()]
        return {pair.public_key: pair.seed for pair in pairs if pair.public_key not in self.lost}

    def found(self) -> Found:
        accounts = tuple(
            FoundAccount(self.token(one), tuple(token for _, token in one.users.values()))
            for one in (self.system, *self.accounts)
        )
        return Found(self.operator, accounts, self.seeds)

    def written(self, home: Path) -> tuple[Path, Path]:
        """The folders of stores and of keys."""
        operator = home / "stores" / self.name
        put(operator / f"{self.name}.jwt", self.operator)
        for account in (self.system, *self.accounts):
            folder = operator / "accounts" / account.name
            put(folder / f"{account.name}.jwt", self.token(account))
            for name, (_, token) in account.users.items():
                put(folder / "users" / f"{name}.jwt", token)
        for public_key, seed in self.seeds.items():
            put(home / "keys" / "keys" / public_key[0] / public_key[1:3] / f"{public_key}.nk", seed)
        return home / "stores", home / "keys"


def put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
