"""Signs what a plan says, and puts the tokens where the ledger keeps them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from natsync.adapters.keyring import Keyring
from natsync.core.claims.creds_file import render
from natsync.core.claims.keys import KeyPair
from natsync.core.claims.token_codec import encode
from natsync.core.showing.mirrors import digest
from natsync.core.state.ledger import Entries, Entry
from natsync.core.tokens.user_tokens import Mint


class Minting:
    """Opens each signing key once; to be thrown away after the pass."""

    def __init__(self, keyring: Keyring, entries: Entries) -> None:
        self._keyring = keyring
        self._signers = signers(entries)
        self._opened: dict[str, KeyPair] = {}

    def account(self, mint: Mint) -> Entry:
        """Raises SealBroken."""
        return self._said(mint)

    def user(self, mint: Mint) -> Entry:
        """Raises SealBroken."""
        entry = self._said(mint)
        return replace(entry, creds_digest=digest(creds(self._keyring, entry)))

    def _said(self, mint: Mint) -> Entry:
        entry = mint.entry
        token = encode(
            mint.body,
            subject=entry.public_key,
            name=mint.name,
            issuer=self._signer(mint.issuer),
            issued_at=mint.issued_at,
            expires_at=mint.expires_at,
        )
        return replace(
            entry,
            name=mint.name,
            jwt=token,
            content=mint.content,
            issuer=mint.issuer,
            last_iat=mint.issued_at,
            expires_at=mint.expires_at,
        )

    def _signer(self, public_key: str) -> KeyPair:
        if public_key not in self._opened:
            self._opened[public_key] = self._keyring.signing(self._signers[public_key], public_key)
        return self._opened[public_key]


def signers(entries: Entries) -> Mapping[str, Entry]:
    """Whose signing key that is, by public key."""
    found = {scope.public_key: scope for scope in entries.of_kind("scope")}
    for entry in (*entries.of_kind("operator"), *entries.of_kind("account")):
        found |= dict.fromkeys(entry.signing_public_keys, entry)
    return found


def creds(keyring: Keyring, entry: Entry) -> str:
    """The text of a user's .creds file. Raises SealBroken."""
    return render(entry.jwt, keyring.identity(entry).seed)


def minted(minting: Minting, accounts: Iterable[Mint], users: Iterable[Mint]) -> list[Entry]:
    return [*map(minting.account, accounts), *map(minting.user, users)]
