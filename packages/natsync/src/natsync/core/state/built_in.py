"""The accounts that no row stands for: the system's, the platform's own, and the one that lets clients in by token."""

from dataclasses import dataclass

from common.core import subjects
from natsync.core.claims.account_claims import AccountClaims, AccountLimits, Authorization, Export, account_body
from natsync.core.claims.token_codec import Body
from natsync.core.state.ledger import Entries, Entry

SYSTEM = "SYS"
PLATFORM = "PLATFORM"
AUTH = "AUTH"
BUILT_IN = frozenset({SYSTEM, PLATFORM, AUTH})

CALLOUT = "callout"
"""The service user that answers the auth callout, and the record of the key that encrypts it."""
SENTINEL = "sentinel"
"""Who a client is taken for that comes without credentials. Its token is public: it lets nobody do anything."""
ANY_ACCOUNT = "*"

SHARED = (Export(subjects.RECORDS, name="records"),)
"""What other accounts may import from the platform's own: which record was written. Never what is in it."""

NOTHING = AccountLimits(connections=0, subscriptions=0, data=0, payload=0)


@dataclass(frozen=True, slots=True)
class CalloutTerms:
    """Whether clients may log in with an access token, and whether servers encrypt it when they ask about it."""

    is_on: bool = True
    is_encrypted: bool = True


def auth_body(entry: Entry, entries: Entries, terms: CalloutTerms) -> Body:
    """Of the account that has the callout. Switched off it lets nobody in, else the sentinel would be enough."""
    authorization = authorization_of(entries, terms)
    return account_body(
        AccountClaims(
            signing_keys=entry.signing_public_keys,
            limits=AccountLimits() if authorization else NOTHING,
            revocations=entry.revocations,
            authorization=authorization,
        )
    )


def authorization_of(entries: Entries, terms: CalloutTerms) -> Authorization | None:
    service, curve = entries.get("service", CALLOUT), entries.get("curve", CALLOUT)
    if service is None or not terms.is_on:
        return None
    xkey = curve.public_key if curve and terms.is_encrypted else ""
    return Authorization((service.public_key,), (ANY_ACCOUNT,), xkey)
