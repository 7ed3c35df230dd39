"""What the service and the commands both put together."""

from pathlib import Path

from common.adapters.issuers import IssuerKeys
from common.adapters.nats_bus import Bus
from common.adapters.pocketbase import PocketBase
from common.core.tokens import TrustedIssuer
from natsync.adapters.credentials_directory import CredentialsDirectory
from natsync.adapters.keyring import Keyring
from natsync.adapters.nats_live_connections import NatsLiveConnections
from natsync.adapters.nats_servers import NatsServers
from natsync.adapters.nats_system_account import NatsSystemAccount
from natsync.adapters.pocketbase_queue import PocketBaseQueue
from natsync.adapters.pocketbase_rows import PocketBaseRows
from natsync.adapters.pocketbase_terms import PocketBaseTerms
from natsync.adapters.pocketbase_writing import Fence
from natsync.cut_connections import CutConnections
from natsync.lead import Lead
from natsync.publish_accounts import PublishAccounts
from natsync.reconcile import Reconciler
from natsync.settings import Settings

ALGORITHMS = ("ES256", "RS256")
OIDC_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


def creds_of(settings: Settings, service: str) -> Path:
    return CredentialsDirectory(settings.directory).path(f"creds/{service}.creds")


def reconciler_of(
    settings: Settings, pocketbase: PocketBase, servers: NatsServers, fence: Fence | None = None
) -> Reconciler:
    """Without a fence nothing may be carried out: it is for looking."""
    return Reconciler(
        PocketBaseRows(pocketbase, fence),
        publishing(servers, PocketBaseQueue(pocketbase, fence), settings),
        Keyring(settings.key),
        settings.terms,
        shows_creds=settings.creds_at_rest == "plain",
    )


def lead_of(settings: Settings, pocketbase: PocketBase, bus: Bus, *, is_urgent: bool = False) -> Lead:
    terms = PocketBaseTerms(pocketbase)
    return Lead(terms, bus, silence_seconds=settings.takeover_seconds, is_urgent=is_urgent)


def publishing(servers: NatsServers, queue: PocketBaseQueue, settings: Settings) -> PublishAccounts:
    cutting = CutConnections(NatsLiveConnections(servers), patience_seconds=settings.cut_timeout_seconds)
    return PublishAccounts(NatsSystemAccount(servers), cutting, queue, settings.queue_terms)


def issuers(settings: Settings) -> list[IssuerKeys]:
    """Where none is set no access token is accepted."""
    found = [
        IssuerKeys(TrustedIssuer(issuer, settings.oidc_audience, OIDC_ALGORITHMS))
        for issuer in settings.oidc_issuers
        if issuer != settings.issuer
    ]
    if settings.issuer:
        found.append(IssuerKeys(TrustedIssuer(settings.issuer, settings.audience, ALGORITHMS), settings.jwks_url))
    return found
