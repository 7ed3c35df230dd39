"""A credentials file as nats-py is to be given it: read anew at each login, so that a new file counts at once."""

import base64
import re
from pathlib import Path

import nkeys  # pyright: ignore[reportMissingTypeStubs] - it has none
from nats.errors import Error

_JWT = re.compile(rb"BEGIN NATS USER JWT-+\r?\n([A-Za-z0-9_.=-]+)\r?\n")
_SEED = re.compile(rb"BEGIN USER NKEY SEED-+\r?\n([A-Z2-7]+)\r?\n")


class Unusable(Error):
    """The file is no credentials file: empty, half written, or of another kind."""


class CredentialsFile:
    """nats-py's own reader waits for ever in a file without a JWT, and a broken seed ends its reconnecting."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def jwt(self) -> bytes:
        return self._part(_JWT, "user JWT")

    def sign(self, nonce: str) -> bytes:
        """The login's proof, in base64. The seed is forgotten at once."""
        try:
            pair = nkeys.from_seed(bytearray(self._part(_SEED, "seed")))
        except (nkeys.NkeysError, ValueError) as error:
            raise Unusable(f"{self._file} holds no valid seed.") from error
        try:
            return base64.b64encode(pair.sign(nonce.encode()))
        finally:
            pair.wipe()

    def _part(self, pattern: re.Pattern[bytes], what: str) -> bytes:
        found = pattern.search(self._file.read_bytes())
        if not found:
            raise Unusable(f"{self._file} holds no {what}.")
        return found[1]
