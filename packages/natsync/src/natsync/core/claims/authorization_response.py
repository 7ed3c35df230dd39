"""What a service of the auth callout answers: the token of the user it admits, or why it does not.

Source: nats-io/jwt v2 (`authorization_claims.go`). The answer's subject is the `user_nkey` of the request and its
audience the id of the server that asked.
"""

from natsync.core.claims.token_codec import VERSION, Body


def admission_body(*, token: str, account: str) -> Body:
    """Signed by a signing key of `account`, the one that has the callout configured."""
    return {"jwt": token, "issuer_account": account, "type": "authorization_response", "version": VERSION}


def refusal_body(*, reason: str, account: str) -> Body:
    """The reason is for the server's log; the client learns of an authorization violation only."""
    return {"error": reason, "issuer_account": account, "type": "authorization_response", "version": VERSION}
