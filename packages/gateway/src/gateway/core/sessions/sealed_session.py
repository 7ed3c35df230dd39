"""PocketBase tokens as they are stored: sealed, and bound to the session they belong to."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from common.core.errors import Unauthenticated

NONCE_BYTES = 12


class SessionSeal:
    """AES-256-GCM; the session id is associated data, so that a stored value fits no other session."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, session_id: str, token: str, nonce: bytes) -> bytes:
        """`nonce` must be NONCE_BYTES fresh random bytes."""
        return nonce + self._cipher.encrypt(nonce, token.encode(), session_id.encode())

    def open(self, session_id: str, sealed: bytes) -> str:
        """Raises Unauthenticated for a value that was not sealed for this session with this key."""
        nonce, text = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, text, session_id.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise Unauthenticated("The stored session cannot be opened.") from error
