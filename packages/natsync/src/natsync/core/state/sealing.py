"""Secrets at rest: AES-256-GCM in pb-nats's spelling, `enc::` before base64 of nonce, ciphertext and tag."""

import base64

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PREFIX = "enc::"
NONCE_BYTES = 12


class SealBroken(Exception):
    """The text cannot be opened: another key sealed it, or it was altered."""


def seal(text: str, *, key: bytes, nonce: bytes) -> str:
    """A nonce may be used once only under one key."""
    return PREFIX + base64.b64encode(nonce + AESGCM(key).encrypt(nonce, text.encode(), None)).decode()


def unseal(sealed: str, *, key: bytes) -> str:
    if not sealed.startswith(PREFIX):
        raise SealBroken("A secret is stored in the clear; it is not used.")
    try:
        data = base64.b64decode(sealed.removeprefix(PREFIX), validate=True)
        return AESGCM(key).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], None).decode()
    except (ValueError, InvalidTag) as error:
        raise SealBroken("A secret cannot be opened with NATSYNC_ENCRYPTION_KEY.") from error


def resealed(sealed: str, *, old: bytes, new: bytes, nonce: bytes) -> str:
    """As it is when the new key opens it already; else opened with the old one and sealed with the new.

    Raises SealBroken when neither opens it.
    """
    try:
        unseal(sealed, key=new)
    except SealBroken:
        return seal(unseal(sealed, key=old), key=new, nonce=nonce)
    return sealed
