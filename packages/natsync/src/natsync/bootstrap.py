"""Everything nats-server needs before its first start: operator, accounts, service users, and the files.

The ledger in PocketBase is the authority. The files are copies of it, written whole, so that a second run with the
same settings changes nothing.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from common.adapters.pocketbase import PocketBase
from common.core.errors import ServiceError, UpstreamUnavailable
from natsync.adapters.credentials_directory import CredentialsDirectory, make_private
from natsync.adapters.keyring import Keyring
from natsync.adapters.pocketbase_rows import PocketBaseRows
from natsync.core.claims import Body, content_hash, encode, operator_body
from natsync.core.claims.creds_file import render
from natsync.core.claims.keys import KeyPair
from natsync.core.moving.adoption import NotAdoptable
from natsync.core.servers import platform
from natsync.core.servers.server_configuration import Ports, Trust
from natsync.core.servers.server_configuration import render as render_configuration
from natsync.core.state.built_in import AUTH, SENTINEL, SYSTEM, CalloutTerms, auth_body
from natsync.core.state.ledger import Entries, Entry
from natsync.core.state.revocations import Ledger, is_cut, next_issue, with_cuts
from natsync.core.state.rights import exceeds
from natsync.core.tokens.account_tokens import platform_body, system_body
from natsync.core.tokens.user_tokens import said
from natsync.ensure import ensure_collections

Say: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Statement:
    """What an entry's token is to say, and who says it."""

    entry: Entry
    name: str
    body: Body
    issuer: KeyPair


class Bootstrap:
    def __init__(
        self, pocketbase: PocketBase, keyring: Keyring, *, operator_name: str, callout: CalloutTerms, say: Say
    ) -> None:
        self._pocketbase = pocketbase
        self._callout = callout
        self._rows = PocketBaseRows(pocketbase)
        self._keyring = keyring
        self._operator_name = operator_name
        self._say = say

    async def run(self) -> Entries:
        """Raises ServiceError, CollectionUnfit, SealBroken or NotAdoptable."""
        await self._refuse_foreign()
        for change in await ensure_collections(self._pocketbase):
            self._say(change)
        entries = await self._with_keys(await self._rows.entries())
        operator = entries.by_place["operator", "operator"]
        if operator.seed or not operator.jwt:  # one that was taken over without its own seed goes on saying the same
            entries = await self._state(entries, [self._operator(entries)])
        entries = await self._cut_narrowed(entries)
        entries = await self._state(entries, [self._account(entries, record) for record in platform.ACCOUNTS])
        services = (*platform.SERVICES, SENTINEL)
        entries = await self._state(entries, [self._service(entries, name) for name in services])
        await self._show_operator(entries)
        return entries

    async def _refuse_foreign(self) -> None:
        """An operator that somebody else keeps must not be written over: its keys would be lost."""
        existing = {collection["name"] for collection in await self._pocketbase.collections()}
        if "nats_system_operator" not in existing:
            return
        shown = [row for row in await self._pocketbase.records("nats_system_operator") if row.get("public_key")]
        known = "natsync_keys" in existing and (await self._rows.entries()).get("operator", "operator")
        if shown and not known:
            raise NotAdoptable(
                "nats_system_operator holds an operator that natsync knows nothing of: run `natsync import-pbnats`, "
                "or restore the collection natsync_keys."
            )

    async def _with_keys(self, entries: Entries) -> Entries:
        made: list[Entry] = []
        for kind, record, name in platform.places(self._operator_name):
            if entries.get(kind, record) is None:
                made.append(await self._rows.keep(self._keyring.with_keys(Entry(kind, record, name=name))))
                self._say(f"{kind} {record}: keys made")
        return entries.having(made)

    def _operator(self, entries: Entries) -> Statement:
        operator = entries.by_place["operator", "operator"]
        system = entries.by_place["account", SYSTEM]
        before = said(operator)
        body = operator_body(
            signing_keys=[key for key in operator.signing_public_keys if key != operator.public_key],
            system_account=system.public_key,
            service_urls=before.get("operator_service_urls", ()),
            strict_signing_keys=before.get("strict_signing_key_usage", False),
        )
        return Statement(operator, operator.name, body, self._keyring.identity(operator))

    def _account(self, entries: Entries, record: str) -> Statement:
        entry = entries.by_place["account", record]
        if record == AUTH:
            body = auth_body(entry, entries, self._callout)
        else:
            body = system_body(entry) if record == SYSTEM else platform_body(entry)
        return Statement(entry, record, body, self._keyring.signer(entries.by_place["operator", "operator"]))

    def _service(self, entries: Entries, name: str) -> Statement:
        entry, account = entries.by_place["service", name], entries.by_place["account", platform.home_of(name)]
        entry = replace(entry, account=account.record)
        return Statement(entry, name, platform.service_body(name, account), self._keyring.signer(account))

    async def _cut_narrowed(self, entries: Entries) -> Entries:
        """A service that loses a subject must not keep it by way of its old token."""
        changed: list[Entry] = []
        for record in platform.ACCOUNTS:
            account = entries.by_place["account", record]
            users = [entries.by_place["service", name] for name, home in platform.SERVICES.items() if home == record]
            cuts = {
                user.public_key: user.last_iat
                for user in users
                if user.jwt and exceeds(said(user), platform.service_body(user.record, account))
            }
            if (ledger := with_cuts(account.revocations, cuts)) != account.revocations:
                changed.append(await self._rows.keep(replace(account, revocations=ledger)))
        return entries.having(changed)

    async def _state(self, entries: Entries, statements: Iterable[Statement]) -> Entries:
        """Mint whatever is not said yet, or no longer counts."""
        minted: list[Entry] = []
        for statement in statements:
            entry, issuer = statement.entry, statement.issuer
            content = content_hash(name=statement.name, issuer=issuer.public_key, body=statement.body)
            account = entries.get("account", entry.account)
            ledger: Ledger = account.revocations if account else {}
            if content == entry.content and not is_cut(ledger, entry.public_key, entry.last_iat):
                continue
            now = next_issue(int(time.time()), last=entry.last_iat, ledger=ledger, public_key=entry.public_key)
            token = encode(statement.body, subject=entry.public_key, name=statement.name, issuer=issuer, issued_at=now)
            minted.append(await self._rows.keep(replace(entry, jwt=token, content=content, last_iat=now)))
            self._say(f"{entry.kind} {entry.record}: token issued")
        return entries.having(minted)

    async def _show_operator(self, entries: Entries) -> None:
        operator = entries.by_place["operator", "operator"]
        shown = {name: getattr(operator, name) for name in platform.OPERATOR_FIELDS}
        rows = await self._pocketbase.records("nats_system_operator")
        if not rows:
            await self._pocketbase.create("nats_system_operator", shown)
        elif any(rows[0].get(name) != value for name, value in shown.items()):
            await self._pocketbase.update("nats_system_operator", rows[0]["id"], shown)
        else:
            return
        self._say("nats_system_operator: operator shown")


@dataclass(frozen=True, slots=True)
class Place:
    """Where nats-server is to run from."""

    store: Path
    ports: Ports


def trust_of(entries: Entries, callout: CalloutTerms) -> Trust:
    """Whom servers are to believe. An account that says nothing yet is left out."""
    accounts = [entry for record in platform.ACCOUNTS if (entry := entries.get("account", record))]
    sentinel = entries.get("service", SENTINEL)
    return Trust(
        operator_token=entries.by_place["operator", "operator"].jwt,
        system_account=entries.by_place["account", SYSTEM].public_key,
        preload={account.public_key: account.jwt for account in accounts if account.jwt},
        sentinel=sentinel.jwt if sentinel and callout.is_on else "",
    )


def write_files(
    directory: CredentialsDirectory, entries: Entries, trust: Trust, keyring: Keyring, *, place: Place, say: Say
) -> None:
    """Raises OSError or SealBroken."""
    operator = directory.path("operator.jwt")
    configuration = render_configuration(trust, ports=place.ports, operator=operator, store=place.store)
    files = {"operator.jwt": trust.operator_token, "nats.conf": configuration}
    for name in platform.SERVICES:
        service = entries.by_place["service", name]
        files[f"creds/{name}.creds"] = render(service.jwt, keyring.identity(service).seed)
    make_private(directory.directory)
    make_private(place.store)
    for name, text in files.items():
        if directory.write(name, text):
            say(f"{directory.path(name)}: written")


async def answering(pocketbase: PocketBase, *, seconds: float) -> None:
    """Raises UpstreamUnavailable when PocketBase does not answer in time."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    return await pocketbase.healthy()
                except ServiceError:
                    await asyncio.sleep(0.1)
    except TimeoutError:
        raise UpstreamUnavailable(f"PocketBase did not answer within {seconds:g} s.") from None
