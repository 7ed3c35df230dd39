"""What an activation token says: this account may import that export, which asks for a token.

Source: nats-io/jwt v2 (`activation_claims.go`). The token's subject is the importing account.
"""

from natsync.core.claims.account_claims import ExportKind
from natsync.core.claims.token_codec import VERSION, Body


def activation_body(*, subject: str, kind: ExportKind, exporter: str) -> Body:
    """Signed by a signing key of the exporting account."""
    return {"subject": subject, "kind": kind, "issuer_account": exporter, "type": "activation", "version": VERSION}
