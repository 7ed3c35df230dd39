"""What an operator's tokens say: its keys and system account, and which accounts are to be forgotten.

Sources: nats-io/jwt v2 (`operator_claims.go`, `genericlaims.go`), nats-server (`accounts.go`, the claims deletion).
"""

from collections.abc import Iterable

from natsync.core.claims.token_codec import VERSION, Body


def operator_body(
    *,
    signing_keys: Iterable[str],
    system_account: str,
    service_urls: Iterable[str] = (),
    strict_signing_keys: bool = False,
) -> Body:
    """With `strict_signing_keys` servers refuse what the operator's identity key signs, its own token excepted."""
    optional: Body = {
        "operator_service_urls": list(service_urls),
        "strict_signing_key_usage": strict_signing_keys,
    }
    return {
        "signing_keys": list(signing_keys),
        "system_account": system_account,
        **{name: value for name, value in optional.items() if value},
        "type": "operator",
        "version": VERSION,
    }


def deletion_body(accounts: Iterable[str]) -> Body:
    """For a generic token that asks the servers to forget accounts; subject and issuer are the same operator key."""
    return {"accounts": list(accounts), "type": "generic", "version": VERSION}
