"""What natsync does once and is done with, put together; `app` is what it does until it is told to stop."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from common.adapters.companion import accompanied
from common.adapters.nats_bus import open_bus
from common.adapters.pocketbase import PocketBase, open_pocketbase
from common.core.errors import UpstreamUnavailable
from common.serving.settings import key_bytes
from natsync.adapters.credentials_directory import CredentialsDirectory
from natsync.adapters.keyring import Keyring
from natsync.adapters.nats_servers import NatsServers, open_servers
from natsync.adapters.pocketbase_ledger import PocketBaseLedger
from natsync.adapters.pocketbase_names import named
from natsync.assemble import creds_of, lead_of, reconciler_of
from natsync.bootstrap import Bootstrap, Place, Say, answering, trust_of, write_files
from natsync.core.servers.server_configuration import Layout, Ports
from natsync.core.showing.difference import Difference
from natsync.core.showing.overview import Overview, overview
from natsync.core.showing.pass_report import counts
from natsync.export import files_of, write
from natsync.import_nsc import import_nsc
from natsync.import_pbnats import ImportPbNats
from natsync.reconcile import Reconciler
from natsync.rekey import Rekey, check_key
from natsync.settings import Settings

STARTING_SECONDS = 3.0
"""How long a start waits for PocketBase in order to check the key; it may come later."""


@dataclass(frozen=True, slots=True)
class NscStore:
    """Where nsc keeps things; without `operator` there is to be one only."""

    store: Path
    keys: Path
    operator: str = ""


@asynccontextmanager
async def opened(settings: Settings) -> AsyncGenerator[PocketBase]:
    """PocketBase, once it answers. Raises UpstreamUnavailable."""
    password = settings.pocketbase_password.get_secret_value()
    async with open_pocketbase(
        settings.pocketbase_url, email=settings.pocketbase_email, password=password
    ) as pocketbase:
        await answering(pocketbase, seconds=settings.wait_seconds)
        yield named(pocketbase, settings.collection_names)


def ports_of(settings: Settings) -> Ports:
    return Ports(
        settings.nats_port, settings.nats_websocket_port, settings.nats_monitor_port, settings.nats_routes_port
    )


async def may_start(settings: Settings) -> None:
    """Raises KeyRefused when PocketBase is there and holds secrets that this key does not open."""
    password = settings.pocketbase_password.get_secret_value()
    async with open_pocketbase(
        settings.pocketbase_url, email=settings.pocketbase_email, password=password
    ) as pocketbase:
        try:
            await answering(pocketbase, seconds=STARTING_SECONDS)
        except UpstreamUnavailable:
            return
        await check_key(PocketBaseLedger(pocketbase), Keyring(settings.key))


async def bootstrap(settings: Settings, say: Say) -> None:
    """Raises ServiceError, CollectionUnfit, KeyRefused, SealBroken, NotAdoptable or OSError."""
    keyring, directory = Keyring(settings.key), CredentialsDirectory(settings.directory)
    async with opened(settings) as pocketbase:
        await check_key(PocketBaseLedger(pocketbase), keyring)
        entries = await Bootstrap(
            pocketbase, keyring, operator_name=settings.operator_name, callout=settings.callout_terms, say=say
        ).run()
    place = Place(settings.store, ports_of(settings))
    write_files(directory, entries, trust_of(entries, settings.callout_terms), keyring, place=place, say=say)


async def exported_files(settings: Settings, layout: Layout) -> dict[str, str]:
    """Raises ServiceError, NothingToExport or SealBroken."""
    async with opened(settings) as pocketbase:
        entries = await PocketBaseLedger(pocketbase).entries()
    return files_of(entries, Keyring(settings.key), layout, settings.callout_terms)


async def export(settings: Settings, layout: Layout, directory: Path, say: Say) -> None:
    """Raises ServiceError, NothingToExport, SealBroken or OSError."""
    write(CredentialsDirectory(directory), await exported_files(settings, layout), say)


async def rekey(settings: Settings, say: Say) -> None:
    """Raises ServiceError, SealBroken, or KeyRefused when the old key is not given."""
    old = settings.old_encryption_key
    if old is None:
        raise UpstreamUnavailable("NATSYNC_OLD_ENCRYPTION_KEY is needed beside NATSYNC_ENCRYPTION_KEY, the new one.")
    async with opened(settings) as pocketbase:
        await Rekey(PocketBaseLedger(pocketbase), old=key_bytes(old), new=settings.key, say=say).run()


async def import_store(settings: Settings, where: NscStore, say: Say) -> None:
    """Raises ServiceError, NotAdoptable, CollectionUnfit, KeyRefused or OSError."""
    keyring = Keyring(settings.key)
    async with opened(settings) as pocketbase:
        await import_nsc(pocketbase, keyring, store=where.store, keys=where.keys, operator=where.operator, say=say)


async def import_pbnats(settings: Settings, say: Say) -> None:
    """Raises ServiceError, NotAdoptable, CollectionUnfit or KeyRefused."""
    key = settings.pbnats_encryption_key
    async with opened(settings) as pocketbase:
        await ImportPbNats(pocketbase, Keyring(settings.key), say).run(key.get_secret_value() if key else "")


@asynccontextmanager
async def looking(settings: Settings) -> AsyncGenerator[Reconciler]:
    """Once PocketBase and NATS answer. Raises UpstreamUnavailable."""
    async with opened(settings) as pocketbase, opened_servers(settings) as servers:
        yield reconciler_of(settings, pocketbase, servers)


@asynccontextmanager
async def leading(settings: Settings) -> AsyncGenerator[Reconciler]:
    """The same; a natsync that runs leaves it alone meanwhile, and goes on afterwards."""
    async with (
        opened(settings) as pocketbase,
        opened_servers(settings) as servers,
        open_bus(settings.nats_url, name="natsync", creds=creds_of(settings, "natsync")) as bus,
    ):
        lead = lead_of(settings, pocketbase, bus, is_urgent=True)
        async with accompanied(lead.run()):
            await lead.led()
            yield reconciler_of(settings, pocketbase, servers, lead)


@asynccontextmanager
async def opened_servers(settings: Settings) -> AsyncGenerator[NatsServers]:
    """Once they answer. Raises UpstreamUnavailable."""
    creds = creds_of(settings, "sys")
    async with open_servers(settings.nats_servers, creds, settings.connection_terms, settings.timeouts) as servers:
        await answering_servers(servers, seconds=settings.wait_seconds)
        yield servers


async def answering_servers(servers: NatsServers, *, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await servers.present()
                except UpstreamUnavailable:
                    await asyncio.sleep(0.1)
                else:
                    return
    except TimeoutError:
        raise UpstreamUnavailable(f"NATS did not answer within {seconds:g} s.") from None


async def plan(settings: Settings) -> Difference:
    """Raises ServiceError or SealBroken."""
    async with looking(settings) as reconciler:
        return await reconciler.difference()


async def apply(settings: Settings, say: Say) -> None:
    """Raises ServiceError or SealBroken, also when something could not be carried out."""
    async with leading(settings) as reconciler:
        done = await reconciler.run()
    for name, count in counts(done).items():
        if count:
            say(f"{name}: {count}")
    if done.halted:
        say(done.halted)
    if done.pending:
        named = "; ".join(f"account {id}: {why}" for id, why in sorted(done.pending.items()))
        raise UpstreamUnavailable(f"Not everything could be carried out. {named}")


async def status(settings: Settings) -> Overview:
    """Raises ServiceError."""
    async with opened(settings) as pocketbase:
        ledger = PocketBaseLedger(pocketbase)
        operator, accounts, users = (
            await ledger.operator(),
            await ledger.rows("nats_accounts"),
            await ledger.rows("nats_users"),
        )
    return overview(operator, accounts, users)


async def servers_there(settings: Settings) -> tuple[str, ...]:
    """Names of the servers that answer; none where there is no way to ask. Raises ServiceError."""
    creds = creds_of(settings, "sys")
    async with open_servers(settings.nats_servers, creds, settings.connection_terms, settings.timeouts) as servers:
        await answering_servers(servers, seconds=STARTING_SECONDS)
        return servers.roster.names(servers.roster.present)
